"""`shell.run` with real programs: what gets into their arguments, how long they live, and what is told of them."""

import hashlib
import json
import os
import pwd
import re
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.contracts import Observed, Permanent, Plan, Transient
from bot.incident.redact import holds_secret
from bot.incident.run import Risk, Sample
from bot.integrations.shell import Allowed, Look, Run, allowed, read
from bot.runbook.kinds import KINDS
from bot.runbook.shelf import check
from tests.clocked import by_the_clock

HOLDS, FAILS, INCONCLUSIVE = Sample.HOLDS, Sample.FAILS, Sample.INCONCLUSIVE
ME = pwd.getpwuid(os.geteuid()).pw_name
SECRETS = {"QUEUE_TOKEN": "canary-7f3a"}
ECHO = "import json, sys; print(json.dumps(sys.argv[1:]))"
QUEUE = """
import sys
from pathlib import Path
word, state, *rest = sys.argv[1:]
file = Path(state)
if word == "drain":
    file.with_suffix(".log").open("a").write("drain\\n")
    file.write_text("drained")
elif word == "resume":
    file.with_suffix(".log").open("a").write("resume\\n")
    file.write_text("open")
elif word == "dry-run":
    print(f"3 jobs of {rest[0]} would wait")
elif word == "is-drained":
    sys.exit({"drained": 0, "open": 1}.get(file.read_text(), 2))
"""


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list | tuple) else json.dumps(value)


def text_of(**commands: Mapping[str, Any]) -> str:
    return "".join(
        f"[{name.replace('_', '-')}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
        for name, table in commands.items()
    )


def allow(folder: Path, **commands: Mapping[str, Any]) -> dict[str, Allowed]:
    file = folder / "commands.toml"
    file.write_text(text_of(**{name: {"user": ME, **table} for name, table in commands.items()}))
    file.chmod(0o640)
    found, faults = read(file, SECRETS.get)
    assert faults == []
    return found


def program(folder: Path, script: str) -> list[str]:
    """How this Python is run."""
    file = folder / f"{hashlib.sha256(script.encode()).hexdigest()[:8]}.py"
    file.write_text(script)
    return [sys.executable, str(file)]


def looks(folder: Path, script: str, *argv: str, **more: Any) -> Look:
    """A command `look` that reads: a Python program, its arguments after it."""
    return Look(allow(folder, look={"risk": "read", "argv": [*program(folder, script), *argv], **more}))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    file = tmp_path / "queue"
    file.write_text("open")
    return file


def queue(folder: Path, state: Path, **changes: Any) -> Run:
    def argv(word: str) -> list[str]:
        return [*program(folder, QUEUE), word, str(state), "{queue}"]

    table = {
        "risk": "reversible",
        "argv": argv("drain"),
        "preview": argv("dry-run"),
        "observe": argv("is-drained"),
        "undo": argv("resume"),
        "args": {"queue": "[a-z-]{1,40}"},
    } | changes
    return Run(allow(folder, drain={key: value for key, value in table.items() if value != "absent"}))


STEP = {"command": "drain", "queue": "batch"}


def stored(plan: Plan) -> Plan:
    """As it comes back from the journal."""
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


def log(state: Path) -> list[str]:
    file = state.with_suffix(".log")
    return file.read_text().split() if file.exists() else []


# --- an act


def test_the_preview_says_what_would_run_and_runs_only_what_reads(tmp_path: Path, state: Path) -> None:
    plan = queue(tmp_path, state).plan(STEP)
    assert plan.lines[0].startswith(f"runs {sys.executable} ")
    assert plan.lines[0].endswith(f" drain {state} batch")
    assert plan.lines[1:] == ("3 jobs of batch would wait",)
    assert (plan.risk, plan.warnings) == (Risk.REVERSIBLE, ())
    assert plan.undo is not None
    assert plan.undo.endswith(f" resume {state} batch")
    assert (state.read_text(), log(state)) == ("open", [])


def test_it_is_run_seen_and_put_back(tmp_path: Path, state: Path) -> None:
    act = queue(tmp_path, state)
    plan = stored(act.plan(STEP))
    assert act.observe(plan) is Observed.NOT_DONE
    act.apply(plan, "k")
    assert act.observe(plan) is Observed.DONE
    act.apply(plan, "k")
    act.undo(plan, "u")
    assert act.observe(plan) is Observed.NOT_DONE
    act.undo(plan, "u")
    assert log(state) == ["drain", "resume"]


