"""The workspace over HTTP: Slack's Web API and response_url for the app, and the page's API and stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from . import api_files, ui
from .methods import Reply
from .model import Json, SlackError
from .stream import Subscription
from .workspace import Workspace

BODY_MAX_BYTES = 2_000_000
HEARTBEAT_S = 15.0
HANG_POLL_S = 0.05
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class BodyTooLarge(ValueError):
    """More bytes than any honest request brings."""


def slack_app(workspace: Workspace) -> list[Route]:
    """The routes of a workspace: /api/{method}, /response/{token}, /upload/v1/..., /archives/..., /ui/...

    The page's routes answer only requests whose Host is this machine and whose Origin, if any, is this
    address: a web page from elsewhere can neither read them nor press buttons (DNS rebinding, CSRF).
    """
    doors = _Doors(workspace)
    routes = [
        Route("/api/{method}", _Api(workspace), methods=["GET", "POST"]),
        Route("/response/{token}", doors.respond, methods=["POST"]),
        Route("/upload/v1/{ticket}", doors.upload, methods=["POST"]),
        Route("/ui/files/{file}", local_only(doors.file), methods=["GET"]),
        Route("/archives/{channel}/{ts}", _permalink, methods=["GET"]),
        Route("/ui/state", local_only(doors.state), methods=["GET"]),
        Route("/ui/channels/{channel}/messages", local_only(doors.messages), methods=["GET"]),
        Route("/ui/stream", local_only(doors.stream), methods=["GET"]),
    ]
    routes += [Route(f"/ui/{door}", local_only(doors.act(door)), methods=["POST"]) for door in ui.DOORS]
    return routes


Endpoint = Callable[[Request], Awaitable[Response]]


def local_only(endpoint: Endpoint) -> Endpoint:
    """Refuse (403) a request that names another host or comes from another site's page."""

    async def guarded(request: Request) -> Response:
        if not is_local(request):
            return JSONResponse({"ok": False, "error": "foreign host or origin"}, status_code=403)
        return await endpoint(request)

    return guarded


def is_local(request: Request) -> bool:
    """Whether Host is a loopback name and Origin, if there is one, is that same host and port."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return host in _LOOPBACK and _same_origin(request)


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host", ""):
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


async def _read(request: Request, most: int = BODY_MAX_BYTES) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise BodyTooLarge
    return bytes(body)


class _Api:
    """ASGI endpoint of the Web API; it can also break the line, which a plain handler cannot."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if not _same_origin(request):
            await PlainTextResponse("foreign origin", status_code=403)(scope, receive, send)
            return
        try:
            raw = _arguments(request, await _read(request))
        except BodyTooLarge:
            await JSONResponse({"ok": False, "error": "request_too_large"}, 413)(scope, receive, send)
            return
        except _Refused as refused:
            await JSONResponse({"ok": False, "error": refused.code})(scope, receive, send)
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else None
        reply = await run_in_threadpool(self._workspace.web_api.call, request.path_params["method"], raw, bearer)
        if reply.hang:
            await self._hang(request)
        await _send(reply, scope, receive, send)

    async def _hang(self, request: Request) -> None:
        while not self._workspace.faults.released and not await request.is_disconnected():
            await asyncio.sleep(HANG_POLL_S)


