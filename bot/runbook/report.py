"""Faults as others read them: a person, a terminal's editor, GitHub beside the line of a pull request, a program."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bot.runbook.model import Fault

TITLE = "Runbook"


def as_text(faults: Iterable[Fault]) -> str:
    """`file:line: message`, one a line."""
    return "\n".join(map(str, faults))


def as_github(faults: Iterable[Fault], workspace: str = "") -> str:
    """Workflow commands, which GitHub shows beside the line. `workspace` is the folder of the checkout, or empty.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message; what
    must be escaped is said only by https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
    """
    return "\n".join(
        f"::error file={_property(_within(workspace, fault.file))},line={fault.line},title={_property(TITLE)}"
        f"::{_data(fault.message)}"
        for fault in faults
    )


def as_json(faults: Iterable[Fault]) -> str:
    """A list of `{"file", "line", "message"}`."""
    return json.dumps([asdict(fault) for fault in faults], ensure_ascii=False, indent=2)


def _within(workspace: str, file: str) -> str:
    """The path from the root of the checkout on, as GitHub knows the file, wherever the command was started."""
    path = Path(file).absolute()
    return path.relative_to(workspace).as_posix() if workspace and path.is_relative_to(workspace) else file


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
