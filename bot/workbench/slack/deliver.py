"""Signs and sends what Slack sends to an app: commands, interactions, and events with their retries."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Literal, Protocol
from urllib.parse import urlencode, urlsplit

from .model import Json
from .sockets import Kind, SocketMode

# https://docs.slack.dev/interactivity/handling-user-interaction#acknowledgment_response
TIMEOUT_S = 3.0
# https://docs.slack.dev/apis/events-api#retries : at once, after a minute, after five.
RETRY_DELAYS_S = (0.0, 60.0, 300.0)
# Stands for an address where the app is reached over its own connection (Socket Mode).
SOCKET_URL = "socket:"
ANSWER_MAX_BYTES = 1_000_000
ATTEMPTS_KEPT = 20_000
NO_RETRY_HEADER = "x-slack-no-retry"


class Poster(Protocol):
    """Carries one POST to the app and brings its answer back.

    Raises TimeoutError when no answer came within `timeout` seconds, another OSError when the app could not
    be reached. Answer header names are lower case.
    """

    def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> tuple[int, Mapping[str, str], bytes]: ...


def http_post(
    url: str, headers: Mapping[str, str], body: bytes, timeout: float
) -> tuple[int, Mapping[str, str], bytes]:
    """The Poster that goes over the network, one connection per request, following no redirects."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in ("http", "https"):
        raise ConnectionError(f"{url!r} is no http address")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("POST", path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        content = answer.read(ANSWER_MAX_BYTES)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url} broke the connection: {error!r}") from error
    finally:
        connection.close()


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Slack's request signature, version 0, over the raw body.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    base = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


Failure = Literal["http_timeout", "connection_failed", "ssl_error"]


@dataclass(frozen=True)
class Answer:
    """What the app said; `failure` names why it said nothing (Slack's retry reasons), and status is then 0."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        """Whether Slack takes it as an acknowledgement."""
        return 200 <= self.status < 300

    def json(self) -> Json:
        """The body as a JSON object; an empty mapping when it is anything else."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Outbound:
    """Sends signed requests, or envelopes in Socket Mode, to the app; holds no lock while it waits."""

    def __init__(self, secret: str, clock: Callable[[], float], post: Poster, sockets: SocketMode) -> None:
        self._secret = secret
        self._clock = clock
        self._post = post
        self._sockets = sockets

    def form(self, url: str, fields: Mapping[str, str]) -> Answer:
        """A slash command, or an interaction in its `payload` field."""
        if url == SOCKET_URL:
            if "payload" in fields:
                return self._over_socket("interactive", json.loads(fields["payload"]))
            return self._over_socket("slash_commands", dict(fields))
        return self._send(url, "application/x-www-form-urlencoded", urlencode(fields).encode(), {})

    def json(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """An event; the headers say of a retry."""
        if url == SOCKET_URL:
            number, reason = headers.get("X-Slack-Retry-Num", "0"), headers.get("X-Slack-Retry-Reason", "")
            return self._over_socket("events_api", json.loads(body), (int(number), reason))
        return self._send(url, "application/json", body, headers)

    def _over_socket(self, kind: Kind, payload: Json, retry: tuple[int, str] | None = None) -> Answer:
        try:
            said = self._sockets.deliver(kind, payload, TIMEOUT_S, retry)
        except TimeoutError:
            return Answer(0, {}, b"", "http_timeout")
        except ConnectionError:
            return Answer(0, {}, b"", "connection_failed")
        body = json.dumps(said).encode() if said else b""
        return Answer(200, {"content-type": "application/json"}, body)

    def _send(self, url: str, content_type: str, body: bytes, extra: Mapping[str, str]) -> Answer:
        timestamp = int(self._clock())
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Accept": "application/json,*/*",
            "X-Slack-Request-Timestamp": str(timestamp),
            "X-Slack-Signature": sign(self._secret, timestamp, body),
            **extra,
        }
        try:
            status, answered, content = self._post(url, headers, body, TIMEOUT_S)
        except TimeoutError:
            return Answer(0, {}, b"", "http_timeout")
        except ssl.SSLError:
            return Answer(0, {}, b"", "ssl_error")
        except OSError:
            return Answer(0, {}, b"", "connection_failed")
        return Answer(status, answered, content)


@dataclass(frozen=True)
class Attempt:
    """One try at handing an event to the app; `retry` is 0 for the first."""

    at: float
    event_id: str
    event_type: str
    retry: int
    status: int
    failure: Failure | None


@dataclass
class _Pending:
    event_id: str
    event_type: str
    body: bytes
    due: float
    retry: int = 0
    reason: str = ""


class EventQueue:
    """Events on their way to the app, in the order they happened, each tried at most four times.

    The queue never waits: `deliver_due` sends what is due at the clock's time, and `next_due` says when to
    come again, so a thread can drive it in a running workspace and a test can drive it by hand.
    """

    def __init__(self, outbound: Outbound, clock: Callable[[], float]) -> None:
        self._outbound = outbound
        self._clock = clock
        self._pending: list[_Pending] = []
        self._lock = Lock()
        self._turn = Lock()
        self.attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_KEPT)
        self.on_put: Callable[[], None] = lambda: None

    def put(self, event_id: str, event_type: str, envelope: Json) -> None:
        """Queue an event for delivery now."""
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        with self._lock:
            self._pending.append(_Pending(event_id, event_type, body, self._clock()))
        self.on_put()

    def next_due(self) -> float | None:
        """When the next try is due (clock seconds), or None when nothing waits."""
        with self._lock:
            return min((one.due for one in self._pending), default=None)

    def deliver_due(self, url: str | None) -> int:
        """Send every event that is due, retries that fall due at once included; returns the number of tries.

        Without an address (none subscribed) the events are dropped, as Slack does.
        """
        tries = 0
        with self._turn:
            while (pending := self._take()) is not None:
                if url is not None:
                    self._try(url, pending)
                    tries += 1
        return tries

    def _take(self) -> _Pending | None:
        now = self._clock()
        with self._lock:
            for place, pending in enumerate(self._pending):
                if pending.due <= now:
                    return self._pending.pop(place)
        return None

    def _try(self, url: str, pending: _Pending) -> None:
        headers = (
            {"X-Slack-Retry-Num": str(pending.retry), "X-Slack-Retry-Reason": pending.reason} if pending.retry else {}
        )
        answer = self._outbound.json(url, pending.body, headers)
        self.attempts.append(
            Attempt(
                self._clock(),
                pending.event_id,
                pending.event_type,
                pending.retry,
                answer.status,
                answer.failure,
            )
        )
        if answer.ok or answer.headers.get(NO_RETRY_HEADER) == "1" or pending.retry == len(RETRY_DELAYS_S):
            return
        pending.due = self._clock() + RETRY_DELAYS_S[pending.retry]
        pending.retry += 1
        pending.reason = answer.failure or "http_error"
        with self._lock:
            self._pending.append(pending)
