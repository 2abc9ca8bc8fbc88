"""The Web API's front: token, scopes, rate, faults, then the method; every call is kept on record."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import api_chat, api_conversations, api_files, api_items, api_people, api_views
from .args import Args
from .faults import Fault, Faults, Plan
from .method import TIER_4, Method, check_scopes
from .model import Call, Json, SlackError
from .pace import Pace
from .state import State

_WITHOUT_TOKEN: Mapping[str, Method] = {"api.test": Method(api_people.api_test, TIER_4)}
METHODS: Mapping[str, Method] = {
    **api_people.METHODS,
    **api_chat.METHODS,
    **api_conversations.METHODS,
    **api_views.METHODS,
    **api_items.METHODS,
    **api_files.METHODS,
    **_WITHOUT_TOKEN,
}

CALLS_KEPT = 20_000


@dataclass(frozen=True)
class Reply:
    """An answer as it goes out; `hang` and `drop` ask the server to say nothing or to break the line."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False


class WebApi:
    """Answers Web API calls for one workspace."""

    def __init__(self, state: State, pace: Pace, faults: Faults, methods: Mapping[str, Method]) -> None:
        self._state = state
        self._pace = pace
        self._faults = faults
        self._methods = methods
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)

    def call(self, name: str, raw: Mapping[str, Any], token: str | None) -> Reply:
        """Answer one call: `raw` are its arguments as they came, `token` the bearer token if there was one."""
        reply = self._answer(name, raw, token)
        kept = {key: value for key, value in raw.items() if key != "token"}
        self.calls.append(Call(self._state.clock(), name, kept, reply.status, reply.body))
        return reply

    def _answer(self, name: str, raw: Mapping[str, Any], token: str | None) -> Reply:
        if self._faults.down:
            return Reply(503, {"ok": False, "error": "service_unavailable"})
        plan = self._faults.take(name)
        if plan is not None and (early := _before(plan)) is not None:
            return early
        reply = self._work(name, raw, token or raw.get("token"))
        if plan is not None and plan.fault is Fault.LOST_ANSWER:
            return Reply(500, {"ok": False, "error": "fatal_error"})
        if plan is not None and plan.fault is Fault.DONE_DROP:
            return Reply(reply.status, reply.body, drop=True)
        if plan is not None and plan.fault is Fault.DONE_HANG:
            return Reply(reply.status, reply.body, hang=True)
        return reply

    def _work(self, name: str, raw: Mapping[str, Any], token: str | None) -> Reply:
        state = self._state
        method = self._methods.get(name)
        headers = {"X-OAuth-Scopes": ",".join(sorted(state.manifest.scopes))}
        args = Args(raw)
        try:
            if method is None:
                raise SlackError("unknown_method", req_method=name)
            if name not in _WITHOUT_TOKEN:
                self._check_token(name, token)
            with state.lock:
                channel = args.text("channel") if method.paused else None
                pause = self._pace.wait(name, method.per_minute, state.clock(), channel)
                if pause is not None:
                    return _ratelimited(pause)
                check_scopes(state, name, method, args)
                body = {"ok": True, **method.run(state, args)}
        except SlackError as error:
            body = {"ok": False, "error": error.code, **error.extra}
        return Reply(200, body, headers)

    def _check_token(self, name: str, token: str | None) -> None:
        config = self._state.config
        if not token:
            raise SlackError("not_authed")
        needs_app_token = name.startswith("apps.connections.")
        if token == (config.app_token if needs_app_token else config.bot_token):
            return
        raise SlackError("not_allowed_token_type" if token in (config.app_token, config.bot_token) else "invalid_auth")


def _before(plan: Plan) -> Reply | None:
    match plan.fault:
        case Fault.SERVER_ERROR:
            return Reply(500, {"ok": False, "error": "internal_error"})
        case Fault.RATELIMITED:
            return _ratelimited(plan.retry_after)
        case Fault.DROP:
            return Reply(500, {"ok": False, "error": "internal_error"}, drop=True)
        case Fault.HANG:
            return Reply(500, {"ok": False, "error": "request_timeout"}, hang=True)
        case Fault.ERROR:
            return Reply(200, {"ok": False, "error": plan.error})
        case Fault.LOST_ANSWER | Fault.DONE_DROP | Fault.DONE_HANG:
            return None


def _ratelimited(seconds: int) -> Reply:
    return Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)})
