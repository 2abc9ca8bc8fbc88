"""The folder of runbooks: reads every file, keeps the faultless ones, lists all faults at once."""

from collections.abc import Mapping
from pathlib import Path

from bot.runbook.kinds import KINDS, KindRule, Targets
from bot.runbook.lint import lint
from bot.runbook.model import Fault, Runbook
from bot.runbook.parse import parse

NOT_A_RUNBOOK = "README.md"


def check(
    text: str, file: str, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None
) -> tuple[Runbook | None, list[Fault]]:
    """One text, parsed and linted; the Runbook only when it has no fault. `file` is the name that faults show."""
    runbook, faults = parse(text, file)
    faults = sorted({*faults, *lint(runbook, kinds, targets)})
    return (None if faults else runbook), faults


def load(
    directory: Path, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None
) -> tuple[dict[str, Runbook], list[Fault]]:
    """The faultless runbooks of a folder by id, and the faults of the others. A README.md is left alone."""
    runbooks: dict[str, Runbook] = {}
    faults: list[Fault] = []
    if not directory.is_dir():
        return {}, [Fault(str(directory), 1, "there is no such folder")]
    for path in sorted(directory.glob("*.md")):
        if path.name == NOT_A_RUNBOOK:
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            faults.append(Fault(str(path), 1, f"not UTF-8 at byte {error.start}"))
            continue
        except OSError as error:
            faults.append(Fault(str(path), 1, f"cannot be read: {error.strerror}"))
            continue
        runbook, wrong = check(text, str(path), kinds, targets)
        faults.extend(wrong)
        if runbook is not None:
            runbooks[runbook.id] = runbook
    return runbooks, faults
