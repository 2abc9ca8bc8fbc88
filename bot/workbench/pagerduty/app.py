"""PagerDuty over HTTP: Events API v2 for integrations and the REST API v2 for programs and people."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.workbench.pagerduty.model import (
    POLICY_ID,
    SCHEDULE_ID,
    SERVICE_ID,
    SUBSCRIPTION_ID,
    ApiError,
    Call,
    Incident,
    Person,
    invalid,
    not_found,
)
from bot.workbench.pagerduty.service import Outage, PagerDuty
from bot.workbench.pagerduty.shapes import Json, stamp

MAX_EVENT_BYTES = 512 * 1024  # https://developer.pagerduty.com/docs/events-api-v2-overview
MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255
ROUTING_KEY_LENGTH = 32
MAX_MANAGED = 250  # incidents per PUT /incidents
MAX_PAGE = 100
POLL_S = 0.05  # how often it is looked whether a caller who gets no answer has given up
SEVERITIES = ("critical", "error", "warning", "info")
ACTIONS = ("trigger", "acknowledge", "resolve")

Handler = Callable[[Request, object], Response]


def pagerduty_app(account: PagerDuty) -> list[Route]:
    """Starlette routes of the account."""
    rest = _Rest(account)
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/abilities", rest.abilities),
        ("GET", "/users", rest.users),
        ("GET", "/users/{id}", rest.user),
        ("GET", "/services", rest.services),
        ("GET", "/services/{id}", rest.service),
        ("GET", "/escalation_policies", rest.policies),
        ("GET", "/escalation_policies/{id}", rest.policy),
        ("GET", "/oncalls", rest.oncalls),
        ("GET", "/incidents", rest.incidents),
        ("PUT", "/incidents", rest.manage),
        ("GET", "/incidents/{id}", rest.incident),
        ("PUT", "/incidents/{id}", rest.update),
        ("GET", "/incidents/{id}/notes", rest.notes),
        ("POST", "/incidents/{id}/notes", rest.annotate),
        ("GET", "/incidents/{id}/log_entries", rest.log_entries),
        ("GET", "/webhook_subscriptions", rest.subscriptions),
        ("POST", "/webhook_subscriptions/{id}/ping", rest.ping),
    ]
    routes = [Route(path, _rest(account, handler), methods=[method]) for method, path, handler in table]
    return [Route("/", _about), Route("/v2/enqueue", _events(account), methods=["POST"]), *routes]


async def _about(_: Request) -> Response:
    """For a person who follows the link: pages are seen and handled in the workbench's panel."""
    text = (
        "The workbench's PagerDuty. Its incidents are in the panel of the chat page.\n\n"
        "Programs speak to it here: POST /v2/enqueue (Events API v2), GET and PUT /incidents (REST API v2).\n"
    )
    return PlainTextResponse(text)


def _events(account: PagerDuty) -> Callable[[Request], Awaitable[Response]]:
    async def enqueue(request: Request) -> Response:
        trouble = account.trouble()
        body, response = await _broken(account, request, trouble)
        if response is None:
            if not account.allow_event():
                response = JSONResponse({"status": "throttle exceeded", "message": "Too many events"}, 429)
            elif len(await request.body()) > MAX_EVENT_BYTES:
                response = JSONResponse({"status": "invalid event", "message": "Event is too large"}, 413)
            else:
                response = _enqueue(account, body)
                if trouble == "500-after":
                    response = JSONResponse({"status": "error", "message": "Internal Server Error"}, 500)
        return await _answered(account, request, trouble, _recorded(account, request, trouble, body, response))

    return enqueue