def test_without_a_preview_it_says_so_loudly_and_without_a_look_nobody_knows(tmp_path: Path, state: Path) -> None:
    act = queue(tmp_path, state, risk="destructive", preview="absent", observe="absent", undo="absent")
    plan = act.plan(STEP)
    assert plan.warnings == (
        "CANNOT BE PREVIEWED: what it will do is known only once it is done",
        "it cannot be looked at: after a crash only a person can tell whether it was done",
    )
    assert plan.undo is None
    act.apply(plan, "k")
    assert act.observe(plan) is Observed.UNKNOWN
    with pytest.raises(Permanent, match="has no undo"):
        act.undo(plan, "u")


def test_what_is_so_already_is_not_run(tmp_path: Path, state: Path) -> None:
    state.write_text("drained")
    act = queue(tmp_path, state)
    plan = act.plan(STEP)
    assert plan.warnings == ("it is so already: nothing will be run",)
    act.apply(plan, "k")
    assert log(state) == []


def test_what_has_changed_since_the_preview_is_left_alone(tmp_path: Path, state: Path) -> None:
    act = queue(tmp_path, state)
    plan = act.plan(STEP)
    state.write_text("broken")
    with pytest.raises(Permanent, match="it was not done, now unknown"):
        act.apply(plan, "k")
    with pytest.raises(Permanent, match="look before undoing"):
        act.undo(plan, "u")
    assert log(state) == []


def test_a_preview_that_says_no_and_an_act_that_fails_tell_their_last_line(tmp_path: Path, state: Path) -> None:
    fails = [*program(tmp_path, "print('asking'); print('no such queue'); raise SystemExit(3)"), "{queue}"]
    with pytest.raises(Permanent, match="its preview ended with 3: no such queue"):
        queue(tmp_path, state, preview=fails).plan(STEP)
    act = queue(tmp_path, state, argv=fails)
    with pytest.raises(Permanent, match="'drain' ended with 3: no such queue"):
        act.apply(act.plan(STEP), "k")


def test_only_what_the_list_says_now_is_ever_run(tmp_path: Path, state: Path) -> None:
    plan = stored(queue(tmp_path, state).plan(STEP))
    changed = queue(tmp_path, state, argv=[*program(tmp_path, "print('new')"), "{queue}"])
    forged = replace(plan, request={**plan.request, "argv": ["/usr/bin/touch", str(tmp_path / "forged")]})
    for act, told in ((changed, plan), (queue(tmp_path, state), forged)):
        calls: list[Callable[[], object]] = [
            partial(act.apply, told, "k"),
            partial(act.undo, told, "u"),
            partial(act.observe, told),
        ]
        for call in calls:
            with pytest.raises(Permanent, match="has changed since the preview; preview again"):
                call()
    assert not (tmp_path / "forged").exists()


@by_the_clock
def test_an_act_cut_short_may_have_been_done_and_is_looked_at_before_a_second_try(tmp_path: Path, state: Path) -> None:
    slow = "import sys, time; from pathlib import Path; Path(sys.argv[1]).write_text('drained'); time.sleep(60)"
    act = queue(tmp_path, state, argv=[*program(tmp_path, slow), str(state), "{queue}"], timeout="3s")
    plan = act.plan(STEP)
    with pytest.raises(Transient, match="did not end within 3 s") as cut:
        act.apply(plan, "k")
    assert cut.value.ambiguous
    assert act.observe(plan) is Observed.DONE


# --- a check


@pytest.mark.parametrize(
    ("script", "sample", "text"),
    [
        ("print('all 8 GPUs pass')", HOLDS, "all 8 GPUs pass"),
        ("raise SystemExit(0)", HOLDS, "ended with 0 and said nothing"),
        ("print('GPU 3 fails'); raise SystemExit(1)", FAILS, "GPU 3 fails"),
        ("print('no driver'); raise SystemExit(2)", INCONCLUSIVE, "ended with 2: no driver"),
        ("import os; os.kill(os.getpid(), 9)", INCONCLUSIVE, "was ended by SIGKILL"),
    ],
)
def test_a_command_that_reads_is_a_check_by_its_exit_status(
    tmp_path: Path, script: str, sample: Sample, text: str
) -> None:
    reading = looks(tmp_path, script).check({"command": "look"})
    assert (reading.sample, reading.text) == (sample, text)


