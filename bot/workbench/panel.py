"""The panel beside the chat: switch faults on, see models, GPUs and pages, act on a page as a person."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workbench.fleet import Fleet, Refusal
from bot.workbench.pagerduty import PagerDuty
from bot.workbench.pagerduty.model import ApiError
from bot.workbench.slack.app import Endpoint, local_only

Json = dict[str, Any]
PUBLISH_S = 1.0  # a page gets the panel's state at most this often
MAX_BODY = 65_536
PAGERDUTY_DOWN = "pagerduty-down"


@dataclass(frozen=True)
class Service:
    """Something the workbench runs: its address, and "up", "down" or "missing" with a hint what to do."""

    name: str
    url: str
    state: str
    hint: str | None = None

    def json(self) -> Json:
        """As the page reads it."""
        shown: Json = {"name": self.name, "url": self.url, "state": self.state}
        return shown | {"hint": self.hint} if self.hint else shown


@dataclass(frozen=True)
class BotView:
    """The bot's two addresses and whether it answers."""

    url: str
    pages_url: str
    state: str


@dataclass
class Panel:
    """Joins fleet, PagerDuty and services to one picture. `publish` sends an event to every open page."""

    fleet: Fleet
    pagerduty: PagerDuty
    services: Callable[[], list[Service]]
    bot: Callable[[], BotView]
    publish: Callable[[Json], None]
    _last: Json = field(default_factory=dict)
    _published_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def faults(self) -> list[Json]:
        """Every switch: those of the fleet, and PagerDuty itself."""
        down: Json = {
            "id": PAGERDUTY_DOWN,
            "group": "Signals",
            "title": "PagerDuty unreachable",
            "description": "PagerDuty answers nothing: the page has to reach someone another way.",
            "on": self.pagerduty.outage == "down",
        }
        return [*(dict(fault) for fault in self.fleet.faults()), down]

    def state(self) -> Json:
        """Everything the panel shows."""
        bot = self.bot()
        return {
            "faults": self.faults(),
            "models": self.fleet.model_panel(),
            "gpus": self.fleet.gpu_panel(),
            "pages": self.pagerduty.pages(),
            "services": [service.json() for service in self.services()],
            "bot": {"url": bot.url, "pages_url": bot.pages_url, "state": bot.state},
        }

    def tick(self, now: float) -> None:
        """Publish the state when it changed, at most once per PUBLISH_S; `now` is monotonic seconds."""
        with self._lock:
            if now - self._published_at < PUBLISH_S:
                return
            state = self.state()
            if state != self._last:
                self._last, self._published_at = state, now
                self.publish({"type": "panel", **state})

    def set_fault(self, fault: str, on: bool) -> None:
        """Switch a fault of the fleet, or PagerDuty itself."""
        if fault == PAGERDUTY_DOWN:
            self.pagerduty.outage = "down" if on else "none"
        else:
            self.fleet.set_fault(fault, on)

    def routes(self) -> list[Route]:
        """The panel's part of the page's API."""

        async def state(_: Request) -> Response:
            return JSONResponse(self.state())

        async def faults(_: Request) -> Response:
            return JSONResponse({"faults": self.faults()})

        async def fault(request: Request) -> Response:
            on = (await _body(request)).get("on")
            if not isinstance(on, bool):
                raise _Bad(422, 'Send {"on": true} or {"on": false}.')
            self.set_fault(request.path_params["fault"], on)
            return JSONResponse(self.state())

        async def page(request: Request) -> Response:
            body = await _body(request)
            user, text = body.get("user"), body.get("text") or ""
            if not isinstance(user, str) or not isinstance(text, str):
                raise _Bad(422, 'Send {"user": "U..."} and, for a note, "text".')
            self.pagerduty.act(user, request.path_params["page"], request.path_params["action"], text)
            return JSONResponse(self.state())

        return [
            Route("/ui/panel", self._guarded(state), methods=["GET"]),
            Route("/ui/faults", self._guarded(faults), methods=["GET"]),
            Route("/ui/faults/{fault}", self._guarded(fault), methods=["POST"]),
            Route("/ui/pages/{page}/{action}", self._guarded(page), methods=["POST"]),
        ]

    @staticmethod
    def _guarded(handler: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except _Bad as error:
                return JSONResponse({"ok": False, "error": error.message}, error.status)
            except Refusal as error:
                return JSONResponse({"ok": False, "error": f"{error.message} {error.hint}"}, error.status)
            except ApiError as error:
                return JSONResponse({"ok": False, "error": " ".join((error.message, *error.errors))}, error.status)

        return local_only(answer)


class _Bad(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def _body(request: Request) -> Mapping[str, Any]:
    raw = await request.body()
    if len(raw) > MAX_BODY:
        raise _Bad(413, f"Send at most {MAX_BODY} bytes.")
    try:
        body = json.loads(raw)
    except ValueError:
        raise _Bad(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise _Bad(400, "The body is not a JSON object.")
    return body
