"""A runbook that runs programs: what reads runs by itself, what acts is asked for, and none is run twice by mistake."""

import os
import pwd
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.run import StepStatus
from bot.integrations.shell import read
from bot.slack.actions import StepDo
from tests.story.night import JONAS, MAYA, Night, told
from tests.story.test_runbooks import answers, dies, shown, step

BOOK = """---
runbook: 1
id: drain-queue
title: Drain a queue
owner: team-queue
params: {queue: {type: label_value}}
lock: queue/{{ queue }}
---
## Steps
### 1. Is it stuck?
```yaml step
id: stuck
do: shell.run
with: {command: queue-stuck, queue: "{{ queue }}"}
```
### 2. Drain {{ queue }}
```yaml step
id: drain
do: shell.run
with: {command: queue-drain, queue: "{{ queue }}"}
verify: {query: queue_jobs, expect: empty, within: 5m}
undo: {none: the jobs are gone}
```
"""
SCRIPT = """
import sys
print(*sys.argv[1:])
with open({marks!r}, "a") as marks:
    print(*sys.argv[1:], file=marks)
"""
LIST = """
[queue-stuck]
risk = "read"
user = "{me}"
argv = ["{python}", "{script}", "stuck", "--", "{{queue}}"]
args = {{ queue = "[a-z-]+" }}

[queue-drain]
user = "{me}"
argv = ["{python}", "{script}", "drain", "--", "{{queue}}"]
args = {{ queue = "[a-z-]+" }}
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """What the programs leave behind: a line for each run."""
    return tmp_path / "marks"


@pytest.fixture
def queue(night: Night, tmp_path: Path, marks: Path) -> Night:
    """The night with a list of two commands."""
    script = tmp_path / "queue.py"
    script.write_text(SCRIPT.format(marks=str(marks)))
    listed = tmp_path / "commands.toml"
    listed.write_text(LIST.format(me=pwd.getpwuid(os.geteuid()).pw_name, python=sys.executable, script=script))
    listed.chmod(0o600)
    commands, faults = read(listed, lambda _: None)
    assert faults == []
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "drain-queue.md").write_text(BOOK)
    night.config = replace(night.config, runbooks_dir=folder, targets={**night.config.targets, "commands": commands})
    night.crash()
    night.burns()
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.types(MAYA, "/incident run drain-queue", night.incident.channel)
    assert night.fills_in(MAYA, **{"runbook": "drain-queue", "param.queue": "batch"}).ok
    return night


def ran(marks: Path) -> list[str]:
    return marks.read_text().splitlines() if marks.exists() else []


def approved(night: Night, marks: Path) -> None:
    """A second person's go is given, and nothing has come of it yet."""
    assert step(night, 1) is StepStatus.DONE, "what only reads asks nobody"
    assert "stuck -- batch" in told(shown(night, 1))
    assert step(night, 2) is StepStatus.ASKING
    assert "CANNOT BE PREVIEWED" in told(shown(night, 2))
    assert ran(marks) == ["stuck -- batch"]
    night.bench.workspace.click(JONAS, night.incident.channel, shown(night, 2).ts, StepDo.APPROVE)


def test_a_command_runs_once_after_a_go(queue: Night, marks: Path) -> None:
    approved(queue, marks)
    queue.settle()
    assert ran(marks) == ["stuck -- batch", "drain -- batch"]
    assert step(queue, 2) is StepStatus.VERIFYING


def test_a_crash_after_a_command_that_cannot_be_looked_at_asks_a_person_and_runs_nothing(
    queue: Night, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(queue, marks)
    dies(queue, monkeypatch, ef.ApplyStep, after_the_act=True)
    assert ran(marks) == ["stuck -- batch", "drain -- batch"]
    queue.crash()
    queue.through(minutes=2)
    assert step(queue, 2) is StepStatus.INTERRUPTED
    assert len(queue.events(ev.StepInterrupted)) == 1
    assert ran(marks) == ["stuck -- batch", "drain -- batch"]
    answers(queue, 2, StepDo.RETRY)
    assert step(queue, 2) is StepStatus.ASKING, "only after a new preview and a new go"
    assert ran(marks) == ["stuck -- batch", "drain -- batch"]
