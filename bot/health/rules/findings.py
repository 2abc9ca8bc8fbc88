"""What the doctor of rules says: which rule, what is wrong with it, and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Verdict = Literal["never fires", "records nothing", "misleads", "cannot be read"]


class Seen(Protocol):
    """What has been seen: asked of a live Prometheus, or of whatever knows."""

    def metrics(self) -> frozenset[str]:
        """The names of all metrics."""
        ...

    def labels(self, selector: str) -> frozenset[str]:
        """The labels of the series that this selects."""
        ...

    def values(self, label: str, selector: str = "") -> frozenset[str]:
        """The values of a label."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule as Prometheus has it, or as a file does."""

    name: str
    query: str
    group: str
    file: str
    alert: bool

    @property
    def where(self) -> str:
        return f"{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one rule. `why` tells what happens because of it; `instead` what to write."""

    rule: LoadedRule
    verdict: Verdict
    what: str
    why: str
    instead: str


@dataclass(frozen=True, slots=True)
class Examination:
    """How many rules were looked at, what was found, and which were too large to be read, with the reason."""

    rules: int
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[LoadedRule, str], ...] = ()


def lines(examination: Examination) -> Iterable[str]:
    """For a terminal: each finding with its rule, then the count."""
    for finding in examination.findings:
        yield f"{finding.rule.where} {finding.verdict}"
        yield f"  in       {finding.rule.file}"
        yield f"  what     {finding.what}"
        yield f"  because  {finding.why}"
        yield f"  instead  {finding.instead}"
        yield ""
    for rule, reason in examination.skipped:
        yield f"{rule.where} was not examined: {reason}"
    sick = len({finding.rule for finding in examination.findings})
    yield f"{examination.rules} rules examined, {sick} with something wrong."
