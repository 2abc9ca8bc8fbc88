"""The check "recent change" with what pipelines told: a flag or a setting shows nowhere in Kubernetes. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from bot.health.observation import KEPT, Observation, Sample, duration, offender
from bot.health.promql import Settings
from bot.incident.change import Change, ChangeKind, movement

CHANGE_CHECK: Final = "E4"
_SUSPECT: Final = frozenset({ChangeKind.DEPLOY, ChangeKind.CONFIG, ChangeKind.FLAG})
"""What rolling back can mend; more replicas or another driver is not taken back by it."""


def samples(changes: Sequence[Change], now: datetime) -> tuple[Sample, ...]:
    """The ages in seconds, as the telemetry would give them; the youngest first."""
    suspects = (one for one in changes if one.kind in _SUSPECT and one.at <= now)
    return tuple(
        Sample(_labels(one), (now - one.at).total_seconds())
        for one in sorted(suspects, key=lambda one: one.at, reverse=True)
    )


def _labels(one: Change) -> dict[str, str]:
    known = {"model_name": one.model, "service": one.service, "revision": one.revision or movement(one)}
    return {name: value for name, value in known.items() if value}


def with_changes(
    observations: Sequence[Observation], changes: Sequence[Change], now: datetime, settings: Settings
) -> tuple[Observation, ...]:
    """The observations, the check of changes with the youngest change that anybody knows of."""
    told = samples(changes, now)
    if not told:
        return tuple(observations)
    return tuple(_younger(one, told, settings) if one.check == CHANGE_CHECK else one for one in observations)


def _younger(seen: Observation, told: Sequence[Sample], settings: Settings) -> Observation:
    youngest = told[0]
    series = tuple(sorted((*told, *seen.series), key=lambda one: one.value)[:KEPT])
    if seen.value is not None and seen.value <= youngest.value:
        return replace(seen, series=series)
    recent = youngest.value < settings.change_seconds
    whom = youngest.labels.get("model_name") or youngest.labels.get("service", "")
    return replace(
        seen,
        status="warn" if recent else "ok",
        value=youngest.value,
        text=f"changed {duration(youngest.value)} ago",
        offender=" ".join(part for part in (whom, youngest.labels.get("revision", "")) if part),
        series=series,
    )


def at_onset(seen: Observation, onset: datetime | None, troubled: Collection[str], now: datetime) -> Observation:
    """The check of changes, with only those changes that count.

    A page may come late: what was young when the trouble began is a suspect for as long as the trouble lasts. Of a
    model that is known to be another than those in trouble only what is young now counts.
    """
    if seen.warn is None or not seen.series:
        return seen
    limit = seen.warn
    young = [one for one in seen.series if one.value < limit]
    ours = [one for one in seen.series if not troubled or one.labels.get("model_name", "") in {"", *troubled}]
    lasts = (now - onset).total_seconds() if onset else 0.0
    suspects = [one for one in ours if one not in young and 0 <= one.value - lasts < limit]
    counting = replace(seen, series=(*young, *suspects) or seen.series[:1])
    if not suspects or any(one in young for one in ours):
        return counting
    last = suspects[0]
    return replace(
        counting,
        status="warn",
        value=last.value,
        text=f"changed {duration(last.value)} ago, {duration(last.value - lasts)} before the trouble",
        offender=offender(last.labels),
    )
