"""Socket Mode: the app connects to Slack, and everything comes to it in envelopes over that connection.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Literal

from . import websocket
from .model import Json

CONNECTIONS_MAX = 10
CONNECTION_LIFE_S = 18_060  # what Slack announces: about five hours
TICKETS_KEPT = 100

Kind = Literal["slash_commands", "interactive", "events_api"]


@dataclass
class _Waiting:
    """An envelope on its way; `answer` holds the app's payload once `done` is set."""

    done: Event = field(default_factory=Event)
    answer: Json | None = None


class SocketMode:
    """The connections of one app: opened by ticket, at most ten, an envelope goes to one of them."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id
        self._lock = Lock()
        self._tickets: dict[str, None] = {}
        self._lines: list[websocket.WebSocket] = []
        self._waiting: dict[str, _Waiting] = {}
        self._listener: socket.socket | None = None
        self._turn = 0

    @property
    def connected(self) -> bool:
        """Whether the app is listening at all."""
        return bool(self._lines)

    def new_url(self) -> str:
        """A fresh address for one connection (apps.connections.open); starts listening when first asked."""
        ticket = secrets.token_hex(16)
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", 0))
                Thread(target=self._accept, args=(self._listener,), name="socket-mode", daemon=True).start()
            self._tickets[ticket] = None
            while len(self._tickets) > TICKETS_KEPT:
                del self._tickets[next(iter(self._tickets))]
            port = self._listener.getsockname()[1]
        return f"ws://127.0.0.1:{port}/link/?ticket={ticket}&app_id={self._app_id}"

    def deliver(self, kind: Kind, payload: Json, timeout: float, retry: tuple[int, str] | None = None) -> Json:
        """Send an envelope and wait for its acknowledgement; returns the answer's payload ({} for none).

        Raises TimeoutError when none came in time, ConnectionError when nobody is connected.
        """
        name, waiting = secrets.token_hex(16), _Waiting()
        envelope: Json = {
            "envelope_id": name,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            number, reason = retry or (0, "")
            envelope |= {"retry_attempt": number, "retry_reason": reason}
        with self._lock:
            if not self._lines:
                raise ConnectionError("no connection is open")
            self._turn += 1
            line = self._lines[self._turn % len(self._lines)]
            self._waiting[name] = waiting
        try:
            line.send(json.dumps(envelope))
            if not waiting.done.wait(timeout):
                raise TimeoutError("the envelope was not acknowledged")
        finally:
            with self._lock:
                del self._waiting[name]
        return waiting.answer or {}

    def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell the app to connect anew, and end every connection, as Slack does every few hours."""
        for line in self._take_lines():
            try:
                line.send(json.dumps({"type": "disconnect", "reason": reason, "debug_info": {"host": "workbench"}}))
            except websocket.Closed:
                pass  # it had gone by itself
            line.close()

    def stop(self) -> None:
        """End every connection without a word and stop listening."""
        for line in self._take_lines():
            line.close()
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            # A thread that waits in accept() is woken by shutdown, not by close.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _take_lines(self) -> list[websocket.WebSocket]:
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return  # stopped
            Thread(target=self._serve, args=(line,), name="socket-mode-line", daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        try:
            self._talk(line)
        except websocket.Closed:
            pass  # how every connection ends
        finally:
            line.close()

    def _talk(self, line: socket.socket) -> None:
        target, headers = websocket.handshake(line)
        ticket = target.partition("ticket=")[2].partition("&")[0]
        with self._lock:
            known = self._tickets.pop(ticket, ticket) is None
        # A browser always says where it comes from; an app never does.
        if not known or "origin" in headers:
            websocket.refuse(line)
            return
        connection = websocket.accept(line, headers)
        with self._lock:
            full = len(self._lines) >= CONNECTIONS_MAX
            count = len(self._lines) + 1
        if full:
            connection.send(json.dumps({"type": "disconnect", "reason": "too_many_websockets"}))
            return
        connection.send(
            json.dumps(
                {
                    "type": "hello",
                    "num_connections": count,
                    "debug_info": {"host": "workbench", "approximate_connection_time": CONNECTION_LIFE_S},
                    "connection_info": {"app_id": self._app_id},
                }
            )
        )
        with self._lock:
            self._lines.append(connection)
        try:
            while True:
                self._take(connection.receive())
        finally:
            with self._lock:
                if connection in self._lines:
                    self._lines.remove(connection)

    def _take(self, text: str) -> None:
        try:
            said = json.loads(text)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        with self._lock:
            waiting = self._waiting.get(str(said.get("envelope_id")))
        if waiting is not None:
            payload = said.get("payload")
            waiting.answer = payload if isinstance(payload, dict) else None
            waiting.done.set()
