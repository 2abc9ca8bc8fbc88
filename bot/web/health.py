"""Whether the bot lives, whether it can work, and whether it does."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.audit.findings import Finding
from bot.journal import Busy
from bot.web.metrics import EXPOSITION, Numbers, exposition

LATE_S: Final = 300.0
"""An effect that waits longer than this is worth a word in /health/ready."""
WRITE_WITHIN_S: Final = 2.0
"""Whoever asks whether we are ready seldom waits longer."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What health is told from, asked anew each time. `try_out` writes to the journal, or raises Busy; `turns_away`
    tells why even alerts that wake somebody are turned away, empty when they are not."""

    numbers: Callable[[], Numbers]
    try_out: Callable[[], None]
    findings: Callable[[], Sequence[Finding]]
    turns_away: Callable[[], str]
    models: Callable[[], str] = str
    """Further metrics, about models, or raises Busy; empty by itself."""


def health_routes(vitals: Vitals, clock: Callable[[], datetime]) -> list[Route]:
    """/health/live, /health/ready, /health/engine and /metrics; /healthz and /readyz are the first two."""

    def live(_: Request) -> Response:
        """The process answers. It asks nobody, so that a slow disk does not get the process killed."""
        return JSONResponse({"ok": True})

    def ready(_: Request) -> Response:
        """Alerts are taken in and the journal takes writes, else this fails. A late outbox is told, not failed: alerts
        must still come in."""
        if why := vitals.turns_away():
            return JSONResponse({"ok": False, "why": why}, HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            vitals.try_out()
        except Busy as busy:
            return JSONResponse({"ok": False, "why": str(busy)}, HTTPStatus.SERVICE_UNAVAILABLE)
        held, now = vitals.numbers().held, clock()
        if held is None:
            return JSONResponse({"ok": False, "why": "the journal cannot be read"}, HTTPStatus.SERVICE_UNAVAILABLE)
        waiting = max((held.waits(courier, now) for courier in held.oldest), default=0.0)
        return JSONResponse({"ok": True, "outbox_oldest_seconds": waiting, "outbox_late": waiting > LATE_S})

    def engine(_: Request) -> Response:
        """What should have happened by now has, else this fails and says what has not."""
        findings = [finding.text for finding in vitals.findings()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if findings else HTTPStatus.OK
        return JSONResponse({"ok": not findings, "findings": findings}, status)

    def metrics(_: Request) -> Response:
        told = exposition(vitals.numbers(), clock())
        # Without the journal the bot itself is still told of: it is watched for just that.
        with suppress(Busy):
            told += vitals.models()
        return PlainTextResponse(told, media_type=EXPOSITION)

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health/engine", engine),
        Route("/healthz", live),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]