def test_what_reads_is_no_act_and_what_acts_is_no_check(tmp_path: Path, state: Path) -> None:
    commands = allow(tmp_path, look={"risk": "read", "argv": ["/bin/true"]}, act={"argv": ["/bin/true"]})
    with pytest.raises(Permanent, match="changes something"):
        Look(commands).check({"command": "act"})
    with pytest.raises(Permanent, match="only reads"):
        Run(commands).plan({"command": "look"})
    with pytest.raises(Permanent, match="no command 'sh' is allowed; known: act, look"):
        Look(commands).check({"command": "sh"})
    with pytest.raises(Permanent, match="takes nothing, the step gives host"):
        Look(commands).check({"command": "look", "host": "a"})


# --- what gets into the arguments


def heard(look: Look, **values: Any) -> list[str]:
    reading = look.check({"command": "look", **values})
    assert reading.sample is HOLDS
    return list(json.loads(reading.text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=60).filter(str.isprintable))
@example("; touch F #")
@example("$(touch F)")
@example("`touch F`")
@example("a b  'c' \"d\" \\ * ~ $HOME {x} {{x}} %s")
@example("../../etc/passwd")
def test_a_value_stays_one_argument_whatever_it_holds(tmp_path: Path, value: str) -> None:
    look = looks(tmp_path, ECHO, "--of={x}", "--", "{x}", "end", args={"x": r"(?s:.*)"})
    there = set(tmp_path.iterdir())
    if not holds_secret({"x": value}):
        assert heard(look, x=value) == [f"--of={value}", "--", value, "end"]
    assert set(tmp_path.iterdir()) == there


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\x1b[2J", "a\u202eb", "a\u200bb", "", "x" * 513])
def test_what_cannot_be_seen_gets_into_no_argument_whatever_the_pattern(tmp_path: Path, value: str) -> None:
    look = looks(tmp_path, ECHO, "--", "{x}", args={"x": r"(?s:.*)"})
    with pytest.raises(Permanent, match="x cannot be"):
        look.check({"command": "look", "x": value})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"\d+", "٣٤"),
        (r"\d+", "3\n"),
        (r"[a-z]+", "ab;touch F"),
        (r"\w+", "ü"),
        (r"a|b", "ab"),
    ],
)
def test_a_pattern_holds_from_the_first_character_to_the_last_and_in_ascii(
    tmp_path: Path, pattern: str, value: str
) -> None:
    with pytest.raises(Permanent, match="x cannot be"):
        looks(tmp_path, ECHO, "--", "{x}", args={"x": pattern}).check({"command": "look", "x": value})


def test_no_value_becomes_an_option_unless_its_pattern_begins_with_a_dash(tmp_path: Path) -> None:
    for pattern in (".*", "[a-z-]+", "(?:-|x).*"):
        with pytest.raises(Permanent, match="would take it for an option"):
            looks(tmp_path, ECHO, "{x}", args={"x": pattern}).check({"command": "look", "x": "-rf"})
    assert heard(looks(tmp_path, ECHO, "{x}", args={"x": r"-?\d+"}), x=-3) == ["-3"]
    assert heard(looks(tmp_path, ECHO, "--", "{x}", args={"x": ".*"}), x="-rf") == ["--", "-rf"]
    assert heard(looks(tmp_path, ECHO, "n={x}", args={"x": ".*"}), x="-rf") == ["n=-rf"]


def test_a_value_that_looks_like_a_secret_gets_into_no_plan(tmp_path: Path, state: Path) -> None:
    act = queue(tmp_path, state, args={"queue": ".*"}, argv=["/bin/true", "--", "{queue}"])
    with pytest.raises(Permanent, match="looks like a secret"):
        act.plan({"command": "drain", "queue": "password=hunter2-hunter2"})


# --- the room it runs in


def test_it_finds_nothing_but_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIXFIRST_SLACK_BOT_TOKEN", "not-for-you")
    script = (
        "import json, os, sys; env = {k: len(v) for k, v in os.environ.items() if k != 'LC_CTYPE'};"
        "leads, files = os.getsid(0) == os.getpid(), os.listdir('/proc/self/fd');"
        "print(json.dumps([env, sys.stdin.read(), os.getcwd(), leads, files]))"
    )
    look = looks(tmp_path, script, env={"LANG": "C.UTF-8"}, secret_env=["QUEUE_TOKEN"], cwd=str(tmp_path), timeout="9s")
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        env, stdin, cwd, leads, files = json.loads(look.check({"command": "look"}).text)
    finally:
        os.close(held)
    assert env == {"LANG": 7, "QUEUE_TOKEN": 11}
    assert (stdin, cwd, leads) == ("", str(tmp_path), True)
    assert len(files) <= 4  # the three, and the folder that it lists


