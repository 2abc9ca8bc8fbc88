"""What was measured: one answer per check, as plain data that the incident's journal can keep as evidence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bot.health import xid
from bot.health.checks import Check, Direction, Unit

Status = Literal["ok", "warn", "crit", "unknown"]

NO_TRAFFIC = "no traffic"
_RANK: dict[Status, int] = {"crit": 0, "warn": 1, "ok": 2, "unknown": 3}
ASKED = 20  # worst series asked for: a check over 16,000 GPUs must not carry them all here
KEPT = 10  # and kept of those that are past a limit
WEIGHED = frozenset({"change", "context"})  # what is weighed model by model, whatever the limit
_DURATIONS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of the answer."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer to one check.

    value: of the worst series, in the check's unit; None when unknown. text: one clause for a person, without a full
    stop. offender: whom it is about, or "". series: those past a limit, the worst first, at most KEPT; else the one
    nearest to it; of what is WEIGHED all, up to KEPT. scope: "fleet" where one model was asked about but the check
    looks at everything. unit, direction, warn, crit: how `value` is read and where its limits lie; None where there
    is none. runbook: the id for when it is bad, or "". since: when it went past its limit, None when it is not or
    nobody knows. gone: unknown now although it was known within the last hour, or because the telemetry did not
    answer.
    """

    check: str
    group: str
    title: str
    status: Status
    value: float | None
    text: str
    offender: str
    query: str
    scope: Literal["model", "fleet"]
    series: tuple[Sample, ...] = ()
    unit: Unit = "count"
    direction: Direction = "above"
    warn: float | None = None
    crit: float | None = None
    runbook: str = ""
    since: datetime | None = None
    gone: bool = False

    @property
    def bad(self) -> bool:
        """Past a limit."""
        return self.status in {"warn", "crit"}

    @property
    def idle(self) -> bool:
        """Unknown because nothing was asked of what is measured, and not because it is not measured."""
        return self.status == "unknown" and self.text.startswith(NO_TRAFFIC)

    @property
    def number(self) -> str:
        """The check that this is a part of: `H3` of `H3b`."""
        return self.check.rstrip("abcdefgh")

    @property
    def limit(self) -> float | None:
        """The limit it is held against: the one it is past, else the first it would meet."""
        if self.status == "crit" and self.crit is not None:
            return self.crit
        return self.crit if self.warn is None else self.warn

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "check": self.check,
            "group": self.group,
            "title": self.title,
            "status": self.status,
            "value": self.value,
            "text": self.text,
            "offender": self.offender,
            "query": self.query,
            "scope": self.scope,
            "series": [{"labels": dict(sample.labels), "value": sample.value} for sample in self.series],
            "unit": self.unit,
            "direction": self.direction,
            "warn": self.warn,
            "crit": self.crit,
            "runbook": self.runbook,
            "since": self.since.isoformat() if self.since else None,
            "gone": self.gone,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Observation":
        """What `to_dict` wrote, now or by an older version, whose observations had fewer fields; or without queries."""
        series = tuple(Sample(dict(sample["labels"]), sample["value"]) for sample in data["series"])
        since = datetime.fromisoformat(data["since"]) if data.get("since") else None
        return cls(**{"query": "", **data, "series": series, "since": since})


def unknown(
    check: Check, query: str, reason: str, scope: Literal["model", "fleet"], *, gone: bool = False
) -> Observation:
    """No answer, and why. Never green."""
    return Observation(
        check=check.id,
        group=check.group,
        title=check.title,
        status="unknown",
        value=None,
        text=reason,
        offender="",
        query=query,
        scope=scope,
        unit=check.unit,
        direction=check.direction,
        warn=check.warn,
        crit=check.crit,
        gone=gone,
    )


def observe(
    check: Check, query: str, samples: Sequence[Sample], window: int, scope: Literal["model", "fleet"]
) -> Observation:
    """Judge what Prometheus answered, at least one series. NaN is a rate over no traffic: neither good nor bad."""
    finite = [sample for sample in samples if math.isfinite(sample.value)]
    if not finite:
        return unknown(check, query, f"{NO_TRAFFIC} in the last {duration(window)}", scope)
    ordered = sorted(finite, key=lambda sample: _badness(check, sample))
    worst = ordered[0]
    status = _status(check, worst)
    past = [sample for sample in ordered if _status(check, sample) in {"warn", "crit"}]
    return Observation(
        check=check.id,
        group=check.group,
        title=check.title,
        status=status,
        value=worst.value,
        text=_text(check, worst, status),
        offender="" if check.calm and not past else _offenders(past or ordered[:1]),
        query=query,
        scope=scope,
        series=tuple(ordered[:KEPT] if check.group in WEIGHED else past[:KEPT] or ordered[:1]),
        unit=check.unit,
        direction=check.direction,
        warn=check.warn,
        crit=check.crit,
        runbook=_runbook(check, worst) if past else "",
    )


