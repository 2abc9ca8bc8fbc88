"""Whether the bot lives, whether it can work, whether it does, and its figures for Prometheus."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.audit.findings import Finding
from bot.incident.state import Status
from bot.journal import Busy

Numbers = Callable[[], Mapping[str, Any]]
"""`incidents` and `alerts` by status, `news_waiting`, `outbox` as {"states", "oldest"}, `delivered`, `failed`."""

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/"""
LATE_S: Final = 300.0
"""An effect that waits longer than this is worth a word in /health/ready."""
WRITE_WITHIN_S: Final = 2.0
"""Whoever asks whether we are ready seldom waits longer."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What health is told from, asked anew each time. `try_out` writes to the journal, or raises Busy."""

    numbers: Numbers
    try_out: Callable[[], None]
    findings: Callable[[], Sequence[Finding]]


def health_routes(vitals: Vitals, clock: Callable[[], datetime]) -> list[Route]:
    """/health/live, /health/ready, /health/engine and /metrics; /healthz and /readyz are the first two."""

    def live(_: Request) -> Response:
        """The process answers. It asks nobody, so that a slow disk does not get the process killed."""
        return JSONResponse({"ok": True})

    def ready(_: Request) -> Response:
        """The journal takes writes, else this fails. A late outbox is told, not failed: alerts must still come in."""
        try:
            vitals.try_out()
        except Busy as busy:
            return JSONResponse({"ok": False, "why": str(busy)}, HTTPStatus.SERVICE_UNAVAILABLE)
        waiting = outbox_age(vitals.numbers(), clock())
        return JSONResponse({"ok": True, "outbox_oldest_seconds": waiting, "outbox_late": waiting > LATE_S})

    def engine(_: Request) -> Response:
        """What should have happened by now has, else this fails and says what has not."""
        findings = [finding.text for finding in vitals.findings()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if findings else HTTPStatus.OK
        return JSONResponse({"ok": not findings, "findings": findings}, status)

    def metrics(_: Request) -> Response:
        return PlainTextResponse(exposition(vitals.numbers(), clock()), media_type=EXPOSITION)

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health/engine", engine),
        Route("/healthz", live),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]


def outbox_age(numbers: Mapping[str, Any], now: datetime) -> float:
    """Seconds since the oldest undelivered effect was decided; 0 when nothing waits."""
    oldest: datetime | None = numbers["outbox"]["oldest"]
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def exposition(numbers: Mapping[str, Any], now: datetime) -> str:
    """The figures in Prometheus' text format."""
    outbox = numbers["outbox"]["states"]
    incidents = {status.value: 0 for status in Status} | dict(numbers["incidents"])
    alerts = {"firing": 0, "resolved": 0} | dict(numbers["alerts"])
    families = (
        _family("incidents", "gauge", "Incidents by status.", _by("status", incidents)),
        _family("alerts", "gauge", "Alerts in the ledger by status.", _by("status", alerts)),
        _family("intake_news_waiting", "gauge", "Groups with news to work in.", [("", numbers["news_waiting"])]),
        _family("outbox_pending", "gauge", "Effects that wait for delivery.", [("", outbox.get("waiting", 0))]),
        _family("outbox_dead", "gauge", "Effects given up for good.", [("", outbox.get("dead", 0))]),
        _family(
            "outbox_oldest_seconds", "gauge", "Age of the oldest waiting effect.", [("", outbox_age(numbers, now))]
        ),
        _family(
            "deliveries_total",
            "counter",
            "Effects carried out or given up since the start.",
            _by("result", {"delivered": numbers["delivered"], "failed": numbers["failed"]}),
        ),
    )
    return "".join(families)


def _by(label: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(f'{{{label}="{_quoted(name)}"}}', value) for name, value in sorted(values.items())]


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> str:
    lines = [f"# HELP fixfirst_{name} {text}", f"# TYPE fixfirst_{name} {kind}"]
    lines += [f"fixfirst_{name}{labels} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
