"""Stories that end in a postmortem, told through the real core."""

from datetime import timedelta
from typing import Any

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Role
from bot.postmortem.draft import draft
from tests.core.case import MAYA, START, Case

PAGES = "http://127.0.0.1:8081"
REPORT: dict[str, Any] = {
    "checks": [
        {"title": "Errors", "status": "crit", "text": "12.0 % of requests fail (limit 5 %)", "offender": "llama-70b"},
        {"title": "Queue", "status": "ok", "text": "3 waiting", "offender": ""},
        {"title": "First token", "status": "warn", "text": "p95 4.1 s (limit 2 s)", "offender": "llama-70b"},
    ],
    "unknowns": ["GPU temperature: no such series"],
    "second": "Saturation: 3 waiting",
}


def evidence(**changes: Any) -> ev.EvidenceCollected:
    values: dict[str, Any] = {
        "verdict": "DEGRADED",
        "impact": "12.0 % of requests fail",
        "cause": "Recent change: a deploy at 02:51",
        "runbook": "rollback-model-deploy",
        "report": REPORT,
    }
    return ev.EvidenceCollected(**{**values, **changes})


def drafted(case: Case) -> str:
    return draft(case.inc, case.entries, case.now, PAGES)


def night() -> Case:
    """From the first alert to the resolve: seen, acknowledged, explained, communicated, contained, recovered."""
    case = Case().alerts(1, new=1, service="chat", model="llama-70b", runbook="rollback-model-deploy")
    case.after(seconds=15).receipt(evidence())
    case.after(seconds=15).alerts(3, new=2).after(seconds=30).alerts(4, new=1).after(seconds=30).alerts(4)
    case.after(minutes=1).do(cmd.Acknowledge)
    case.after(seconds=20).do(cmd.AssignRole, role=Role.COMMANDER, user=MAYA.id)
    case.after(minutes=1).do(
        cmd.StateImpact, text="one chat in eight gets an error", started_at=START - timedelta(minutes=4)
    )
    case.after(minutes=1).do(cmd.PostUpdate, text="We see it and are rolling back.")
    case.after(minutes=5).do(cmd.Mitigate, text="rolled back to build 411")
    case.after(minutes=3).alerts(0, resolved=4)
    return case.after(hours=22).do(cmd.Resolve, reason="the old build holds")
