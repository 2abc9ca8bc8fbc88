"""The whole product as it is started for real, on free ports: nothing in it is driven by hand but the people."""

from __future__ import annotations

import http.client
import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import pytest

from bot.workbench.launch import Options, Workbench
from bot.workbench.settings import Ports
from bot.workbench.slack.model import Channel, Message
from tests.clocked import patient_slack

Json = dict[str, Any]
Found = TypeVar("Found")
ANY = Ports(**dict.fromkeys(Ports.__dataclass_fields__, 0))
INTAKE = "C0INCIDENTS"
MAYA = "U0MAYA"
POLL_S = 0.02
BUSY = 4
READS_S = 1.0
"""Nobody reads a message and answers it in less; Slack's limit of a message a second counts on that too."""


def fetch(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """One HTTP request on loopback: status and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@dataclass
class Relay:
    """Stands between Alertmanager and the bot, changes nothing, and notes when each webhook went on to the bot."""

    target: str
    passed: list[tuple[float, list[Json]]] = field(default_factory=list)

    def first(self, status: str, alertname: str) -> float | None:
        """When the first webhook with such an alert went by (wall time in seconds), or None."""
        for at, alerts in list(self.passed):
            if any(one["status"] == status and one["labels"]["alertname"] == alertname for one in alerts):
                return at
        return None

    def serve(self) -> http.server.ThreadingHTTPServer:
        """The server of it, on any port."""
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                relay.passed.append((time.time(), json.loads(body)["alerts"]))
                kept = {name: self.headers[name] for name in ("authorization", "content-type")}
                status, _ = fetch("POST", relay.target, body, kept)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@dataclass
class Shift:
    """One night with everything running. What is asked of it is what a person could see or press."""

    bench: Workbench
    relay: Relay

    def eventually(self, look: Callable[[], Found | None], what: str, seconds: float) -> Found:
        """What `look` finds, as soon as it finds anything true; the test fails after so many seconds, which is what an
        idle machine never needs, and a busy one has some times over."""
        deadline = time.monotonic() + BUSY * seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"in {BUSY * seconds:.0f} s no {what}\n{self.bench.bot.log_tail(20)}"
            time.sleep(POLL_S)
        return found

    def see(self, channel: str, words: str, seconds: float = 10.0) -> Message:
        """The newest message of a channel that shows these words, waited for; the card, which shows most, is none."""

        def look() -> Message | None:
            messages = reversed(self.bench.workspace.channel(channel).messages)
            return next((one for one in messages if words in told(one) and not one.pinned), None)

        return self.eventually(look, f"message with {words!r} in {channel}", seconds)

    def incident_channel(self) -> Channel:
        """The channel of the only incident, waited for."""

        def look() -> Channel | None:
            channels = list(self.bench.workspace.state.channels.values())
            return next((channel for channel in channels if channel.name.startswith("inc-")), None)

        return self.eventually(look, "incident channel", 10.0)

    def card(self, words: str, seconds: float = 10.0) -> Message:
        """The pinned card of the incident, once it shows these words."""

        def look() -> Message | None:
            messages = self.incident_channel().messages
            return next((one for one in messages if one.pinned and words in told(one)), None)

        return self.eventually(look, f"card with {words!r}", seconds)

    def press(self, message: Message, action_id: str) -> None:
        """Maya presses a button of a message in the incident's channel, no faster than a person reads."""
        channel = self.incident_channel()
        self.eventually(lambda: time.time() - float(channel.messages[-1].ts) > READS_S, "pause to read", 30.0)
        outcome = self.bench.workspace.click(MAYA, channel.id, message.ts, action_id)
        assert outcome.ok, outcome

    def fill_in(self, title: str, **values: Any) -> None:
        """Maya fills in and sends the form with this title, once it is there; what is not named stays as offered."""

        def look() -> str | None:
            views = self.bench.workspace.open_views(MAYA)
            return next((view.id for view in views if view.body["title"]["text"].startswith(title)), None)

        view_id = self.eventually(look, f"form {title!r}", 5.0)
        outcome = self.bench.workspace.submit(MAYA, view_id, values)
        assert outcome.ok, outcome

    def measure(self, query: str) -> float | None:
        """A PromQL query against the real Prometheus: the only value, or None for no data."""
        url = f"{self.bench.ports.url('prometheus')}/api/v1/query?query={quote(query)}"
        status, text = fetch("GET", url)
        assert status == 200, text
        found = json.loads(text)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def events_sent_to_pagerduty(self) -> list[str]:
        """What the bot told PagerDuty, in order; every one of them was taken."""
        calls = self.bench.pagerduty.calls
        assert all(200 <= call.status < 300 for call in calls), calls
        return [str(call.body["event_action"]) for call in calls if isinstance(call.body, dict) and call.body]

    def refused_calls(self) -> list[tuple[str, Any]]:
        """The bot's Web API calls that Slack did not answer ok: against a limit, a scope or the rate."""
        return [
            (call.method, call.answer)
            for call in self.bench.workspace.calls
            if call.status != 200 or not call.answer.get("ok")
        ]

    def errors_logged(self) -> list[str]:
        """The lines of the bot's log that tell of a bug."""
        lines = self.bench.bot.log.read_text().splitlines()
        return [line for line in lines if '"error"' in line or "Traceback" in line]


def told(message: Message) -> str:
    """Everything a message shows, as text."""
    return f"{message.text} {json.dumps(message.blocks, ensure_ascii=False)}"


@pytest.fixture
def shift(tmp_path: Path) -> Iterator[Shift]:
    """Prometheus, Alertmanager, Slack, PagerDuty, a fleet and the bot, all as real processes and over HTTP."""
    for program, package in (("prometheus", "prometheus"), ("prometheus-alertmanager", "prometheus-alertmanager")):
        if not shutil.which(program):
            pytest.skip(f"needs {package}")
    bench = Workbench(Options(ports=ANY, directory=tmp_path))
    relay = Relay(bench.monitoring.config.webhook_url)
    with relay.serve() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        webhook_url = f"http://127.0.0.1:{server.server_address[1]}/"
        bench.monitoring.config = replace(bench.monitoring.config, webhook_url=webhook_url)
        try:
            with patient_slack(), bench:
                yield Shift(bench, relay)
        finally:
            server.shutdown()
            thread.join()
