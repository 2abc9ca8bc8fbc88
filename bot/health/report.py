"""The health report as text, for a terminal or a log: verdict, impact and what to do first, the numbers below."""

from datetime import datetime

from bot.health import versions
from bot.health.findings import Report
from bot.health.observation import Observation, Status, duration, number

_MARKS: dict[Status, str] = {"crit": "CRIT", "warn": "warn", "ok": "ok", "unknown": "?"}


def lines(report: Report) -> list[str]:
    """The whole report, without colour: it must be readable in a pager, a chat and a screen reader."""
    out = [f"[{report.verdict}] {report.about}"]
    out += [f"Users:       {report.impact}"]
    sure = f" ({report.confidence})" if report.confidence else ""
    out += [f"Cause:       {report.cause}{sure}"]
    if report.second:
        out += [f"Or else:     {report.second}"]
    if report.runbook:
        out += [f"Do now:      runbook {report.runbook}"]
        if len(report.runbooks) > 1:
            out += [f"Then:        {', '.join(report.runbooks[1:])}"]
    out += [f"Not advised: {what}" for what in report.not_advised]
    out += [f"Not checked: {what}" for what in report.unknowns]
    out += [standing.line for standing in report.slos]
    out += ["", f"{checked(report)} checks at {report.at:%Y-%m-%d %H:%M:%S %Z}: {tally(report)}"]
    width = max((len(seen.title) for seen in report.checks), default=0)
    for seen in report.checks:
        where = f"  [{seen.offender}]" if seen.offender else ""
        fleet = "  (whole fleet)" if seen.scope == "fleet" and seen.status != "unknown" else ""
        text = f"{seen.text}{against(seen)}{since(seen, report.at)}"
        out.append(f"  {_MARKS[seen.status]:<5}{seen.check:<5}{seen.title:<{width}}  {text}{where}{fleet}")
    for comparison in report.versions:
        title, *rest = versions.lines(comparison)
        out += ["", title, *(f"  {text}" for text in rest)]
    return out


def against(seen: Observation) -> str:
    """` (limit 10%)`, for a number that is past its limit; empty where words say it all."""
    if not seen.bad or seen.limit is None or seen.unit == "xid" or seen.check.startswith("H"):
        return ""
    return f" (limit {number(seen.limit, seen.unit)})"


def since(seen: Observation, now: datetime) -> str:
    """`, since 12 min`; empty when nobody knows."""
    return f", since {duration((now - seen.since).total_seconds())}" if seen.since else ""


def _statuses(report: Report) -> dict[str, Status]:
    """The status of each check: the worst of its parts, of which those that nobody knows do not count."""
    worst: dict[str, Status] = {}
    for seen in report.checks:
        if seen.group != "context":
            statuses = [worst.get(seen.number, "unknown"), seen.status]
            worst[seen.number] = min(statuses, key=lambda status: list(_MARKS).index(status))
    return worst


def checked(report: Report) -> int:
    """How many checks were made; the parts of one count once."""
    return len(_statuses(report))


def tally(report: Report) -> str:
    """`11 ok, 1 warn, 3 crit, 3 unknown`, without what there is none of."""
    statuses = list(_statuses(report).values())
    counts = {status: statuses.count(status) for status in ("ok", "warn", "crit", "unknown")}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