def _enqueue(account: PagerDuty, body: object) -> Response:
    config = account.config
    errors = event_errors(body, [key for key in (config.routing_key, config.second_routing_key) if key])
    if errors:
        return JSONResponse({"status": "invalid event", "message": "Event object is invalid", "errors": errors}, 400)
    event = cast(Json, body)
    second = event["routing_key"] == config.second_routing_key
    key = str(event.get("dedup_key") or secrets.token_hex(16))
    if event["event_action"] == "trigger":
        account.trigger(key, cast(Json, event["payload"]), second=second)
    elif event["event_action"] == "acknowledge":
        account.event_acknowledge(key, second=second)
    else:
        account.event_resolve(key, second=second)
    return JSONResponse({"status": "success", "message": "Event processed", "dedup_key": key}, 202)


def event_errors(body: object, routing_keys: Sequence[str]) -> list[str]:
    """What the Events API would not accept about this event; empty when it is fine."""
    if not isinstance(body, dict):
        return ["Event is not a JSON object"]
    errors = []
    given, action, key = body.get("routing_key"), body.get("event_action"), body.get("dedup_key")
    if not isinstance(given, str) or not given:
        errors.append("'routing_key' is missing or blank")
    elif len(given) != ROUTING_KEY_LENGTH:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif not any(hmac.compare_digest(given.encode(), known.encode()) for known in routing_keys):
        errors.append("Invalid routing key")
    if action not in ACTIONS:
        errors.append("'event_action' is missing or invalid (must be one of trigger, acknowledge, resolve)")
    if key is not None and (not isinstance(key, str) or len(key) > MAX_DEDUP_KEY):
        errors.append("'dedup_key' is too long (maximum is 255 characters)")
    if action == "trigger":
        errors += _payload_errors(body.get("payload"))
    elif not key:
        errors.append("'dedup_key' is missing or blank")
    return errors


def _payload_errors(payload: object) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    blank = [f for f in ("summary", "source", "severity") if not isinstance(payload.get(f), str) or not payload[f]]
    errors = [f"'payload.{name}' is missing or blank" for name in blank]
    if "summary" not in blank and len(payload["summary"]) > MAX_SUMMARY:
        errors.append("'payload.summary' is too long (maximum is 1024 characters)")
    if "severity" not in blank and payload["severity"] not in SEVERITIES:
        errors.append("'payload.severity' is invalid (must be one of critical, error, warning, info)")
    return errors


