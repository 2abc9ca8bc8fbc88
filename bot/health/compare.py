"""Two reports side by side: how it was at its worst, and how it is now. Pure."""

from bot.health.findings import Report
from bot.health.observation import Observation, number


def compare(before: Report, after: Report) -> list[str]:
    """`Errors 31.0% → 0.1% (limit 1.0%)` for each of the users' checks that was bad before, in the report's order."""
    now = {check.check: check for check in after.checks}
    return [
        _line(was, now.get(was.check))
        for was in before.checks
        if was.group == "users" and was.bad and was.value is not None
    ]


def _line(was: Observation, now: Observation | None) -> str:
    unit = was.unit
    before = number(was.value or 0.0, unit)
    after = number(now.value, unit) if now is not None and now.value is not None else "not known"
    limit = was.limit if now is None else now.limit
    held = f" (limit {number(limit, unit)})" if limit is not None else ""
    still = ", still past it" if now is not None and now.bad else ""
    return f"{was.title} {before} → {after}{held}{still}"
