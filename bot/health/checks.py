"""What one question of the health report is; `bot.health.catalogue` holds them all."""

from dataclasses import dataclass
from typing import Literal

Group = Literal["users", "engine", "change", "hardware", "model", "context"]
Unit = Literal["share", "seconds", "age", "count", "rate", "minute", "times", "score", "xid"]
Rule = Literal["above", "below", "xid"]
Direction = Literal["above", "below"]

NO_METRIC = "no such metric"


@dataclass(frozen=True, slots=True)
class Check:
    """One question to Prometheus.

    id: the number of the check, with a letter where it has several parts (`H3b`). sources: query templates in fallback
    order (slots: see `promql.render`); joined with `join`, so that the first that knows a label set wins and a mixed
    fleet is covered in one round trip. phrase: the answer in words, with `{value}` where the number goes. warn, crit:
    past `warn`, or at or past `crit`, in the direction of `rule`; rule `xid` asks the Xid table instead. calm: said
    instead of the phrase when all is well. missing: what an empty answer means. runbook: for when it is bad. whole:
    looked at as a whole even when one model is asked about; of other checks, a source without a slot for the model is
    left out then. Group `context` is told and judged by, and counts neither as good nor as bad.
    """

    id: str
    title: str
    group: Group
    sources: tuple[str, ...]
    phrase: str
    unit: Unit
    explain: str
    warn: float | None = None
    crit: float | None = None
    rule: Rule = "above"
    calm: str = ""
    missing: str = NO_METRIC
    runbook: str = ""
    whole: bool = False
    join: str = "or"

    @property
    def direction(self) -> Direction:
        """In which direction it gets worse."""
        return "below" if self.rule == "below" else "above"