def _rest(account: PagerDuty, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        trouble = account.trouble()
        body, response = await _broken(account, request, trouble)
        if response is None:
            allowed, remaining = account.allow_rest()
            try:
                if not allowed:
                    raise ApiError(429, 2020, "Rate Limit Exceeded")
                _authorise(account, request)
                response = handler(request, body)
                if trouble == "500-after":
                    raise ApiError(500, 2000, "Internal Error")
            except ApiError as error:
                response = _error(error)
            response.headers["ratelimit-limit"] = str(account.config.rest_per_minute)
            response.headers["ratelimit-remaining"] = str(max(0, remaining))
            response.headers["ratelimit-reset"] = "60"
        return await _answered(account, request, trouble, _recorded(account, request, trouble, body, response))

    return answer


async def _answered(account: PagerDuty, request: Request, trouble: Outage, response: Response) -> Response:
    """The answer to what was done; where it stays out, once the caller has given up or nothing fails any more."""
    while trouble == "silent-after" and not account.is_well and not await request.is_disconnected():
        await asyncio.sleep(POLL_S)
    return response


async def _broken(account: PagerDuty, request: Request, trouble: Outage) -> tuple[object, Response | None]:
    """The parsed body, and the answer of a broken PagerDuty if it is to be broken before doing anything."""
    try:
        body = json.loads(await request.body() or b"null")
    except ValueError:
        body = None
    if trouble == "429":
        return body, _error(ApiError(429, 2020, "Rate Limit Exceeded"))
    if trouble == "500":
        return body, _error(ApiError(500, 2000, "Internal Error"))
    while account.outage == "down":
        # Nobody answers: the caller waits until it gives up, or until the outage ends.
        if await request.is_disconnected():
            return body, Response(status_code=503)
        await asyncio.sleep(POLL_S)
    return body, None


def _error(error: ApiError) -> JSONResponse:
    content: Json = {"message": error.message, "code": error.code}
    if error.errors:
        content["errors"] = list(error.errors)
    return JSONResponse({"error": content}, error.status)


def _authorise(account: PagerDuty, request: Request) -> None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    token = value.strip().removeprefix("token=").strip('"')
    if scheme != "Token" or not hmac.compare_digest(token.encode(), account.config.api_token.encode()):
        raise ApiError(401, 2006, "Authentication failed")


def _recorded(account: PagerDuty, request: Request, trouble: Outage, body: object, response: Response) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    account.record(Call(account.now, request.method, path, body, response.status_code, trouble))
    return response


class _Rest:
    """The REST methods; each takes the request and its parsed body, and raises ApiError to refuse."""

    def __init__(self, account: PagerDuty) -> None:
        self._account = account
        self._shapes = account.shapes

    def abilities(self, _: Request, __: object) -> Response:
        return JSONResponse({"abilities": ["sso", "urgencies", "teams"]})

    def users(self, request: Request, _: object) -> Response:
        query = request.query_params.get("query", "").lower()
        people = [p for p in self._account.config.people if query in p.email.lower() or query in p.name.lower()]
        return _listed(request, "users", [self._shapes.user(person) for person in people])

    def user(self, request: Request, _: object) -> Response:
        return JSONResponse({"user": self._shapes.user(self._account.person(request.path_params["id"]))})

    def services(self, request: Request, _: object) -> Response:
        return _listed(request, "services", [self._shapes.service()])

    def service(self, request: Request, _: object) -> Response:
        _expect(request, SERVICE_ID)
        return JSONResponse({"service": self._shapes.service()})

    def policies(self, request: Request, _: object) -> Response:
        return _listed(request, "escalation_policies", [self._shapes.policy()])

    def policy(self, request: Request, _: object) -> Response:
        _expect(request, POLICY_ID)
        return JSONResponse({"escalation_policy": self._shapes.policy()})

    def oncalls(self, request: Request, _: object) -> Response:
        entries: list[Json] = [
            {
                "escalation_policy": self._shapes.policy_reference,
                "escalation_level": level,
                "schedule": self._shapes.reference("schedule", SCHEDULE_ID, "Night shift rota") if level == 1 else None,
                "user": self._shapes.user_reference(ident),
                "start": None,
                "end": None,
            }
            for level, ident in enumerate(self._account.config.levels, 1)
        ]
        return _listed(request, "oncalls", entries)

    def incidents(self, request: Request, _: object) -> Response:
        statuses = request.query_params.getlist("statuses[]") + request.query_params.getlist("statuses")
        if any(status not in ("triggered", "acknowledged", "resolved") for status in statuses):
            raise invalid("Status must be a list of triggered, acknowledged, or resolved.")
        found = self._account.search(key=request.query_params.get("incident_key"), statuses=statuses)
        return _listed(request, "incidents", [self._shown(request, incident) for incident in found])

    def incident(self, request: Request, _: object) -> Response:
        incident = self._account.find(request.path_params["id"])
        return JSONResponse({"incident": self._shown(request, incident)})

    def _shown(self, request: Request, incident: Incident) -> Json:
        """An incident, its policy whole instead of a reference where that was asked for."""
        shown = self._shapes.incident(incident)
        if "escalation_policies" in request.query_params.getlist("include[]"):
            shown["escalation_policy"] = self._shapes.policy()
        return shown

    def update(self, request: Request, body: object) -> Response:
        by = self._requester(request)
        change = _object(body, "incident")
        self._change(request.path_params["id"], change, by)
        return self.incident(request, None)

    def manage(self, request: Request, body: object) -> Response:
        by = self._requester(request)
        changes = body.get("incidents") if isinstance(body, dict) else None
        if not isinstance(changes, list) or not changes:
            raise invalid("Incidents must be an array.")
        if len(changes) > MAX_MANAGED:
            raise invalid(f"At most {MAX_MANAGED} incidents can be changed at once.")
        wanted = [_object({"incident": change}, "incident") for change in changes]
        ids = [str(change.get("id", "")) for change in wanted]
        for ident in ids:
            self._account.find(ident)
        for ident, change in zip(ids, wanted, strict=True):
            self._change(ident, change, by)
        changed = [self._shapes.incident(self._account.find(ident)) for ident in ids]
        return _listed(request, "incidents", changed)

    def notes(self, request: Request, _: object) -> Response:
        incident = self._account.find(request.path_params["id"])
        return JSONResponse({"notes": [self._shapes.note(note) for note in incident.notes]})

    def annotate(self, request: Request, body: object) -> Response:
        by = self._requester(request)
        content = _object(body, "note").get("content")
        if not isinstance(content, str):
            raise invalid("Note content cannot be empty.")
        note = self._account.annotate(request.path_params["id"], by, content)
        return JSONResponse({"note": self._shapes.note(note)})

    def log_entries(self, request: Request, _: object) -> Response:
        incident = self._account.find(request.path_params["id"])
        reference = self._shapes.reference("incident", incident.id, incident.title)
        entries: list[Json] = [
            {
                "id": f"R{position:05d}",
                "type": "log_entry",
                "summary": entry.what,
                "created_at": stamp(entry.at),
                "incident": reference,
            }
            for position, entry in enumerate(incident.log, 1)
        ]
        return _listed(request, "log_entries", entries)

    def subscriptions(self, request: Request, _: object) -> Response:
        subscription = self._account.subscription
        entry: Json = {
            "id": SUBSCRIPTION_ID,
            "type": "webhook_subscription",
            "active": self._account.now >= subscription.disabled_until,
            "delivery_method": {"type": "http_delivery_method", "url": subscription.url, "secret": None},
            "events": [
                "incident.triggered",
                "incident.acknowledged",
                "incident.escalated",
                "incident.annotated",
                "incident.reopened",
                "incident.resolved",
            ],
            "filter": {"type": "service_reference", "id": SERVICE_ID},
        }
        return _listed(request, "webhook_subscriptions", [entry])

    def ping(self, request: Request, _: object) -> Response:
        _expect(request, SUBSCRIPTION_ID)
        self._account.ping()
        return Response(status_code=202)

    def _requester(self, request: Request) -> Person:
        email = request.headers.get("from")
        if not email:
            words = 'You must specify a user\'s email address in the "From" header to perform this action'
            raise ApiError(400, 2016, words)
        for person in self._account.config.people:
            if person.email == email:
                return person
        raise ApiError(400, 1008, "Requester User Not Found")

    def _change(self, ident: str, change: Json, by: Person) -> None:
        status, level = change.get("status"), change.get("escalation_level")
        if status not in (None, "acknowledged", "resolved"):
            raise invalid("Status must be acknowledged or resolved.")
        if level is not None and (not isinstance(level, int) or isinstance(level, bool)):
            raise invalid("Escalation level must be a number.")
        if status == "acknowledged":
            self._account.acknowledge(ident, by)
        elif status == "resolved":
            resolution = change.get("resolution")
            self._account.resolve(ident, by, str(resolution) if resolution else None)
        if isinstance(level, int):
            self._account.escalate(ident, level, by)


def _object(body: object, name: str) -> Json:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, dict):
        raise invalid("params must be a Hash")
    return value


def _expect(request: Request, ident: str) -> None:
    if request.path_params["id"] != ident:
        raise not_found()


def _listed(request: Request, name: str, entries: list[Json]) -> JSONResponse:
    try:
        limit, offset = (int(request.query_params.get(key, default)) for key, default in (("limit", 25), ("offset", 0)))
    except ValueError:
        raise invalid("Limit and offset must be numbers.") from None
    limit = max(1, min(limit, MAX_PAGE))
    page = entries[offset : offset + limit]
    more = offset + limit < len(entries)
    return JSONResponse({name: page, "limit": limit, "offset": offset, "more": more, "total": None})
