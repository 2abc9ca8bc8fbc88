"""What several cards share: the marks, the sentences about where an incident stands, and its first buttons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote as url_quote

from bot.incident.advice import proposed_runbook
from bot.incident.events import DeliveryFailed, EvidenceCollected
from bot.incident.links import Links
from bot.incident.policy import Policy
from bot.incident.state import Incident, Status
from bot.incident.timeline import count, span
from bot.slack.actions import Do
from bot.slack.blocks import (
    Block,
    button,
    link_button,
)
from bot.slack.text import clock, line, name_of, plain, when

LABELS: Final[Mapping[Do, str]] = {
    Do.ACK: "Acknowledge",
    Do.RUN: "Run a runbook",
    Do.UPDATE: "Post an update",
    Do.MITIGATED: "Mitigated",
    Do.RESOLVE: "Resolve",
    Do.SEVERITY: "Change severity",
    Do.ROLE: "Assign a role",
    Do.IMPACT: "State the impact",
    Do.NOTE: "Add a note",
    Do.TIMELINE: "Timeline",
    Do.HEALTH: "Fleet health",
}
"""What each button says. The order is the order of usefulness while an incident lives."""
STATUS_MARKS: Final[Mapping[Status, str]] = {
    Status.OPEN: ":red_circle:",
    Status.ACKNOWLEDGED: ":large_orange_circle:",
    Status.MITIGATED: ":large_yellow_circle:",
    Status.RESOLVED: ":white_check_mark:",
    Status.CANCELLED: ":white_circle:",
    Status.MERGED: ":white_circle:",
}
VERDICT_MARKS: Final[Mapping[str, str]] = {
    "OUTAGE": ":red_circle:",
    "DEGRADED": ":large_orange_circle:",
    "OK": ":large_green_circle:",
    "BLIND": ":black_circle:",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What cards need beside the incident: `pages_url` is where people reach our pages, without a slash at the end;
    `runbooks` gives titles to runbook ids, `links` are the templates of where else to look."""

    policy: Policy
    pages_url: str
    runbooks: Mapping[str, str]
    links: Links = field(default_factory=dict)

    def timeline_url(self, incident: Incident) -> str:
        return f"{self.pages_url.rstrip('/')}/incidents/{incident.ref}"

    def postmortem_url(self, incident: Incident) -> str:
        return f"{self.pages_url.rstrip('/')}/postmortems/{url_quote(incident.postmortem)}"


def headline(incident: Incident) -> str:
    """One line for a phone: severity, number, title, and where it stands."""
    return f"{incident.severity} {incident.ref} {line(incident.title, 120)}: {incident.status}"


def acknowledge(incident: Incident) -> Block:
    """The button that stops the escalation."""
    return button("Acknowledge", Do.ACK, incident.id, style="primary")


def status_line(incident: Incident) -> str:
    """Where it stands and since when, in words."""
    mark = STATUS_MARKS[incident.status]
    match incident.status:
        case Status.OPEN if incident.generation > 1:
            return f"{mark} *Back again, and nobody has it yet* · since {clock(incident.opened_at)}"
        case Status.OPEN:
            return f"{mark} *Nobody has it yet* · open since {clock(incident.opened_at)}"
        case Status.ACKNOWLEDGED:
            taken = incident.acknowledged
            return f"{mark} *{name_of(taken.by)} has it* · since {clock(taken.at)}" if taken else f"{mark} *Taken*"
        case Status.MITIGATED:
            since = f" · since {clock(incident.mitigated.at)}" if incident.mitigated else ""
            return f"{mark} *Mitigated, not yet resolved*{since}"
        case status:
            ended = incident.resolved
            by = f" by {name_of(ended.by)} · {when(ended.at)}" if ended else ""
            word = "Called off" if status is Status.CANCELLED else status.value.capitalize()
            return f"{mark} *{word}*{by}"


def durations(incident: Incident) -> str:
    """Time to acknowledge, to mitigate and to resolve, from when this round of the incident opened."""
    marks = (
        ("acknowledged", incident.acknowledged),
        ("mitigated", incident.mitigated),
        (str(incident.status), incident.resolved),
    )
    return " · ".join(f"{word} after {span(mark.at - incident.opened_at)}" for word, mark in marks if mark)


def alerts_line(incident: Incident) -> str:
    """The alerts counted, never listed, with the names of a few; empty when there were none."""
    if not incident.firing and not incident.recovered:
        return ""
    names = dict.fromkeys(line(str(sample.get("name") or sample.get("title") or ""), 60) for sample in incident.samples)
    shown = ", ".join([name for name in names if name][:3])
    cut_off = f" · {incident.truncated} more left out by the sender" if incident.truncated else ""
    such_as = f" · {shown}" if shown else ""
    return f"Alerts: {incident.firing} firing · {incident.recovered} recovered{such_as}{cut_off}"


def run_button(incident: Incident, context: Context) -> Block:
    """Opens the form with the runbook to offer already chosen; with none chosen when there is none of that name."""
    title = context.runbooks.get(proposed_runbook(incident))
    label = f"Run: {plain(title, 68)}" if title else LABELS[Do.RUN]
    return button(label, Do.RUN, incident.id, style="primary")


def postmortem_button(incident: Incident, context: Context) -> Block | None:
    """Opens the draft in a browser, or asks the bot for it while nobody can reach our pages; None without a draft."""
    if not incident.postmortem:
        return None
    if context.pages_url.startswith(("http://", "https://")):
        return link_button("Open the postmortem", context.postmortem_url(incident)) | {"style": "primary"}
    return button("Open the postmortem", Do.POSTMORTEM, incident.id, style="primary")


def has_cause(found: EvidenceCollected) -> bool:
    """Whether there is anything to explain: a healthy service has no cause."""
    return found.verdict != "OK" and bool(found.cause.strip())


def confidence(found: EvidenceCollected) -> str:
    """` (high, 4 of 5 signals)`, as the health report counted them; empty where it names no cause to be sure of."""
    agree, signals = found.report.get("agree", 0), found.report.get("signals", 0)
    certainty = found.report.get("certainty", "")
    sure = f"{certainty}, " if certainty else ""
    return f" ({sure}{agree} of {count(signals, 'signal')})" if signals else ""


def tested(incident: Incident) -> str:
    """What the telemetry said last to the question whether it is over; empty while nobody has asked."""
    said = incident.tested
    if said is None:
        return ""
    words = ":large_green_circle: *Proven healthy*" if said.holds else ":warning: *Not proven healthy*"
    return f"{words} at {clock(said.at)} · {line(said.text, 500)}"


def trouble(failed: DeliveryFailed) -> str:
    """What could not be told to the outside, as a plain warning."""
    what = line(failed.effect.replace("_", " "), 60)
    return f":warning: Could not deliver {what} by {line(failed.courier, 40)}: {line(failed.reason)}"