def _runbook(check: Check, sample: Sample) -> str:
    return entry(sample).runbook if check.rule == "xid" else check.runbook


def _badness(check: Check, sample: Sample) -> tuple[int, float, list[tuple[str, str]]]:
    """Worst first; the labels settle a tie, so that the same answer always reads the same."""
    value = sample.value if check.rule == "below" else -sample.value
    return _RANK[_status(check, sample)], value, sorted(sample.labels.items())


def _status(check: Check, sample: Sample) -> Status:
    if check.rule == "xid":
        return entry(sample).severity if sample.labels.get("xid") else "ok"
    sign = -1 if check.rule == "below" else 1
    if check.crit is not None and sign * sample.value >= sign * check.crit:
        return "crit"
    if check.warn is not None and sign * sample.value > sign * check.warn:
        return "warn"
    return "ok"


def entry(sample: Sample) -> xid.Xid:
    """What its Xid means. `count_values` writes a number as `79`; an exporter's own label could be anything."""
    try:
        return xid.explain(int(float(sample.labels["xid"])))
    except (ValueError, OverflowError):
        return xid.explain(-1)


def _text(check: Check, sample: Sample, status: Status) -> str:
    if check.rule == "xid" and sample.labels.get("xid"):
        meant = entry(sample)
        return f"Xid {meant.number}, {meant.meaning}: {meant.do}"
    if check.calm and status == "ok":
        return check.calm
    value = number(sample.value, check.unit)
    if sample.labels.get("at_least"):
        value = f">= {sample.value:g} s"  # the histogram ends there
    text = check.phrase.replace("{value}", value)
    measure = sample.labels.get("measure", "")
    if measure:
        text = f"{value} {measure}"
    reason = sample.labels.get("reason", "")
    if reason:
        text = f"{text} ({reason})"
    return text


def _offenders(samples: Sequence[Sample]) -> str:
    name = offender(samples[0].labels)
    more = len({offender(sample.labels) for sample in samples} - {name})
    if not name or not more:
        return name
    return f"{name} and {more if len(samples) < ASKED else f'at least {more}'} more"


def pod_of(labels: Mapping[str, str]) -> str:
    """The workload's pod as `namespace/pod`, under whichever names the exporter and the scrape have put it; or ""."""
    for pod, namespace in (("exported_pod", "exported_namespace"), ("pod_name", "pod_namespace"), ("pod", "namespace")):
        if labels.get(pod):
            return f"{labels.get(namespace, '')}/{labels[pod]}"
    return ""


def uuid_of(labels: Mapping[str, str]) -> str:
    """The GPU's UUID, or ""."""
    return labels.get("UUID") or labels.get("uuid", "")


def offender(labels: Mapping[str, str]) -> str:
    """Whom a series is about, in few words: `llama-70b`, `node-2 gpu 1 (llama-70b)`, `chat/vllm-0`."""
    host, model = labels.get("host", ""), labels.get("model_name", "")
    if host:
        gpu = f" gpu {labels['gpu']}" if labels.get("gpu") else ""
        return f"{host}{gpu} ({model})" if model else f"{host}{gpu}"
    revision = labels.get("revision") or labels.get("replicaset", "")
    if model:
        detail = revision.removeprefix(f"{model}-") or labels.get("feature", "") or labels.get("canary", "")
        return f"{model} {detail}".strip()
    names = (revision, *(labels.get(name, "") for name in ("pod", "deployment", "team_alias", "job", "namespace")))
    return next((name for name in names if name), "")


def number(value: float, unit: Unit) -> str:
    """`value` as a person reads it."""
    if unit == "share":
        return f"{value:.1%}" if abs(value) < 0.9995 else "100%"
    if unit == "seconds":
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    if unit == "age":
        return duration(value)
    if unit == "rate":
        return f"{value:.2g}/s" if value < 10 else f"{value:.0f}/s"
    if unit == "minute":
        return f"{value:.0f} a minute"
    if unit == "times":
        return f"{value:.1f}x"
    if unit == "score":
        return f"{value:.2f}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """The largest whole unit: `40 s`, `4 min`, `3 h`, `2 d`."""
    for size, name in _DURATIONS:
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return "0 s"
