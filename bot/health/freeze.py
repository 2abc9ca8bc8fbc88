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
from bot.health.observation import Observation
from bot.health.series import Recorder, Recording, onset
from bot.health.strips import xids

log = structlog.get_logger()

PICTURE: Final = "picture"
LARGEST: Final = 4_000_000
"""Bytes of all series of one look, as JSON: some 500 GPUs over 90 minutes. They take a tenth of it on the disk."""
XID_MARKS: Final = 4
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


def freeze(recorder: Recorder, report: Report, marks: Sequence[Mark], sla: float) -> Frozen:
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
    picture = picture_of(report, recording, marks, sla) if pieces else None
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


def picture_of(report: Report, recording: Recording, marks: Sequence[Mark], sla: float) -> bytes | None:
    """The PNG, with marks for deploys and Xids beside those given; None when it could not be drawn."""
    title = short_title(report)
    all_marks = (*marks, *_deploys(report), *_xids(recording))
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


def _deploys(report: Report) -> list[Mark]:
    changes = [check for check in report.checks if check.group == "change" and check.unit == "age"]
    return [Mark(report.at - timedelta(seconds=age), "change", text) for age, text in _ages(changes)]


def _ages(changes: Sequence[Observation]) -> list[tuple[float, str]]:
    """Each change once: one roll-out is seen by several exporters."""
    found: dict[int, tuple[float, str]] = {}
    for check in changes:
        for sample in check.series:
            labels = sample.labels
            what = labels.get("revision") or labels.get("replicaset") or labels.get("deployment", "")
            found.setdefault(round(sample.value / 60), (sample.value, f"deploy {what}".strip()))
    return list(found.values())


def _xids(recording: Recording) -> list[Mark]:
    seen = xids(recording)
    marks = [
        Mark(datetime.fromtimestamp(one.at, UTC), "xid", f"Xid {one.number} {one.gpu}") for one in seen[:XID_MARKS]
    ]
    return marks if len(seen) <= XID_MARKS else [*marks[:-1], Mark(marks[-1].at, "xid", "more Xids")]
