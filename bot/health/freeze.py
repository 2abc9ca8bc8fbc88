"""Keeps what the telemetry shows now, before its own memory ends: the series as JSON, and the picture drawn of them."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog

from bot.health.chart import Mark, Picture, draw
from bot.health.findings import Report
from bot.health.observation import Sample
from bot.health.series import Recorder, Recording, onset
from bot.health.strips import xids
from bot.incident.change import GONE, KUBERNETES, Change, ChangeKind, is_same, tag

log = structlog.get_logger()

PICTURE: Final = "picture"
LARGEST: Final = 4_000_000
"""Bytes of all series of one look, as JSON: some 500 GPUs over 90 minutes. They take a tenth of it on the disk."""
XID_MARKS: Final = 4
CHANGE_MARKS: Final = 5
_SAME_S: Final = 60
"""A time and an age tell the same moment no finer."""
_FELT: Final = {"ttft": "U2", "errors": "U1"}
"""The series that users feel, and the check whose limit says from when."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One kept thing: a series as JSON (with what was asked), or the picture as PNG."""

    name: str
    kind: Literal["series", "picture"]
    query: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was kept. `since`: when users began to feel it. `missing`: what was not kept and why, for a person."""

    pieces: tuple[Piece, ...]
    points: int
    since: datetime | None
    missing: str


def evidence_id(key: str) -> str:
    """`EV-7F3K2QAB`, always the same for the same key: so the second try of a look is the same evidence."""
    return f"EV-{base64.b32encode(hashlib.sha256(key.encode()).digest()[:5]).decode()}"


def freeze(
    recorder: Recorder, report: Report, marks: Sequence[Mark], sla: float, changes: Sequence[Change] = ()
) -> Frozen:
    """Reads the last 90 minutes and draws them. Takes the recorder's budget and the time of a drawing."""
    recording = recorder.record(report)
    pieces: list[Piece] = []
    missing: dict[str, list[str]] = {}
    room = LARGEST
    points = 0
    for series in recording.series:
        if not series.lines:
            if series.missing:
                missing.setdefault(series.missing, []).append(series.name)
            continue
        content = series.to_json()
        if len(content) > room:
            missing.setdefault("too large", []).append(series.name)
            continue
        room -= len(content)
        points += sum(len(line.points) for line in series.lines)
        pieces.append(Piece(series.name, "series", series.query, content))
    picture = picture_of(report, recording, marks, sla, changes) if pieces else None
    if picture is not None:
        pieces.append(Piece(PICTURE, "picture", "", picture))
    elif pieces:
        missing.setdefault("could not be drawn", []).append(PICTURE)
    said = "; ".join(f"{', '.join(names)}: {why}" for why, names in missing.items())
    return Frozen(tuple(pieces), points, felt_since(report, recording), said)


def short_title(report: Report) -> str:
    """The verdict first and in words, about whom, and the one thing to know."""
    felt = [check for check in report.checks if check.group == "users" and check.bad]
    worst = min(felt, key=lambda check: check.status != "crit", default=None)
    felt_most = worst.text if worst else report.impact
    why = report.headline_cause
    # Within brackets it begins small, unless it is a name or an abbreviation.
    because = f" ({why[:1].lower() if why[1:2].islower() else why[:1]}{why[1:]})" if worst and why else ""
    return f"[{report.verdict}] {report.about}: {felt_most}{because}"


def picture_of(
    report: Report, recording: Recording, marks: Sequence[Mark], sla: float, changes: Sequence[Change] = ()
) -> bytes | None:
    """The PNG, with marks for changes (those known and those of the report) and Xids; None when it could not be
    drawn."""
    title = short_title(report)
    shown = [mark for mark in changes_of(report, changes) if recording.begin <= mark.at <= recording.end]
    all_marks = (*marks, *_newest(shown), *_xids(recording))
    try:
        return draw(Picture(title, recording, all_marks, sla))
    except Exception:
        # A bug, with its traceback in the log; what a drawing library may stumble over has no common type. The numbers
        # beside the picture must not be lost for it, nor asked for again and again: that is why it goes on.
        log.exception("picture_not_drawn", about=report.about)
        return None


def felt_since(report: Report, recording: Recording) -> datetime | None:
    """From when users felt it: the earliest of what is past its limit now."""
    limits = {check.check: check.limit for check in report.checks if check.bad}
    begun = [check.since for check in report.checks if check.group == "users" and check.bad and check.since]
    for name, check in _FELT.items():
        limit = limits.get(check)
        at = onset(recording.of(name).first, limit) if limit is not None else None
        if at is not None:
            begun.append(datetime.fromtimestamp(at, UTC))
    return min(begun, default=None)


def changes_of(report: Report, known: Sequence[Change]) -> list[Mark]:
    """Each change once, the oldest first, in the words of whoever told of it; and what the report alone saw."""
    marks = {one.at: Mark(one.at, "change", _said(one)) for one in known}
    for check in report.checks:
        for sample in check.series if check.group == "change" and check.unit == "age" else ():
            seen = _seen(sample, report.at)
            if not any(_is_known(one, seen) for one in known):
                text = f"deploy {seen.revision or seen.workload}".strip()
                # One roll-out is seen by several exporters.
                near = any(abs((at - seen.at).total_seconds()) < _SAME_S for at in marks)
                marks |= {} if near else {seen.at: Mark(seen.at, "change", text)}
    return [marks[at] for at in sorted(marks)]


def _seen(sample: Sample, now: datetime) -> Change:
    labels = sample.labels
    return Change(
        id=labels.get("replicaset", ""),
        source=KUBERNETES,
        at=now - timedelta(seconds=sample.value),
        service=labels.get("service", ""),
        model=labels.get("model_name", ""),
        workload=labels.get("deployment", ""),
        revision=labels.get("revision") or labels.get("replicaset", ""),
    )


def _is_known(known: Change, seen: Change) -> bool:
    """By the moment, by the ReplicaSet that it stands for, or as two sources that speak of one roll-out."""
    sets = (known.id, *known.stands_for.values())
    return (
        abs((known.at - seen.at).total_seconds()) < _SAME_S
        or bool(seen.id and any(f"/{seen.id}@" in id_ for id_ in sets))
        or is_same(known, seen)
    )


def _said(change: Change) -> str:
    """In the few words that a mark has room for: `deploy r42`, `config max_num_seqs`."""
    if change.title == GONE:
        return "change"
    if change.kind is ChangeKind.DEPLOY:
        return f"deploy {change.revision or tag(change.image) or change.subject}"
    key = change.settings[0].key if change.settings else ""
    return f"{change.kind.value} {key or change.title or change.subject}"


def _newest(marks: Sequence[Mark]) -> list[Mark]:
    if len(marks) <= CHANGE_MARKS:
        return list(marks)
    oldest, *rest = marks[-CHANGE_MARKS:]
    return [Mark(oldest.at, "change", "more changes"), *rest]


def _xids(recording: Recording) -> list[Mark]:
    seen = xids(recording)
    marks = [
        Mark(datetime.fromtimestamp(one.at, UTC), "xid", f"Xid {one.number} {one.gpu}") for one in seen[:XID_MARKS]
    ]
    return marks if len(seen) <= XID_MARKS else [*marks[:-1], Mark(marks[-1].at, "xid", "more Xids")]
