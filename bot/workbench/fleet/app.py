"""The fleet over HTTP: `/metrics` for Prometheus, `/v1` and the paths of Kubernetes for whoever may repair it with a
bearer token, `/v1/chat/completions` for users, and the admin interface of its gateway's Envoy."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.workbench.fleet.answers import stream, whole
from bot.workbench.fleet.exposition import CONTENT_TYPE, metrics
from bot.workbench.fleet.fleet import Fleet
from bot.workbench.fleet.kube_doors import kubernetes_doors
from bot.workbench.fleet.spec import Refusal

MAX_BODY = 16_384
REMEMBERED_KEYS = 1_000

Handler = Callable[[Request], Awaitable[Response]]
Scalar = TypeVar("Scalar", str, int, bool)


@dataclass
class Answers:
    """First answers by Idempotency-Key, so that a retry of the same request acts once and reads the same.

    The rules are those of the IETF draft "The Idempotency-Key HTTP Header Field": the same key with another
    request is a mistake of the caller (422).
    """

    known: OrderedDict[str, tuple[str, int, bytes]] = field(default_factory=OrderedDict)

    def find(self, key: str, request_digest: str) -> Response | None:
        """The first answer to this key, or None when it is new."""
        if key not in self.known:
            return None
        digest, status, body = self.known[key]
        if digest != request_digest:
            hint = "Use a new key for a new request."
            raise Refusal(422, "key_reused", "This Idempotency-Key was used for another request.", hint)
        headers = {"Idempotency-Replayed": "true"}
        return Response(body, status, media_type="application/json", headers=headers)

    def keep(self, key: str, request_digest: str, response: Response) -> None:
        """Remember an answer; the oldest goes when there are too many."""
        self.known[key] = (request_digest, response.status_code, bytes(response.body))
        if len(self.known) > REMEMBERED_KEYS:
            self.known.popitem(last=False)


def fleet_app(fleet: Fleet, token: str) -> list[Route]:
    """Starlette routes of the fleet. `token` is the bearer token of the control API; `/metrics` is open."""
    answers = Answers()

    async def scrape(_: Request) -> Response:
        return PlainTextResponse(fleet.render(metrics), headers={"content-type": CONTENT_TYPE})

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def models(_: Request) -> Response:
        return JSONResponse({"models": fleet.models()})

    async def model(request: Request) -> Response:
        return JSONResponse(fleet.model(request.path_params["model"]))

    async def deploy(request: Request) -> Response:
        revision = await _field(request, "revision", str)
        status = fleet.deploy(request.path_params["model"], revision)
        return JSONResponse(status, 202 if status["rolling_to"] else 200)

    async def fallback(request: Request) -> Response:
        mode = await _field(request, "mode", str)
        return JSONResponse(fleet.set_fallback(request.path_params["model"], mode))

    async def token_cap(request: Request) -> Response:
        tokens = await _field(request, "max_tokens", int)
        return JSONResponse(fleet.set_token_cap(request.path_params["model"], tokens))

    async def runtime(_: Request) -> Response:
        with fleet.held():
            return JSONResponse(fleet.runtime.told())

    async def runtime_modify(request: Request) -> Response:
        # As Envoy: the keys are the query, it answers OK, and nobody is asked for a token.
        if not request.query_params:
            return PlainTextResponse("usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n", 400)
        fleet.configure(dict(request.query_params))
        return PlainTextResponse("OK\n")

    async def faults(_: Request) -> Response:
        return JSONResponse({"faults": fleet.faults()})

    async def fault(request: Request) -> Response:
        name = request.path_params["fault"]
        fleet.set_fault(name, await _field(request, "on", bool))
        return JSONResponse(next(one for one in fleet.faults() if one["id"] == name))

    async def scale(request: Request) -> Response:
        replicas = await _field(request, "replicas", int)
        return JSONResponse(fleet.scale(request.path_params["model"], replicas), 202)

    async def chat(request: Request) -> Response:
        try:
            asked = json.loads(await _body(request))
        except ValueError:
            raise Refusal(400, "not_json", "The body is not JSON.", 'Send {"model": ..., "messages": [...]}.') from None
        if not isinstance(asked, dict):
            raise Refusal(400, "not_an_object", "The body is no object.", 'Send {"model": ..., "messages": [...]}.')
        name = str(asked.get("model", ""))
        muddled = fleet.answers(name)
        if not asked.get("stream"):
            return JSONResponse(whole(asked, name, wrong_template=muddled))
        said = list(stream(asked, name, wrong_template=muddled))
        return StreamingResponse(_in_turn(said), media_type="text/event-stream")

    async def nodes(_: Request) -> Response:
        return JSONResponse({"nodes": fleet.nodes()})

    async def node(request: Request) -> Response:
        return JSONResponse(fleet.node(request.path_params["node"]))

    async def drain(request: Request) -> Response:
        return JSONResponse(fleet.drain(request.path_params["node"]), 202)

    async def uncordon(request: Request) -> Response:
        return JSONResponse(fleet.uncordon(request.path_params["node"]), 202)

    def guarded(handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return await _once(request, _authorised(request, token, handler), answers)
            except Refusal as refusal:
                error = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
                headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
                return JSONResponse({"error": error}, refusal.status, headers=headers)

        return answer

    return [
        Route("/metrics", scrape, methods=["GET"]),
        Route("/healthz", health, methods=["GET"]),
        Route("/runtime", runtime, methods=["GET"]),
        Route("/runtime_modify", runtime_modify, methods=["POST"]),
        *kubernetes_doors(fleet, token),
        Route("/v1/chat/completions", guarded(chat), methods=["POST"]),
        Route("/v1/models", guarded(models), methods=["GET"]),
        Route("/v1/models/{model}", guarded(model), methods=["GET"]),
        Route("/v1/models/{model}/deploy", guarded(deploy), methods=["POST"]),
        Route("/v1/models/{model}/fallback", guarded(fallback), methods=["PUT"]),
        Route("/v1/models/{model}/token-cap", guarded(token_cap), methods=["PUT"]),
        Route("/v1/models/{model}/scale", guarded(scale), methods=["POST"]),
        Route("/v1/faults", guarded(faults), methods=["GET"]),
        Route("/v1/faults/{fault}", guarded(fault), methods=["POST"]),
        Route("/v1/nodes", guarded(nodes), methods=["GET"]),
        Route("/v1/nodes/{node}", guarded(node), methods=["GET"]),
        Route("/v1/nodes/{node}/drain", guarded(drain), methods=["POST"]),
        Route("/v1/nodes/{node}/uncordon", guarded(uncordon), methods=["POST"]),
    ]


async def _in_turn(events: list[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


def _authorised(request: Request, token: str, handler: Handler) -> Handler:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Refusal(
            401,
            "unauthorised",
            "The bearer token is missing or wrong.",
            "Send Authorization: Bearer <token>.",
        )
    return handler


async def _once(request: Request, handler: Handler, answers: Answers) -> Response:
    key = request.headers.get("idempotency-key")
    if key is None or request.method == "GET":
        return await handler(request)
    body = await _body(request)
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).hexdigest()
    earlier = answers.find(key, digest)
    if earlier is not None:
        return earlier
    response = await handler(request)
    answers.keep(key, digest, response)
    return response


async def _body(request: Request) -> bytes:
    body = await request.body()
    if len(body) > MAX_BODY:
        raise Refusal(413, "too_large", f"The body has {len(body)} bytes.", f"Send at most {MAX_BODY}.")
    return body


async def _field(request: Request, name: str, kind: type[Scalar]) -> Scalar:
    try:
        body = json.loads(await _body(request))
    except ValueError:
        raise Refusal(400, "not_json", "The body is not JSON.", f'Send {{"{name}": ...}}.') from None
    value = body.get(name) if isinstance(body, dict) else None
    if type(value) is not kind:
        word = {str: "a string", int: "a whole number", bool: "true or false"}[kind]
        raise Refusal(422, "missing_field", f"The field {name} must be {word}.", f'Send {{"{name}": ...}}.')
    return value
