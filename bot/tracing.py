"""Traces of the bot's own work by OpenTelemetry, for whoever sets a collector. The one file that imports it.

[tracing]
endpoint = "http://127.0.0.1:4318/v1/traces"

An incident's id is a UUID, and so is a trace's: everything that is done for an incident, by whichever server and
however much later, is one trace, found by the id alone. Spans hold names, ids, counts and kinds of failure, no text.
"""

import importlib.util
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.contracts import Again, Attempt, Courier, Delivered, Permanent, Transient
from bot.desk import Desk, Outcome
from bot.incident.commands import Command
from bot.incident.effects import EFFECT_NAMES, Effect
from bot.incident.people import Refused
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.settings import Secret, Table
from bot.web.traffic import ELSEWHERE

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

About = Mapping[str, str | int]
T = TypeVar("T")

LONGEST_TIMEOUT: Final = timedelta(seconds=10)
"""As for any call outside; it is also how long an end of the bot may wait for its last spans."""
WAITING: Final = 4_096
"""Spans that wait for the collector; with that many, further ones are dropped, and the bot goes on."""
NOTHING: Final[About] = {}
MISSING: Final = "needs OpenTelemetry, which is not installed; install fixfirst[otel]"


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[tracing]`. `endpoint` takes OTLP over HTTP, with `token` as a bearer; `timeout` is in seconds."""

    endpoint: str
    token: Secret
    timeout: float = 5.0

    @classmethod
    def from_toml(
        cls, values: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Settings | None, list[str]]":
        """The settings, or every fault as "key: what is wrong; what to do"."""
        faults: list[str] = []
        table = Table("tracing", values, faults)
        endpoint = table.url("endpoint", required=True)
        token = table.secret("token_env", secret)
        timeout = table.span("timeout", timedelta(seconds=5))
        if not timedelta(0) < timeout <= LONGEST_TIMEOUT:
            table.fault("timeout", f"must be longer than nothing and at most {LONGEST_TIMEOUT.seconds}s")
        if endpoint and not is_installed():
            table.fault("endpoint", MISSING)
        table.done()
        return (None if faults else cls(endpoint, token, timeout.total_seconds())), faults


def is_installed() -> bool:
    """Whether the packages of the extra `otel` are there."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class Tracing:
    """Gives out spans, and sends them from a thread of its own. A collector that is away delays nothing."""

    def __init__(self, settings: Settings, workspace: str, version: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        headers = {"Authorization": f"Bearer {settings.token.reveal()}"} if settings.token else {}
        exporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=headers, timeout=settings.timeout)
        about = {"service.name": "fixfirst", "service.namespace": workspace, "service.version": version}
        self._provider = TracerProvider(resource=Resource(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=WAITING))
        self._tracer: Tracer = self._provider.get_tracer("fixfirst", version)

    def begin(self, name: str, about: About) -> "Span":
        """A piece of work begins now."""
        return Span(self._tracer, name, about)

    def close(self) -> None:
        """Sends what waits, for as long as one call may take."""
        self._provider.shutdown()

    def door(self, app: ASGIApp, doors: Collection[str]) -> ASGIApp:
        """The same doors; each request is a span. `doors` are their paths; what knocks elsewhere has one name."""
        return _TracedDoor(app, doors, self)

    def courier(self, name: str, courier: Courier) -> Courier:
        """The same courier; each of its tries is a span of the incident's trace."""
        return _TracedCourier(name, courier, self)


class Span:
    """One piece of work, told when it is over: only then is it known which incident it was about."""

    def __init__(self, tracer: "Tracer", name: str, about: About) -> None:
        self._tracer = tracer
        self._name = name
        self._about = about
        self._began = time_ns()

    def end(self, incident: Incident | None = None, *, failure: str = "", about: About = NOTHING) -> None:
        """It is over; `failure` is a kind of failure, in a word."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        told = {**self._about, **about}
        if incident is not None:
            told |= {"fixfirst.incident": incident.id, "fixfirst.incident.ref": incident.ref}
        span = self._tracer.start_span(
            self._name,
            context=_trace_of(incident),
            kind=SpanKind.SERVER if "http.route" in told else SpanKind.INTERNAL,
            attributes=told,
            start_time=self._began,
        )
        if failure:
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end()


def _trace_of(incident: Incident | None) -> Any:
    """What a span of this incident belongs to: the trace with the incident's id; without an incident, a new trace.

    The second half of the id stands for the incident itself, as the span that all others belong to.
    """
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if incident is None:
        return Context()
    number = uuid.UUID(incident.id).int
    whole = SpanContext(number, number & (2**64 - 1), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(whole), Context())


class TracedDesk(Desk):
    """The desk; every command that it takes is a span, from when it was asked until it is on disk."""

    def __init__(
        self, tracing: Tracing, journal: Journal, policy: Policy, reading: Reading, wake: Callable[[], None]
    ) -> None:
        super().__init__(journal, policy, reading, wake)
        self._tracing = tracing

    def submit(self, command: Command) -> Future[Outcome]:
        """As the desk's."""
        asked = {"fixfirst.source": command.source}
        return self._traced(super().submit, command, type(command).__name__, asked)

    def drain(self, group_key: str) -> Future[Outcome | None]:
        """As the desk's."""
        return self._traced(super().drain, group_key, "Drain", {})

    def check_timers(self, incident_id: str) -> Future[Outcome | None]:
        """As the desk's."""
        return self._traced(super().check_timers, incident_id, "CheckTimers", {})

    def _traced(self, work: Callable[[Any], Future[T]], asked: Any, name: str, about: About) -> Future[T]:
        span = self._tracing.begin(f"command {name}", about)
        future = work(asked)

        def over(done: Future[T]) -> None:
            if done.cancelled():
                span.end(failure="given up before it began")
                return
            error = done.exception()
            if isinstance(error, Refused):
                span.end(about={"fixfirst.refused": 1})
            elif error is not None:
                span.end(failure=type(error).__name__)
            else:
                outcome = done.result()
                if isinstance(outcome, Outcome):
                    span.end(outcome.incident, about={"fixfirst.entries": len(outcome.entries)})

        future.add_done_callback(over)
        return future


class _TracedCourier:
    def __init__(self, name: str, courier: Courier, tracing: Tracing) -> None:
        self._name = name
        self._courier = courier
        self._tracing = tracing

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """As the courier's."""
        kind = EFFECT_NAMES[type(effect)]
        span = self._tracing.begin(
            f"deliver {kind}",
            {"fixfirst.courier": self._name, "fixfirst.effect": attempt.key, "fixfirst.attempt": attempt.number},
        )
        try:
            result = self._courier.deliver(effect, incident, attempt)
        except Exception as failure:
            known = isinstance(failure, Transient | Permanent)
            span.end(incident, failure=type(failure).__name__ if known else "Bug")
            raise
        span.end(incident, about={"fixfirst.goes_on": 1} if isinstance(result, Again) else NOTHING)
        return result


class _TracedDoor:
    def __init__(self, app: ASGIApp, doors: Collection[str], tracing: Tracing) -> None:
        self._app = app
        self._doors = doors
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door = scope["path"] if scope["path"] in self._doors else ELSEWHERE
        span = self._tracing.begin(f"door {door}", {"http.route": door})
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR

        async def noticed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noticed)
        finally:
            failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            span.end(failure=str(status) if failed else "", about={"http.response.status_code": int(status)})
