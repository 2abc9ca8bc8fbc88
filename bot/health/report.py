"""The health report as text, for a terminal or a log: verdict, impact and what to do first, the numbers below."""

from bot.health.findings import Report

_MARKS = {"crit": "CRIT", "warn": "warn", "ok": "ok", "unknown": "?"}


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
    out += [f"Not seen:    {what}" for what in report.unknowns]
    out += ["", f"{len(report.checks)} checks at {report.at:%Y-%m-%d %H:%M:%S %Z}: {tally(report)}"]
    width = max((len(seen.title) for seen in report.checks), default=0)
    for seen in report.checks:
        where = f"  [{seen.offender}]" if seen.offender else ""
        fleet = "  (whole fleet)" if seen.scope == "fleet" and seen.status != "unknown" else ""
        out.append(f"  {_MARKS[seen.status]:<5}{seen.check:<5}{seen.title:<{width}}  {seen.text}{where}{fleet}")
    return out


def tally(report: Report) -> str:
    """`11 ok, 1 warn, 3 crit, 3 unknown`, without what there is none of."""
    counts = {status: sum(seen.status == status for seen in report.checks) for status in _MARKS}
    return ", ".join(f"{counts[status]} {status}" for status in ("ok", "warn", "crit", "unknown") if counts[status])