def test_it_runs_as_the_user_it_is_for_and_with_no_further_group(tmp_path: Path) -> None:
    wanted = pwd.getpwnam("nobody" if os.geteuid() == 0 else ME)
    commands = allow(tmp_path, look={"risk": "read", "argv": ["/usr/bin/id"], "user": wanted.pw_name})
    told = re.findall(r"[0-9]+", Look(commands).check({"command": "look"}).text)
    assert told[:2] == [str(wanted.pw_uid), str(wanted.pw_gid)]
    assert told[2:] == [str(wanted.pw_gid)] or os.geteuid() != 0


def test_what_it_says_is_cut_and_blanked(tmp_path: Path) -> None:
    reading = looks(tmp_path, "import sys; sys.stdout.write('x' * 1_000_000)").check({"command": "look"})
    assert reading.sample is HOLDS
    assert reading.text == "x" * 8192 + "… (cut after 8 KiB)"
    script = "import os, sys; print('with', os.environ['QUEUE_TOKEN'], 'password=hunter2-hunter2', '\\x1b[31m')"
    said = looks(tmp_path, f"{script}; sys.stdout.flush(); os.write(2, b'and \\xff bytes')", secret_env=["QUEUE_TOKEN"])
    text = said.check({"command": "look"}).text
    assert "canary" not in text
    assert "hunter2" not in text
    assert "\x1b" not in text
    assert text == "with [secret] password=[secret]  [31m\nand � bytes"
    edge = looks(tmp_path, "import os; print('x' * 8185 + os.environ['QUEUE_TOKEN'])", secret_env=["QUEUE_TOKEN"])
    assert "canary" not in edge.check({"command": "look"}).text


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


