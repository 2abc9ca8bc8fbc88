"""What a collector hears of the bot's work, over the wire that any collector speaks; unasked, nothing is sent."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bot.app import App
from bot.config import read
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.incident.state import Incident
from tests.servers import free_port

MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya", frozenset({Right.RESPOND}))
SECRETS = {"FIXFIRST_ALERTMANAGER_TOKENS": "a-token-of-the-tests", "COLLECTOR_TOKEN": "another-token-of-tests"}
TITLE = "llama-70b answers with errors"
ALERT = {
    "status": "firing",
    "fingerprint": "f1",
    "startsAt": "2026-11-21T03:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "labels": {"alertname": "LLMErrorRatioHigh", "severity": "critical", "model": "llama-70b"},
    "annotations": {"summary": TITLE},
}
FLUSH_S = 10.0


@dataclass
class Collector:
    """Takes OTLP over HTTP on loopback and keeps what it hears."""

    bodies: list[bytes] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        collector = self

        class Ear(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                collector.tokens.append(self.headers["Authorization"])
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    def spans(self) -> list[Span]:
        groups = [group for request in self.requests() for group in request.resource_spans]
        return [span for group in groups for scope in group.scope_spans for span in scope.spans]

    def named(self, name: str) -> Span:
        (span,) = (span for span in self.spans() if span.name == name)
        return span


def about(span: Span) -> dict[str, Any]:
    return {
        one.key: one.value.string_value if one.value.HasField("string_value") else one.value.int_value
        for one in span.attributes
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


Opened = Callable[..., App]


@pytest.fixture
def opens(tmp_path: Path) -> Opened:
    """The whole bot, with no chat and no pager, that sends to this endpoint."""

    def made(endpoint: str) -> App:
        tracing = {"tracing": {"endpoint": endpoint, "token_env": "COLLECTOR_TOKEN", "timeout": "1s"}}
        config, faults = read({"workspace": "night", **(tracing if endpoint else {})}, tmp_path, SECRETS.get)
        assert config is not None, faults
        return App(config)

    return made


def knocks(app: App, path: str, body: bytes) -> int:
    """A webhook of Alertmanager, as the server hands it to the doors; gives the status of the answer."""
    answers: list[int] = []
    token = SECRETS["FIXFIRST_ALERTMANAGER_TOKENS"]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode()), (b"content-length", str(len(body)).encode())],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    async def knock() -> None:
        await app.front(scope, receive, send)

    asyncio.run(knock())
    return answers[0]


def burns(app: App) -> Incident:
    assert knocks(app, "/hooks/alertmanager", json.dumps({"version": "4", "alerts": [ALERT]}).encode()) == 200
    while app.engine.turn():
        pass
    (incident,) = app.journal.live()
    return incident


def says(app: App, incident: Incident, kind: type[cmd.Command], **fields: Any) -> None:
    key = f"test:{kind.__name__}:{fields}"
    app.desk.handle(kind(incident=incident.id, by=MAYA, at=app.journal.clock(), key=key, source="slack", **fields), 10)


def test_all_that_is_done_for_an_incident_is_one_trace_found_by_its_id(opens: Opened, collector: Collector) -> None:
    app = opens(collector.url)
    incident = burns(app)
    says(app, incident, cmd.Acknowledge)
    says(app, incident, cmd.Resolve, reason="rolled back", despite_firing=True)
    while app.engine.turn():
        pass
    app.close()
    trace = bytes.fromhex(incident.id.replace("-", ""))
    for name in ("command Drain", "command Acknowledge", "command Resolve", "deliver draft_postmortem"):
        span = collector.named(name)
        assert span.trace_id == trace, name
        assert span.parent_span_id == trace[8:], name
        assert about(span)["fixfirst.incident.ref"] == "INC-1"
        assert span.start_time_unix_nano < span.end_time_unix_nano
    delivered = about(collector.named("deliver draft_postmortem"))
    assert (delivered["fixfirst.courier"], delivered["fixfirst.attempt"]) == ("postmortem", 1)
    assert about(collector.named("command Drain"))["fixfirst.entries"] == 2


def test_each_request_to_a_door_is_a_span_and_strangers_share_one_name(opens: Opened, collector: Collector) -> None:
    app = opens(collector.url)
    burns(app)
    knocks(app, "/hooks/alertmanager", b"no json")
    knocks(app, "/wp-admin/a-secret-of-theirs", b"")
    app.close()
    doors = [span for span in collector.spans() if span.name.startswith("door")]
    assert [(span.name, about(span)["http.response.status_code"]) for span in doors] == [
        ("door /hooks/alertmanager", 200),
        ("door /hooks/alertmanager", 400),
        ("door other", 404),
    ]
    assert all(span.kind == Span.SPAN_KIND_SERVER for span in doors)
    assert len({span.trace_id for span in doors}) == 3


def test_a_refusal_is_no_fault_and_a_courier_that_breaks_is_one(
    opens: Opened, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opens(collector.url)
    incident = burns(app)
    says(app, incident, cmd.Cancel, reason="a drill")
    with pytest.raises(Refused):
        says(app, incident, cmd.Acknowledge)
    says(app, incident, cmd.Reopen)

    def breaks(*_: Any) -> None:
        raise ZeroDivisionError("with a text of theirs")

    monkeypatch.setattr("bot.postmortem.courier.Courier.deliver", breaks)
    says(app, incident, cmd.Resolve, reason="rolled back", despite_firing=True)
    app.engine.turn()
    app.close()
    refused = collector.named("command Acknowledge")
    assert about(refused)["fixfirst.refused"] == 1
    assert refused.status.code != Status.STATUS_CODE_ERROR
    broken = collector.named("deliver draft_postmortem")
    assert (broken.status.code, broken.status.message) == (Status.STATUS_CODE_ERROR, "Bug")


def test_no_text_goes_out_and_the_collector_sees_who_sends(opens: Opened, collector: Collector) -> None:
    app = opens(collector.url)
    incident = burns(app)
    says(app, incident, cmd.AddNote, text="Jo of Example & Sons called")
    app.close()
    sent = b"".join(collector.bodies)
    for text in (TITLE, "Example & Sons", "LLMErrorRatioHigh", "Maya", *SECRETS.values()):
        assert text.encode() not in sent
    assert set(collector.tokens) == {"Bearer another-token-of-tests"}
    (resource, *_) = (group.resource for request in collector.requests() for group in request.resource_spans)
    told = {one.key: one.value.string_value for one in resource.attributes}
    assert (told["service.name"], told["service.namespace"]) == ("fixfirst", "night")


def test_a_collector_that_is_away_keeps_neither_alerts_nor_the_end_waiting(opens: Opened) -> None:
    app = opens(f"http://127.0.0.1:{free_port()}/v1/traces")
    burns(app)
    began = time.monotonic()
    app.close()
    assert time.monotonic() - began < FLUSH_S


def test_unasked_nothing_is_wrapped(opens: Opened) -> None:
    app = opens("")
    assert type(app.desk) is Desk
    assert app.front is app.doors.app
    app.close()


def test_unasked_opentelemetry_is_not_even_imported() -> None:
    look = "import sys, bot.app, bot.cli; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({}, "tracing.endpoint: is missing; set it"),
        ({"endpoint": "collector:4318"}, "tracing.endpoint: is"),
        (
            {"endpoint": "http://c/v1/traces", "timeout": "1m"},
            "tracing.timeout: must be longer than nothing and at most",
        ),
        ({"endpoint": "http://c/v1/traces", "sampling": 1}, "tracing.sampling: is not a setting"),
    ],
)
def test_a_fault_in_the_settings_is_said(tmp_path: Path, table: dict[str, Any], fault: str) -> None:
    config, faults = read({"tracing": table}, tmp_path, SECRETS.get)
    assert config is None
    assert any(line.startswith(fault) for line in faults), faults


def test_without_the_packages_the_settings_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    config, faults = read({"tracing": {"endpoint": "http://c/v1/traces"}}, tmp_path, SECRETS.get)
    assert config is None
    assert faults == [
        "tracing.endpoint: needs OpenTelemetry, which is not installed; install fixfirst[otel]",
    ]
