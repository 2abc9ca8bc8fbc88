"""A runbook as it stands in its file: parameters and step templates, before any value is filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from bot.incident.run import TRIES, OnFail, Risk, Verify


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong in one file, on one line (counted from 1), in a sentence that says what to do."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Param:
    """A value that the person or the alert gives. `label` is the alert label it comes from, or empty: then ask."""

    name: str
    type: str
    label: str = ""
    default: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its `{{ name }}` placeholders still open.

    `risk` is what the file states, or None: the kind (or its endpoint) decides. `timeout` None means the kind's own.
    `where` gives the line of each key in the step block by dotted path (`with.query`); an absent path was not written.
    `shown` are the file's lines, as they stand, of what people read of the step: (line, text).
    """

    id: str
    title: str
    kind: str
    line: int
    args: Mapping[str, Any] = field(default_factory=dict)
    risk: Risk | None = None
    prose: str = ""
    warning: str = ""
    checklist: tuple[str, ...] = ()
    timeout: timedelta | None = None
    retry: int = TRIES - 1
    verify: Verify | None = None
    undo: str | None = None
    no_undo: str = ""
    lease: timedelta | None = None
    on_fail: OnFail = OnFail.STOP
    where: Mapping[str, int] = field(default_factory=dict)
    shown: tuple[tuple[int, str], ...] = ()

    def at(self, path: str) -> int:
        """The line on which `path` was written; the step's heading when it was not."""
        return self.where.get(path, self.line)


@dataclass(frozen=True, slots=True)
class Runbook:
    """One file. `intro` is the prose before the steps; `digest` is the SHA-256 of the text, in hex."""

    id: str
    title: str
    file: str
    digest: str
    owner: str = ""
    alerts: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    lock: str = ""
    intro: str = ""
    steps: tuple[Step, ...] = ()
    where: Mapping[str, int] = field(default_factory=dict)

    def at(self, path: str) -> int:
        """The line of a front matter key by dotted path; the first line when it was not written."""
        return self.where.get(path, 1)


def did_you_mean(word: str, known: "Mapping[str, object] | frozenset[str] | set[str]") -> str:
    """A closing half-sentence: the nearest known word, else all of them."""
    near = get_close_matches(word, sorted(known), n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(sorted(known))}" if known else "none are known here"
