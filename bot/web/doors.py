"""The doors: where machines knock. Everything is signed or carries a token, and 2xx means it is on disk.

This is the only asynchronous code besides the pages: it reads the bounded body, checks who is there, parses, and
awaits the commit. Overload and an unwritable journal answer 503, never 429: Alertmanager drops 429 and 4xx for good.
"""

import asyncio
import hmac
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeVar

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.contracts import Malformed
from bot.desk import Desk
from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.incident.timeline import count
from bot.intake.alerts import Message
from bot.integrations import CHANGES, SOURCES, Parse, ParseChange, pagerduty
from bot.journal import Busy, Unreadable
from bot.settings import Secret
from bot.web.bodies import Bodies, TooLarge
from bot.web.intake import COMMIT_WITHIN_S, Intake
from bot.web.traffic import GONE, Counted, Traffic

log = structlog.get_logger()

T = TypeVar("T")
LOOK_BACK: Final = 100
"""Incidents among which a note in PagerDuty finds the page it was written on."""
LARGE_BODY: Final = 64 * 1024
"""A body above this is parsed off the event loop, so that a storm does not hold up a click."""
PARSED_AT_ONCE: Final = 2
"""Of these. One of 16 MiB takes a hundred or two as objects, and Python works on one at a time anyway."""
TELL_BUSY_EVERY_S: Final = 5.0
BODIES_AT_ONCE: Final = 4
"""Largest bodies that are held at once, at each of the two kinds of doors."""


