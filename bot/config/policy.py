"""The tables that say what alerts mean, who hears of an incident when, and how much may be done to it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bot.incident.brake import Cap
from bot.incident.events import Severity
from bot.incident.policy import Policy
from bot.intake.reading import SEVERITIES, Reading
from bot.runbook.kinds import KINDS
from bot.settings import Table, duration

LONGEST_LOOK_BACK: Final = timedelta(days=1)
"""What was changed longer ago is not the first thing to look at, and the telemetry is asked for all of it."""


def read_deadlines(values: Mapping[str, Any], faults: list[str]) -> Policy:
    table = Table("deadlines", values, faults)
    standard = Policy()
    updates = Table("deadlines.update_every", table.mapping("update_every"), faults)
    spans = {
        severity: updates.span(severity.value, standard.update_span(severity) or timedelta(0)) for severity in Severity
    }
    policy = Policy(
        ack_within=table.span("acknowledge", standard.ack_within),
        max_escalations=table.whole("escalations", standard.max_escalations, low=0, high=20),
        snooze=table.span("snooze", standard.snooze),
        reopen_within=table.span("reopen", standard.reopen_within),
        update_every=tuple((severity, span) for severity, span in spans.items() if span),
        quiet=table.span("quiet", standard.quiet),
        self_resolving=_severities(table, "self_resolving", standard.self_resolving),
        pages=_severities(table, "pages", standard.pages),
        announce_every=table.span("announce_every", standard.announce_every),
    )
    updates.done()
    table.done()
    if policy.ack_within <= timedelta(0):
        table.fault("acknowledge", "must be longer than nothing")
    return policy


def _severities(table: Table, key: str, default: frozenset[Severity]) -> frozenset[Severity]:
    named = table.texts(key, tuple(sorted(default)))
    wrong = [name for name in named if name not in list(Severity)]
    for name in wrong:
        table.fault(key, f"{name!r} is no severity; use SEV1, SEV2, SEV3 or SEV4")
    return frozenset(Severity(name) for name in named if name not in wrong)


def read_changes(table: Table) -> Mapping[str, Any]:
    """What of the policy is about changes."""
    within = table.span("look_back", Policy().changes_within)
    if not timedelta(0) < within <= LONGEST_LOOK_BACK:
        table.fault("look_back", f"must be longer than nothing and at most {LONGEST_LOOK_BACK.days * 24}h")
    kept = timedelta(days=table.whole("keep_days", Policy().changes_kept.days, low=2, high=3_650))
    environments = frozenset(table.texts("environments"))
    table.done()
    return {"changes_within": within, "changes_kept": kept, "environments": environments}


def read_caps(table: Table) -> Mapping[str, Cap]:
    """How often a kind of step may be carried out, as `"k8s.drain" = "1 per 1h"`; 0 takes a cap of our own away."""
    caps = dict(Policy().caps)
    for kind in table.values:
        most, _, span = table.text(kind).partition(" per ")
        within = duration(span)
        if kind not in KINDS:
            table.fault(kind, f"is no kind of step; known: {', '.join(KINDS)}")
        elif most == "0" and not span:
            caps.pop(kind, None)
        elif not most.isdecimal() or int(most) < 1 or within is None or not within:
            table.fault(kind, 'must be how many in what time, as "1 per 1h", or "0" for no cap')
        else:
            caps[kind] = Cap(int(most), within)
    table.done()
    return caps


def read_alerts(values: Mapping[str, Any], faults: list[str]) -> Reading:
    table = Table("alerts", values, faults)
    standard = Reading()
    severities = dict(SEVERITIES)
    for word, name in table.mapping("severities").items():
        if name in list(Severity):
            severities[str(word).lower()] = Severity(name)
        else:
            table.fault(f"severities.{word}", f"{name!r} is no severity; use SEV1, SEV2, SEV3 or SEV4")
    reading = Reading(
        severity=table.texts("severity_labels", standard.severity),
        severities=severities,
        default_severity=Severity(
            table.choice("default_severity", standard.default_severity.value, tuple(s.value for s in Severity))
        ),
        service=table.texts("service_labels", standard.service),
        model=table.texts("model_labels", standard.model),
        host=table.texts("host_labels", standard.host),
        runbook=table.texts("runbook_annotations", standard.runbook),
        group_by=table.texts("group_by", standard.group_by),
        storm_groups=table.whole("storm_groups", standard.storm_groups, low=1, high=1000),
    )
    table.done()
    return reading