def comes(holds: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 30
    while not (found := holds()) and time.monotonic() < limit:
        os.sched_yield()
    return found


FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
"""


@by_the_clock
def test_time_is_up_for_the_whole_family_even_when_it_will_not_listen(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(Transient, match="did not end within 4 s and was ended"):
        looks(tmp_path, f"{FAMILY}\ntime.sleep(60)", str(pids), timeout="4s").check({"command": "look"})
    assert time.monotonic() - began < 5.5
    assert comes(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


@by_the_clock
def test_what_it_leaves_behind_is_ended_with_it_and_not_waited_for(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    reading = looks(tmp_path, f"{FAMILY}\nprint('done', flush=True)", str(pids), timeout="9s").check(
        {"command": "look"}
    )
    assert reading.text == "done"
    assert time.monotonic() - began < 8
    assert comes(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


def test_one_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    script = "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(1)"
    assert looks(tmp_path, script).check({"command": "look"}).sample is FAILS


@by_the_clock
def test_a_polite_one_may_clean_up(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; from pathlib import Path;"
        "signal.signal(15, lambda *_: (Path(sys.argv[1]).write_text('clean'), sys.exit(0))); time.sleep(60)"
    )
    with pytest.raises(Transient):
        looks(tmp_path, script, str(tmp_path / "mark"), timeout="3s").check({"command": "look"})
    assert (tmp_path / "mark").read_text() == "clean"


def test_a_program_that_is_not_there_ends_the_step_with_a_sentence(tmp_path: Path) -> None:
    commands = allow(tmp_path, look={"risk": "read", "argv": ["/no/such"]}, act={"argv": ["/no/such"]})
    with pytest.raises(Permanent, match="'look' cannot run /no/such: No such file or directory"):
        Look(commands).check({"command": "look"})
    with pytest.raises(Permanent, match="'act' cannot run /no/such: there is no such program"):
        Run(commands).plan({"command": "act"})


# --- the list


def test_the_example_in_the_documentation_is_a_good_list(tmp_path: Path) -> None:
    shown = "\n".join(line[4:] for line in (allowed.__doc__ or "").splitlines() if line.startswith("    "))
    assert set(tomllib.loads(shown)) == {"gpu-diag", "drain-queue"}
    file = tmp_path / "commands.toml"
    file.write_text(
        shown.replace('user = "queue"', f'user = "{ME}"').replace("[gpu-diag]", f'[gpu-diag]\nuser = "{ME}"')
    )
    file.chmod(0o600)
    commands, faults = read(file, SECRETS.get)
    assert faults == []
    assert (commands["drain-queue"].risk, commands["drain-queue"].undoable) == (Risk.REVERSIBLE, True)
    assert "canary" not in repr(commands)


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o644, False), (0o664, True), (0o646, True)])
def test_a_list_that_others_may_write_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    file = tmp_path / "commands.toml"
    file.write_text(text_of(look={"risk": "read", "argv": ["/usr/bin/true"], "user": ME}))
    file.chmod(mode)
    commands, faults = read(file, SECRETS.get)
    assert bool(commands) is not refused
    assert faults == ([f"may be written by others than its owner; chmod go-w {file}"] if refused else [])


GOOD = {"argv": ["/usr/bin/true", "{x}"], "args": {"x": "[a-z]+"}, "user": ME}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"argv": "true"}, "c.argv: is 'true', but must be a list of texts in quotes"),
        ({"argv": []}, "c.argv: is missing; name the program and its arguments"),
        ({"argv": ["true", "{x}"]}, "c.argv: must begin with the whole path of a program"),
        ({"argv": ["/bin/{x}"]}, "c.argv: must begin with the whole path of a program"),
        ({"argv": ["/bin/a", "{y}", "{x}"]}, "c.argv: uses {y}, which args does not describe"),
        ({"argv": ["/bin/a", "{X}", "{x}"]}, "c.argv: uses {X}, which args does not describe"),
        ({"argv": ["/bin/a", "--password=hunter2-hunter2", "{x}"]}, "c.argv: holds a NUL, or what looks like a secret"),
        ({"argv": ["/bin/a"]}, "c.args.x: is used in none of argv and undo"),
        ({"args": {"x": "["}}, "c.args.x: is no regular expression"),
        ({"args": {"x": "a", "command": "b"}}, "c.args.command: cannot be an argument"),
        ({"risk": "none"}, "c.risk: is 'none', but must be one of read, reversible, destructive"),
        ({"risk": "reversible"}, "c.undo: is missing; add undo"),
        ({"undo": ["/bin/a"]}, "c.observe: is missing; without a look, undo might be run twice"),
        ({"risk": "read", "observe": ["/bin/a"]}, "c.observe: has no meaning for a command that only reads"),
        ({"timeout": "11s"}, "c.timeout: must be longer than nothing and at most 10s"),
        ({"env": {"A": 1}}, "c.env.A: must be a text in quotes, under the name of a variable"),
        ({"secret_env": ["sk-live-1234"]}, "c.secret_env: names an environment variable that is not set"),
        ({"user": "nobody-at-all"}, "c.user: is 'nobody-at-all', whom this machine does not know"),
        ({"cwd": "tmp"}, "c.cwd: must be a whole path"),
        ({"cdw": "/"}, "c.cdw: is not a setting; did you mean cwd?"),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_what_to_do(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    file = tmp_path / "commands.toml"
    file.write_text(text_of(c=GOOD | changes))
    file.chmod(0o600)
    commands, faults = read(file, SECRETS.get)
    assert commands == {}
    assert any(found.startswith(fault) for found in faults), faults


BOOK = """---
runbook: 1
id: run
title: Run
owner: team-a
params: {{q: {{type: label_value}}}}
---
## Steps
### 1. Run
```yaml step
id: run
do: shell.run
with: {{command: {command}, queue: {queue}}}
{rest}
```
"""
ACTS = "verify: {query: up, expect: '> 0', within: 5m}\nundo: auto"


@pytest.mark.parametrize(
    ("command", "queue_", "rest", "fault"),
    [
        ("drain", "batch", ACTS, None),
        ("drain", '"{{ q }}"', ACTS, None),
        ("drain", "Batch", ACTS, "queue cannot be 'Batch': 'drain' takes only [a-z-]{1,40}"),
        ("drain", "batch", "", "a reversible step needs verify"),
        ("look", "batch", "", None),
        ("look", "batch", ACTS, "shell.run changes nothing, so 'undo' has no meaning here"),
        ("drian", "batch", ACTS, "no command 'drian' is configured; did you mean 'drain'?"),
    ],
)
def test_lint_knows_the_list(
    tmp_path: Path, state: Path, command: str, queue_: str, rest: str, fault: str | None
) -> None:
    commands = dict(queue(tmp_path, state)._commands)
    commands["look"] = replace(commands["drain"], name="look", risk=Risk.READ, undo=(), observe=(), preview=())
    text = BOOK.format(command=command, queue=queue_, rest=rest)
    faults = [wrong.message for wrong in check(text, "run.md", KINDS, {"commands": commands})[1]]
    assert (faults == []) if fault is None else any(fault in wrong for wrong in faults), faults
    assert check(text, "run.md")[1] == [], "without the list, what its command costs is not known"
