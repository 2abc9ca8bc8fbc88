"""Incidents in the states that people see, folded from what happened, and Slack's own rules to hold them against."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Role, Severity
from bot.incident.run import Risk, StepSpec
from bot.slack.blocks import Message
from bot.workbench.slack.blockkit import MESSAGE_CHARACTERS_MAX, characters, interactive, message_problems
from tests.core.case import JONAS, Case, act, ask, check

PLAN: dict[str, Any] = {
    "lines": ["llama-70b: r42 -> r41", "3 replicas restart, one after the other"],
    "request": {},
    "before": {},
    "risk": "reversible",
    "undo": "back to r42",
    "warnings": ["r41 is 9 days old"],
}
REPORT: dict[str, Any] = {
    "at": "2026-11-21T03:01:00+00:00",
    "model": "llama-70b",
    "verdict": "OUTAGE",
    "impact": "31.0% of requests fail",
    "cause_id": "recent-change",
    "cause": "Recent change: r42 went live 6 min ago",
    "agree": 4,
    "signals": 5,
    "second": "Hardware: Xid 79 on node-2 gpu 1",
    "runbooks": ["rollback-model-deploy", "serve-from-cache"],
    "not_advised": ["drain-node: half of the capacity is already gone"],
    "unknowns": ["Drift: no traffic in the last 5 min"],
    "checks": [
        {
            "check": "U1",
            "group": "users",
            "title": "Errors",
            "status": "crit",
            "value": 0.31,
            "text": "31.0% of requests fail",
            "offender": "llama-70b",
            "query": "errors",
            "scope": "model",
            "series": [],
        },
        {
            "check": "U2",
            "group": "users",
            "title": "First token",
            "status": "ok",
            "value": 0.4,
            "text": "first token after 0.40 s",
            "offender": "",
            "query": "ttft",
            "scope": "model",
            "series": [],
        },
    ],
}
EVIDENCE = ev.EvidenceCollected(
    "OUTAGE", "31.0% of requests fail", "Recent change: r42 went live 6 min ago", "rollback-model-deploy", REPORT
)
SAMPLES: tuple[dict[str, Any], ...] = tuple(
    {"title": name, "name": name, "labels": {}} for name in ("ErrorRateHigh", "ErrorRateHigh", "TtftHigh", "PodDown")
)
LOOK = ask(prose="Who deployed?", checklist=("Ask in #deploys", "Look at the diff"))
ROLLBACK = act(
    prose="Goes back to the revision before.\nTakes about two minutes.", warning="In-flight requests are dropped."
)


def burning(**fields: Any) -> Case:
    """Just opened by alerts, with what the outside reported back."""
    case = Case().alerts(
        firing=37, resolved=963, new=37, samples=SAMPLES, truncated=12, service="chat", model="llama-70b", **fields
    )
    return case.receipt(
        ev.ChannelOpened("C0INC42", "inc-42"), ev.PageAccepted("PagerDuty", 1, "https://pd.example/incidents/PX1")
    )


def taken() -> Case:
    """Acknowledged by Maya after two minutes, with evidence."""
    return burning().receipt(EVIDENCE).after(minutes=2).do(cmd.Acknowledge)


def running(*steps: StepSpec) -> Case:
    """A runbook begun."""
    return taken().do(
        cmd.StartRun,
        run="r1",
        runbook="rollback-model-deploy",
        title="Roll back a model deploy",
        source_digest="0" * 64,
        target="model/llama-70b",
        steps=steps
        or (check(), ask(prose="Who deployed?", checklist=("Ask in #deploys", "Look at the diff")), ROLLBACK),
    )


def previewed(**plan: Any) -> Case:
    """The act of a runbook is previewed and waits for a person."""
    return running(ROLLBACK).receipt(ev.StepPlanned("r1", "rollback", {**PLAN, **plan}, "d1"))


def destructive() -> Case:
    spec = replace(ROLLBACK, risk=Risk.DESTRUCTIVE, undo=None, no_undo="requests are lost", lease=None)
    plan = {**PLAN, "risk": "destructive", "undo": None}
    return running(spec).receipt(ev.StepPlanned("r1", "rollback", plan, "d1"))


def second_called() -> Case:
    return destructive().do(cmd.CallSecond, run="r1", step="rollback")


def alone() -> Case:
    case = second_called().after(minutes=6)
    return case.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1", alone="node-3 is failing too")


def going() -> Case:
    """An act that goes on by itself, and how far it is."""
    case = alone().receipt(ev.StepApplied("r1", "rollback", 1, lasting=True))
    return case.receipt(ev.StepProgressed("r1", "rollback", "3 of 5 pods moved, 2 wait for the budget <chat>"))


def waiting() -> Case:
    """A step that waits for a measurement."""
    case = running(replace(check(), kind="promql.wait", timeout=timedelta(minutes=10)), ROLLBACK)
    return case.receipt(ev.StepProgressed("r1", "check", "12 (want < 5)"))


def said() -> Case:
    calls = replace(check("owner"), kind="page.oncall", args={"text": "llama-70b answers from its cache <!channel>"})
    return running(calls, ROLLBACK)


def lent() -> Case:
    """In force for an hour."""
    case = previewed().do(cmd.ApproveStep, run="r1", step="rollback", digest="d1").after(minutes=1)
    return case.receipt(ev.StepApplied("r1", "rollback", 1, case.now + timedelta(hours=1)))


def nagged() -> Case:
    return lent().receipt(ev.StepSucceeded("r1", "rollback", "0.002 (want < 0.01)")).after(minutes=20).clock_strikes()


def applied() -> Case:
    case = running(replace(ROLLBACK, lease=None)).receipt(ev.StepPlanned("r1", "rollback", PLAN, "d1"))
    case.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1").after(minutes=1)
    return case.receipt(ev.StepApplied("r1", "rollback", 1))


def fixed() -> Case:
    return applied().after(minutes=2).receipt(ev.StepSucceeded("r1", "rollback", "0.002 (want < 0.01)"))


def failed() -> Case:
    return applied().receipt(ev.StepFailed("r1", "rollback", "0.31 (want < 0.01) for 5 min"))


def interrupted() -> Case:
    case = previewed().do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    return case.receipt(ev.StepInterrupted("r1", "rollback", "the answer never came"))


def staffed() -> Case:
    case = fixed().do(cmd.AssignRole, role=Role.COMMANDER, user="U0MAYA")
    case.do(cmd.AssignRole, role=Role.COMMUNICATIONS, user="U0JONAS").do(
        cmd.AssignRole, role=Role.SCRIBE, user="nobody"
    )
    case.do(cmd.StateImpact, text="Chat users, one in three, since the deploy")
    case.do(cmd.ChangeSeverity, severity=Severity.SEV2)
    return case.receipt(
        ev.DeliveryFailed("pagerduty", "escalate_page", "401: the token was revoked"),
        ev.DeliveryFailed("slack", "open_channel", "missing_scope: channels:manage"),
        ev.DeliveryFailed("slack", "tell", "ratelimited; still trying"),
    )


def mitigated() -> Case:
    case = staffed().do(cmd.PostUpdate, text="One in three fails.\nRolled back.")
    return case.after(minutes=5).do(cmd.Mitigate, text="rolled back")


def recovered() -> Case:
    return mitigated().after(minutes=5).alerts(firing=0, resolved=1000)


def resolved() -> Case:
    case = recovered().do(cmd.Resolve, by=JONAS, reason="Errors are at 0.2 %")
    return case.after(minutes=1).receipt(ev.PostmortemDrafted("2026-11-21-inc-42.md"))


def under_fire() -> Case:
    return taken().do(cmd.Resolve, reason="the alerts are wrong", despite_firing=True)


def cancelled() -> Case:
    return burning().after(minutes=4).do(cmd.Cancel, reason="a load test")


def everybody_called() -> Case:
    case = burning()
    for _ in range(3):
        case.after(minutes=5).clock_strikes()
    return case


def reopened() -> Case:
    return resolved().after(minutes=5).alerts(firing=4, resolved=1000, new=4)


def relapsed() -> Case:
    return mitigated().after(minutes=5).alerts(firing=9, resolved=900, new=3)


def lease_ran_out() -> Case:
    return nagged().after(hours=1).clock_strikes().receipt(ev.UndoFailed("r1", "rollback", "503 from the gateway"))


def blind() -> Case:
    return burning().receipt(ev.EvidenceFailed("Prometheus did not answer within 5 s"))


def declared() -> Case:
    return Case().do(cmd.Declare, title="Answers are in the wrong language", severity=Severity.SEV3)


STORIES = (
    burning, taken, running, previewed, destructive, applied, fixed, failed, interrupted, staffed, mitigated, recovered,
    resolved, under_fire, cancelled, everybody_called, reopened, relapsed, lease_ran_out, blind, declared,
    second_called, alone, going, waiting, said, lent, nagged,
)  # fmt: skip


def sound(message: Message) -> Message:
    """Holds a message against Slack's rules."""
    assert message_problems(message.blocks) == []
    assert characters(message.blocks) < MESSAGE_CHARACTERS_MAX
    assert message.text.strip()
    assert len(message.text) <= 1000
    styles = [element.get("style") for element in interactive(message.blocks)]
    assert styles.count("primary") <= 1, "one thing to do"
    return message


def labels(message: Message) -> list[str]:
    """What the buttons say, in order."""
    return [element["text"]["text"] for element in interactive(message.blocks) if element["type"] == "button"]


def words(value: Any) -> str:
    """Everything a person reads in blocks, one text a line."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(words, value)))
    if not isinstance(value, dict):
        return ""
    own = value.get("text")
    return "\n".join(filter(None, [own if isinstance(own, str) else "", *map(words, value.values())]))


HOSTILE = "<!channel> <@UEVIL> <https://evil.example|click> @here & <!subteam^S1> \u202eok"
"""Text that would mention, ping or link if anything forgot to make it harmless."""


def harmless(value: Any) -> None:
    """Nothing hostile survives as Slack would read it."""
    text = words(value) if not isinstance(value, str) else value
    for sequence in ("<!channel", "<!here", "<!everyone", "<!subteam", "<https://evil", "@here", "@channel", "<@uevil"):
        assert sequence not in text.lower(), sequence