class Slack(Protocol):
    """Slack's requests, answered synchronously, and as a rule quickly."""

    def handle(
        self, body: bytes, headers: Mapping[str, str], turn: threading.Semaphore
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Verifies, carries out, and gives status, headers, body. Where `turn` is taken by then, the answer goes
        another way."""

    def meanwhile(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """What to answer when that takes too long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest bodies in bytes. A real storm of 1,000 alerts is one body of 751 kB."""

    alerts: int = 16 * 1024 * 1024
    other: int = 1024 * 1024


Door = Callable[[Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to alerts that are on disk: how many they were, and how many groups have news by them."""

    alerts: int
    groups: int

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        body = b'{"ok":true,"alerts":%d,"groups_with_news":%d}' % (self.alerts, self.groups)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Straight:
    """Takes a POST to one of `doors` straight there, everything else to `elsewhere`.

    A framework's own way to a route costs as much as to parse an alert, and a storm comes this way.
    """

    def __init__(self, doors: Mapping[str, Door], elsewhere: ASGIApp) -> None:
        self._doors = doors
        self._elsewhere = elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["method"] == "POST"
        door = self._doors.get(scope["path"]) if posted else None
        if door is None:
            await self._elsewhere(scope, receive, send)
            return
        answer = await door(Request(scope, receive))
        await answer(scope, receive, send)


class Doors:
    """The public application.

    `turns_away` tells why alerts may not be taken in now, empty when they may; it is asked whether they wake somebody.
    """

    SLACK_AT_ONCE: Final = 64
    """Each has a thread: one may wait 2.5 s for a commit, and Slack gives up on the next one after 3."""
    SLACK_WITHIN_S: ClassVar = 2.7
    """Longer than for a commit, which says itself that it was not to be had; a question to a database that hangs
    does not."""

    def __init__(
        self,
        desk: Desk,
        *,
        tokens: Mapping[str, Sequence[Secret]],
        pagerduty_settings: pagerduty.Settings | None,
        slack: Slack | None,
        limits: Limits,
        turns_away: Callable[[bool], str] = lambda _: "",
        extra: Sequence[Route] = (),
    ) -> None:
        self._desk = desk
        self._intake = Intake(desk.receive)
        self._tokens = tokens
        self._pagerduty = pagerduty_settings
        self._slack = slack
        self._turns_away = turns_away
        self._alert_bodies = Bodies(limits.alerts, limits.alerts * BODIES_AT_ONCE)
        # Who sends these is known only when they have been read, so they have a room of their own to fill.
        self._bodies = Bodies(limits.other, limits.alerts * BODIES_AT_ONCE)
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)
        self._busy: Counter[str] = Counter()
        self._busy_told: dict[str, float] = {}
        self._slack_pool = ThreadPoolExecutor(self.SLACK_AT_ONCE, "slack-door")
        self._slack_places = threading.BoundedSemaphore(self.SLACK_AT_ONCE)
        hooks = {f"/hooks/{name}": self._guarded(partial(self._alerts, name, parse)) for name, parse in SOURCES.items()}
        told = {f"/hooks/{name}": self._guarded(partial(self._change, name, parse)) for name, parse in CHANGES.items()}
        routes = [
            *(Route(path, door, methods=["POST"]) for path, door in told.items()),
            *(Route(path, door, methods=["POST"]) for path, door in hooks.items()),
            Route("/hooks/pagerduty", self._guarded(self._pagerduty_hook), methods=["POST"]),
            Route("/slack/events", self._guarded(self._slack_events), methods=["POST"]),
            *extra,
        ]
        self.traffic = Traffic({route.path for route in routes})
        self.app: Final[ASGIApp] = Counted(Straight(hooks, Starlette(routes=routes)), self.traffic)

    def _told_busy(self, path: str, reason: str) -> None:
        """Now and then a line with the count: on a full disk, a line for each refusal would take what is left of it."""
        self._busy[path] += 1
        now = time.monotonic()
        if now - self._busy_told.get(path, float("-inf")) >= TELL_BUSY_EVERY_S:
            log.warning("door_busy", door=path, reason=reason, times=self._busy.pop(path))
            self._busy_told[path] = now

    def close(self) -> None:
        """Lets go of the threads."""
        self._slack_pool.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, door: Door) -> Door:
        """Turns what goes wrong at a door into an answer that says what to do, and one log line without secrets."""

        async def guarded(request: Request) -> ASGIApp:
            try:
                return await door(request)
            except TooLarge as error:
                return _refuse(request, 413, str(error))
            except Malformed as error:
                return _refuse(request, 400, str(error))
            except (Busy, Unreadable) as error:  # another server may be newer, and a later one will be
                self._told_busy(request.url.path, str(error))
                return JSONResponse({"error": "busy, try again"}, 503, headers={"Retry-After": "5"})
            except ClientDisconnect:
                return Response(status_code=GONE)  # nobody hears it; it is counted

        return guarded

    async def _alerts(self, source: str, parse: Parse, request: Request) -> ASGIApp:
        """The door of one alert source: its token before its body, its body before its meaning."""
        if (refused := self._unknown(source, request)) is not None:
            return refused
        async with self._alert_bodies.read(request) as body:
            message = await self._parsed(parse, body)
        news = 0 if self._desk.knows(message) else await self._taken_in(message)
        if message.fault:
            kept = count(len(message.deliveries), "alert")
            return _refuse(request, 400, f"{message.fault}; taken in of the same message: {kept}")
        return Accepted(len(message.deliveries), news)

    def _unknown(self, source: str, request: Request) -> Response | None:
        """What to answer who has not the token of this source, else None."""
        tokens = self._tokens.get(source, ())
        if not tokens:
            return _refuse(request, 404, f"no token is configured; set FIXFIRST_{source.upper()}_TOKENS")
        if not _bearer(request, tokens):
            return _refuse(request, 401, "the bearer token is missing or wrong")
        return None

    async def _change(self, source: str, parse: ParseChange, request: Request) -> ASGIApp:
        """The door for what was changed: answered when it is on disk, and on the incidents it may have to do with."""
        if (refused := self._unknown(source, request)) is not None:
            return refused
        async with self._bodies.read(request) as body:
            change = await run_in_threadpool(parse, body, self._desk.journal.clock())
        if why := self._turns_away(False):
            raise Busy(why)
        new, incidents = await _committed(self._desk.note_change(change))
        log.info("change_received", kind=change.kind.value, new=new, incidents=incidents)
        return JSONResponse({"ok": True, "id": change.id, "new": new, "incidents": incidents})

    async def _parsed(self, parse: Parse, body: bytes) -> Message:
        if len(body) <= LARGE_BODY:
            return parse(body, self._desk.reading)
        async with self._parsing:
            return await run_in_threadpool(parse, body, self._desk.reading)

    async def _taken_in(self, message: Message) -> int:
        """Raises Busy as well when nothing more may be taken in; what is on disk already was answered before."""
        wakes = any(delivery.severity in self._desk.policy.pages for delivery in message.deliveries)
        if why := self._turns_away(wakes):
            raise Busy(why)
        return await self._intake.take(message)

    async def _pagerduty_hook(self, request: Request) -> Response:
        settings = self._pagerduty
        if settings is None or not settings.webhook_secrets:
            return _refuse(request, 404, "no webhook secret is configured; set FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS")
        async with self._bodies.read(request) as body:
            if not pagerduty.signed(body, request.headers.get("x-pagerduty-signature", ""), settings.webhook_secrets):
                return _refuse(request, 401, "the signature does not fit any configured secret")
            inbound = pagerduty.read_webhook(body, self._desk.journal.workspace, settings.users)
        if inbound is not None:
            await self._follow(inbound)
        return Response(status_code=202)

    async def _follow(self, inbound: pagerduty.Inbound) -> None:
        """Does here what was done in PagerDuty. An incident born there goes through the alert ledger first."""
        if inbound.group_key and inbound.verb in ("triggered", "resolved", "reopened"):
            await self._intake.take(pagerduty.as_alert(inbound))
        if inbound.group_key:
            await _committed(self._desk.drain(inbound.group_key))
        incident = await run_in_threadpool(self._meant, inbound)
        if incident is None:
            log.info("pagerduty_unknown_incident", verb=inbound.verb, event_id=inbound.event_id)
            return
        command = pagerduty.as_command(inbound, incident)
        if command is None:
            return
        try:
            await _committed(self._desk.submit(command))
        except Unreadable:
            raise
        except Refused as refused:
            log.info("pagerduty_refused", verb=inbound.verb, incident=incident.ref, reason=str(refused))

    def _meant(self, inbound: pagerduty.Inbound) -> Incident | None:
        """The incident here. A note names only PagerDuty's own: whose page that is, its address tells."""
        journal = self._desk.journal
        if inbound.incident:
            return journal.incident(inbound.incident)
        born_there = journal.in_group(inbound.group_key)
        if born_there is not None or not inbound.link:
            return born_there
        linked = (
            one for one in journal.recent(LOOK_BACK) if inbound.link in {page.link for page in one.pages.values()}
        )
        return next(linked, None)

    async def _slack_events(self, request: Request) -> Response:
        if self._slack is None:
            return _refuse(request, 404, "Slack is not connected by HTTP; see slack.socket_mode")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw}
        async with self._bodies.read(request) as body:
            if not self._slack_places.acquire(blocking=False):
                raise Busy("too many Slack requests at once")
            turn = threading.Semaphore()
            carried_out = self._slack_pool.submit(self._slack.handle, body, headers, turn)
            carried_out.add_done_callback(lambda _: self._slack_places.release())
            answer = asyncio.wrap_future(carried_out)
            await asyncio.wait([answer], timeout=self.SLACK_WITHIN_S)
            if not answer.done() and turn.acquire(blocking=False):
                answer.add_done_callback(_heard_of)
                log.warning("slack_answered_late", seconds=self.SLACK_WITHIN_S)
                status, out, content = self._slack.meanwhile(body)
            else:
                status, out, content = await answer
        return Response(content, status, headers=dict(out))


def _heard_of(late: "asyncio.Future[Any]") -> None:
    if not late.cancelled() and (bug := late.exception()) is not None:
        log.error("slack_door_bug", exc_info=bug)


async def _committed(future: "Future[T]") -> T:
    """The result of a write, or Busy when the commit takes too long."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), COMMIT_WITHIN_S)
    except TimeoutError as late:
        raise Busy("the journal did not answer in time") from late


def _bearer(request: Request, tokens: Sequence[Secret]) -> bool:
    given = request.headers.get("authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, token.reveal().encode()) for token in tokens]
    return any(matches)


def _refuse(request: Request, status: int, why: str) -> Response:
    peer = request.client.host if request.client else ""
    log.warning("door_refused", door=request.url.path, status=status, reason=why, peer=peer)
    answer: dict[str, Any] = {"error": why}
    return JSONResponse(answer, status)
