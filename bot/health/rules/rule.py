"""What a rule of the alert pack is: its question, its words, and the series that prove it fires and that it does
not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["critical", "warning", "info"]
"""As `bot.intake.reading` reads them: SEV1, SEV3 and SEV4."""
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One proof for `promtool test rules`: what fires at `at` because of these series; with no `fires`, that nothing
    does.

    series: a selector with its labels -> values in promtool's notation, one sample a minute. fires: the labels of each
    alert that fires, without its name and severity, which the rule knows.
    """

    name: str
    series: Mapping[str, str]
    fires: tuple[Labels, ...] = ()
    at: str = "30m"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. It holds for `wait` before it fires; 0s fires at once.

    runbook: the id of one of our runbooks, or "" where none fits and `description` is all there is to go by.
    """

    name: str
    expr: str
    severity: Severity
    wait: str
    summary: str
    description: str
    runbook: str
    cases: tuple[Case, ...]
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A series that is computed beforehand, under a name of ours."""

    name: str
    expr: str
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates together, in this order: one file.

    needs: the groups whose records these rules read. tested_every: how often promtool evaluates them; proofs that last
    days take it easy.
    """

    name: str
    rules: tuple[Record | Alert, ...]
    needs: tuple[str, ...] = ()
    tested_every: str = "1m"

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))


def series(name: str, labels: Labels, values: str) -> dict[str, str]:
    """One series of a case, as `Case.series` holds it."""
    inner = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return {f"{name}{{{inner}}}": values}
