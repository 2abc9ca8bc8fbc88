"""The folder of runbooks: reads every file, keeps the faultless ones, lists all faults at once."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bot.runbook.kinds import KINDS, KindRule, Targets
from bot.runbook.lint import lint
from bot.runbook.model import Fault, Runbook
from bot.runbook.parse import MAX_BYTES, parse

NOT_A_RUNBOOK = "README.md"


def check(
    text: str, file: str, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None
) -> tuple[Runbook | None, list[Fault]]:
    """One text, parsed and linted; the Runbook only when it has no fault. `file` is the name that faults show."""
    runbook, faults = parse(text, file)
    faults = sorted({*faults, *lint(runbook, kinds, targets)})
    return (None if faults else runbook), faults


@dataclass(frozen=True, slots=True)
class Book:
    """One file: its text, as much of a runbook as could be read in it, and every fault. Good without a fault."""

    path: Path
    text: str
    runbook: Runbook
    faults: tuple[Fault, ...]


def open_book(path: Path, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None) -> Book:
    """One file, with the faults of what cannot be read among the others."""
    text, fault = _text(path)
    if fault:
        return Book(path, "", Runbook("", "", str(path), ""), (fault,))
    runbook, faults = parse(text, str(path))
    return Book(path, text, runbook, tuple(sorted({*faults, *lint(runbook, kinds, targets)})))


def survey(
    directory: Path, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None
) -> tuple[list[Book], list[Fault]]:
    """Every runbook of a folder and its subfolders, good or not, and the faults of the folders themselves."""
    books: list[Book] = []
    taken: dict[str, str] = {}
    paths, faults = files(directory)
    for path in paths:
        book = open_book(path, kinds, targets)
        name = book.runbook.id
        if not book.faults and name in taken:
            twice = Fault(str(path), book.runbook.at("id"), f"the id '{name}' is already used by {taken[name]}")
            book = replace(book, faults=(twice,))
        elif not book.faults:
            taken[name] = str(path)
        books.append(book)
    return books, faults


def load(
    directory: Path, kinds: Mapping[str, KindRule] = KINDS, targets: Targets | None = None
) -> tuple[dict[str, Runbook], list[Fault]]:
    """The faultless runbooks of a folder and its subfolders by id, and the faults of the others."""
    books, faults = survey(directory, kinds, targets)
    good = {book.runbook.id: book.runbook for book in books if not book.faults}
    return good, [*faults, *(fault for book in books for fault in book.faults)]


def check_all(paths: Iterable[Path], targets: Targets | None = None) -> tuple[int, list[Fault]]:
    """How many runbooks stand in these files and folders, and all their faults; one named twice counts once."""
    seen: set[Path] = set()
    faults: set[Fault] = set()
    for path in paths:
        if path.is_dir():
            seen.update(file.resolve() for file in files(path)[0])
            faults.update(load(path, targets=targets)[1])
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            faults.update(open_book(path, targets=targets).faults)
    return len(seen), sorted(faults)


def files(directory: Path) -> tuple[list[Path], list[Fault]]:
    """The runbooks of a folder and its subfolders, in order, and the folders that cannot be read.

    Every `*.md` but README.md. What begins with a dot is left alone: there Kubernetes keeps the same files again when
    it mounts a ConfigMap. Links to folders are not followed, links to files are.
    """
    found: list[Path] = []
    faults: list[Fault] = []

    def unreadable(error: OSError) -> None:
        message = "there is no such folder" if not directory.is_dir() else f"cannot be read: {error.strerror}"
        faults.append(Fault(str(error.filename), 1, message))

    for folder, below, names in os.walk(directory, onerror=unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [
            Path(folder, name)
            for name in names
            if name.endswith(".md") and name != NOT_A_RUNBOOK and not name.startswith(".")
        ]
    return sorted(found), faults


def _text(path: Path) -> tuple[str, Fault | None]:
    """What the file holds, or why it cannot be had; no more of it is read than a runbook may be long."""
    if path.exists() and not path.is_file():
        # A pipe or a device would be waited for, for ever.
        return "", Fault(str(path), 1, "is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        # Too long is parse's to say: a character cut in two at the end is no fault of its own.
        return content.decode("utf-8", "replace" if len(content) > MAX_BYTES else "strict"), None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", Fault(str(path), line, f"not UTF-8 at byte {error.start}: save the file as UTF-8")
    except OSError as error:
        return "", Fault(str(path), 1, f"cannot be read: {error.strerror}")
