"""Slack's door: nobody gets in without a signature over the very bytes that came, fresh and never seen before."""

import hashlib
import hmac
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

import structlog
from slack_bolt import App, BoltRequest

from bot.settings import Secret
from bot.slack.listeners import TURN
from bot.slack.modals import first_input
from bot.slack.replies import PRESS_AGAIN

log = structlog.get_logger()

WINDOW_S: Final = 300
"""Slack's own: a request whose time stamp is further off, either way, is refused."""
REMEMBER: Final = 50_000
"""Signatures kept to tell a replay; older than the window they are useless anyway."""

Answer = tuple[int, Mapping[str, str], bytes]

WAIT: Final = (
    "The journal does not answer yet. I go on trying, and tell you here what came of it. If it cannot wait: "
    "acknowledge in the pager itself."
)


def genuine(secret: Secret, timestamp: str, body: bytes, signature: str, now: float) -> bool:
    """Whether `signature` is Slack's for this body and time. Garbage is simply not genuine, never an error."""
    if not timestamp.isdecimal() or not timestamp.isascii() or len(timestamp) > 12:
        return False
    if abs(now - int(timestamp)) > WINDOW_S:
        return False
    wanted = hmac.new(secret.reveal().encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"v0={wanted}".encode(), signature.encode("utf-8", "replace"))


def readable(body: bytes, content_type: str) -> str:
    """The body as text that Bolt reads right. ValueError, RecursionError for what is no form and no JSON object.

    Bolt takes every form with the word "payload" anywhere in it for an interaction (slack_bolt/request/internals.py),
    so that `/incident note the payload is too large` would be lost; spelled otherwise, it means the same in a form.
    """
    text = body.decode("utf-8")
    if text.startswith("{") or content_type.partition(";")[0].strip().lower() == "application/json":
        _object(text)
        return text
    interaction = dict(parse_qsl(text, keep_blank_values=True)).get("payload")
    if interaction is None:
        return text.replace("payload", "%70ayload")
    _object(interaction)
    return text


def _object(text: str) -> None:
    if not isinstance(json.loads(text), dict):
        raise ValueError("no JSON object")


class SlackDoor:
    """Checks a request and hands it to Bolt. Synchronous: runs on a bounded pool of its own."""

    def __init__(self, app: App, secret: Secret, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._secret = secret
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()

    def handle(self, body: bytes, headers: Mapping[str, str], turn: threading.Semaphore | None = None) -> Answer:
        """Status, headers and body. 401 for what is not from Slack; a replay is answered and does nothing.

        Whoever takes `turn` first answers the request; once it is taken, the person hears by another way.
        """
        named = {name.lower(): value for name, value in headers.items()}
        now = self._clock().timestamp()
        signature = named.get("x-slack-signature", "")
        if not genuine(self._secret, named.get("x-slack-request-timestamp", ""), body, signature, now):
            log.warning("slack_signature_refused")
            return 401, {"content-type": "application/json"}, b'{"error":"the signature does not fit"}'
        if self._replayed(signature, now):
            log.warning("slack_replay_ignored")
            return 200, {}, b""
        try:
            text = readable(body, named.get("content-type", ""))
            request = BoltRequest(body=text, headers=dict(headers), context={TURN: turn or threading.Semaphore()})
        except (ValueError, RecursionError):
            log.warning("slack_request_unreadable")
            return 400, {"content-type": "application/json"}, b'{"error":"the body is no form and no JSON"}'
        try:
            response = self._app.dispatch(request)
        except (LookupError, TypeError, AttributeError, ValueError):
            # Our listeners let nothing out: Bolt has looked for something that every payload of Slack's has.
            log.exception("slack_payload_unknown")
            return 400, {"content-type": "application/json"}, b'{"error":"the payload is none that Slack sends"}'
        if response.status >= 500:
            self._forget(signature)
        out = {name: values[0] for name, values in response.headers.items() if values}
        return response.status, out, (response.body or "").encode()

    def meanwhile(self, body: bytes) -> Answer:
        """Before Slack gives up on us: a form stays open with all that was written in it, everybody else is told to
        wait. Button presses have no answer of their own to tell it in."""
        try:
            form = dict(parse_qsl(body.decode("utf-8")))
            said = json.loads(form.get("payload", "{}"))
            if said.get("type") == "view_submission":
                answer = {"response_action": "errors", "errors": {first_input(said["view"]): PRESS_AGAIN}}
            elif "command" in form:
                answer = {"response_type": "ephemeral", "text": WAIT}
            else:
                return 200, {}, b""
        except (ValueError, LookupError, TypeError, AttributeError):  # what it is, `handle` will say in the log
            return 200, {}, b""
        return 200, {"content-type": "application/json"}, json.dumps(answer).encode()

    def _forget(self, signature: str) -> None:
        """It was not carried out, so the very same request may come again."""
        with self._lock:
            self._seen.pop(signature, None)

    def _replayed(self, signature: str, now: float) -> bool:
        with self._lock:
            known = signature in self._seen
            self._seen[signature] = now
            while self._seen and (len(self._seen) > REMEMBER or next(iter(self._seen.values())) < now - 2 * WINDOW_S):
                self._seen.popitem(last=False)
            return known