async def _send(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    if reply.drop:
        # uvicorn (httptools) gives a connection up, without a byte, once an answer has begun that it cannot
        # write; a header name that HTTP forbids does that. The client sees what a dying proxy looks like.
        with suppress(RuntimeError):
            await send({"type": "http.response.start", "status": 500, "headers": [(b"\r\n", b"")]})
        return
    await JSONResponse(reply.body, reply.status, dict(reply.headers))(scope, receive, send)


class _Refused(Exception):
    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def _arguments(request: Request, body: bytes) -> Json:
    """Arguments from the query, then from a form or JSON body, which wins."""
    raw: Json = dict(request.query_params)
    if not body:
        return raw
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            return raw | dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
        except ValueError:
            raise _Refused("invalid_form_data") from None
    if kind == "application/json":
        try:
            data = json.loads(body, parse_constant=_no_constant)
            json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair cannot be answered with
        except (ValueError, RecursionError):
            raise _Refused("invalid_json") from None
        if not isinstance(data, dict):
            raise _Refused("json_not_object")
        return raw | data
    raise _Refused("invalid_post_type" if kind else "missing_post_type")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def _permalink(request: Request) -> Response:
    """A message's permanent address leads to the page, opened at that message and its thread."""
    ts = request.path_params["ts"].removeprefix("p")
    thread = request.query_params.get("thread_ts", f"{ts[:-6]}.{ts[-6:]}")
    return RedirectResponse(f"/#/{quote(request.path_params['channel'])}?{urlencode({'thread': thread})}")


class _Doors:
    """The handlers; what may wait for the app or the lock runs in a thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def respond(self, request: Request) -> Response:
        """POST /response/{token}."""
        try:
            body = await _read(request)
        except BodyTooLarge:
            return JSONResponse({"ok": False, "error": "request_too_large"}, 413)
        status, answer = await run_in_threadpool(self._workspace.respond, request.path_params["token"], body)
        return JSONResponse(answer, status)

    async def upload(self, request: Request) -> Response:
        """POST /upload/v1/{ticket}: a file's bytes."""
        try:
            body = await _read(request, api_files.LARGEST)
        except BodyTooLarge:
            return PlainTextResponse("too large", status_code=413)
        status, said = await run_in_threadpool(
            api_files.upload, self._workspace.state, request.path_params["ticket"], body
        )
        return PlainTextResponse(said, status_code=status)

    async def file(self, request: Request) -> Response:
        """GET /ui/files/{id}: a picture that a message shows."""
        found = self._workspace.state.files.get(request.path_params["file"])
        if found is None or not found.mimetype:
            return PlainTextResponse("no such picture", status_code=404)
        headers = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return Response(found.content, media_type=found.mimetype, headers=headers)

    async def state(self, request: Request) -> Response:
        """GET /ui/state."""
        return await self._seen(request, lambda user: ui.overview(self._workspace, user))

    async def messages(self, request: Request) -> Response:
        """GET /ui/channels/{id}/messages."""
        channel, thread = request.path_params["channel"], request.query_params.get("thread_ts")
        return await self._seen(request, lambda user: ui.messages(self._workspace, user, channel, thread))

    async def _seen(self, request: Request, look: Callable[[str], Json]) -> Response:
        try:
            user = ui.known(self._workspace, request.query_params.get("user") or ui.first(self._workspace))
            return JSONResponse(await run_in_threadpool(look, user))
        except ui.BadRequest as error:
            return JSONResponse({"ok": False, "error": str(error)}, 400)
        except SlackError as error:
            return JSONResponse({"ok": False, "error": ui.SENTENCES.get(error.code, error.code)}, 404)

    def act(self, door: str) -> Endpoint:
        """POST /ui/{door}."""

        async def handle(request: Request) -> Response:
            try:
                raw = json.loads(await _read(request))
                return JSONResponse(await run_in_threadpool(ui.act, self._workspace, door, raw))
            except BodyTooLarge:
                return JSONResponse({"ok": False, "error": "the body is too large"}, 413)
            except ui.Refused as refused:
                return JSONResponse({"ok": False, "error": str(refused)}, 409)
            except ValueError as error:
                return JSONResponse({"ok": False, "error": str(error)}, 400)

        return handle

    async def stream(self, request: Request) -> Response:
        """GET /ui/stream: server-sent events for one person's page."""
        try:
            user = ui.known(self._workspace, request.query_params.get("user", ""))
        except ui.BadRequest as error:
            return JSONResponse({"ok": False, "error": str(error)}, 400)
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        hub = self._workspace.state.hub

        def wake() -> None:
            with suppress(RuntimeError):  # the server has stopped: nobody is left to wake
                loop.call_soon_threadsafe(woken.set)

        subscription = hub.subscribe(user, wake)

        async def events() -> AsyncIterator[str]:
            try:
                yield "retry: 1000\n\n"
                async for event in _events(subscription, woken):
                    yield event
            finally:
                hub.unsubscribe(subscription)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(subscription: Subscription, woken: asyncio.Event) -> AsyncIterator[str]:
    while True:
        woken.clear()
        for event in subscription.take():
            yield f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n"
        if subscription.closed:
            return
        try:
            await asyncio.wait_for(woken.wait(), HEARTBEAT_S)
        except TimeoutError:
            yield ": still here\n\n"


__all__ = ["is_local", "local_only", "slack_app"]
