"""PagerDuty's own clients, bounded in time, what both ways to page say through them, and what their errors mean.

Events API: https://developer.pagerduty.com/docs/events-api-v2/overview/ (summary up to 1024 characters, key 255).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException
from typing import Any, Final, TypeVar

import httpx2
from pagerduty import Error, EventsApiV2Client, HttpError, RestApiV2Client

from bot.contracts import Permanent, Transient
from bot.incident.events import Severity
from bot.incident.state import Incident
from bot.integrations.pagerduty.settings import NAME
from bot.integrations.wire import connection_to, exchanged

Client = TypeVar("Client", EventsApiV2Client, RestApiV2Client)
TIMEOUT_S: Final = 3
LOOK_TIMEOUT_S: Final = 1
"""Together what a page may hold its lane up: at most one look whether it is known, and one word."""
LARGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes: a hundred incidents with their escalation policies are one or two million."""
ASKED_FOR_OURSELVES: Final = frozenset({"accept-encoding", "connection"})
NOT_ITS_OWN: Final = frozenset({407, 408, 425})
"""What a proxy says, or a server that waited for the request."""
SEVERITIES: Final = {
    Severity.SEV1: "critical",
    Severity.SEV2: "error",
    Severity.SEV3: "warning",
    Severity.SEV4: "info",
}
GROUP_PREFIX: Final = "v1:pagerduty="


def foreign_id(incident: Incident) -> str | None:
    """PagerDuty's id of an incident that was born there, else None.

    When such a one comes back here, or gets worse, we page it anew under our own key: then it is two over there.
    """
    return incident.group_key.removeprefix(GROUP_PREFIX) if incident.group_key.startswith(GROUP_PREFIX) else None


def dedup_key(incident: Incident, generation: int) -> str:
    """One key for trigger, acknowledge and resolve of one round."""
    return incident.page_key(generation)


_still_ours: Final[ContextVar[Callable[[], None] | None]] = ContextVar("still_ours", default=None)


@contextmanager
def only_while(still_ours: Callable[[], None]) -> Iterator[None]:
    """Asks right before the first byte of each request leaves whether what it is about is still ours.

    A server that stood still since it looked would else wake people for what others have long brought to an end.
    """
    before = _still_ours.set(still_ours)
    try:
        yield
    finally:
        _still_ours.reset(before)


class Transport(httpx2.BaseTransport):
    """Carries each request over a line of its own, and sends nothing that is not ours any more (`only_while`).

    All of it is over in the request's time-out: the client's own begins anew with every byte, so that an answer that
    drips would keep a thread of the pager's for ever. With `plain` an http:// address can be configured although the
    client insists on https:// (a proxy, or a test double).
    """

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The whole answer. Raises httpx2.TransportError, and what `only_while` raises."""
        url = str(request.url.copy_with(scheme="http") if self._plain else request.url)
        headers = {name: value for name, value in request.headers.items() if name not in ASKED_FOR_OURSELVES}
        deadline = time.monotonic() + request.extensions["timeout"]["read"]
        still_ours = _still_ours.get()
        line = connection_to(url, deadline)
        try:
            line.connect()
            if still_ours is not None:
                still_ours()
            response, body = exchanged(
                line, request.method, url, request.read(), headers, deadline=deadline, largest=LARGEST_ANSWER
            )
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no answer in {request.extensions['timeout']['read']:g} s") from error
        except (OSError, HTTPException) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise httpx2.NetworkError(reason or type(error).__name__) from error
        finally:
            line.close()
        if len(body) > LARGEST_ANSWER:
            raise httpx2.NetworkError(f"it answered with more than {LARGEST_ANSWER // 1024 // 1024} MiB")
        return httpx2.Response(response.status, headers=response.getheaders(), stream=httpx2.ByteStream(body))


def connection(url: str) -> dict[str, Any]:
    """The client's arguments for an address."""
    plain = url.startswith("http://")
    return {"base_url": url.rstrip("/").replace("http://", "https://", 1), "transport": Transport(plain=plain)}


def bounded(client: Client, timeout: int = TIMEOUT_S) -> Client:
    """The client without its own retries, which sleep for minutes: the outbox repeats, and keeps lanes apart."""
    client.retry = {429: 1, 500: 0, 502: 0, 503: 0, 504: 0}
    client.max_http_attempts = -1  # with 0 it would still sleep once after a 429, and hold up the next page
    client.max_network_attempts = 0
    client.timeout = timeout
    return client


def trigger(client: EventsApiV2Client, incident: Incident, generation: int, link: str) -> None:
    """Wakes somebody, or joins what is open under the same key."""
    client.send_event(
        "trigger",
        dedup_key=dedup_key(incident, generation),
        payload={
            "summary": f"{incident.severity} {incident.ref} {incident.title}"[:1024],
            "source": incident.service or incident.model or "fixfirst",
            "severity": SEVERITIES[incident.severity],
            "component": incident.model or None,
            "group": incident.service or None,
            "custom_details": {"firing": incident.firing, "runbook": incident.runbook, "round": generation},
        },
        links=[{"href": link, "text": f"{incident.ref} in FixFirst"}] if link else [],
    )


def code_of(error: HttpError) -> int | None:
    """The code that the REST API gives its error; None without one."""
    try:
        return int(_answer(error).json()["error"]["code"])
    except (KeyError, TypeError, ValueError):
        return None


def _answer(error: HttpError) -> httpx2.Response:
    """The answer behind the error; the client's types allow for none, an HTTP error without one does not occur."""
    if error.response is None:
        raise error
    response: httpx2.Response = error.response
    return response


def failure_of(error: HttpError) -> Transient | Permanent:
    """Whether trying again may help, and when."""
    response = _answer(error)
    status = response.status_code
    if status == 429 or status >= 500:
        # The REST API tells with every answer when its limit is counted anew; only who ran into it need wait so long.
        limit = response.headers.get("ratelimit-reset") if status == 429 else None
        wish = limit or response.headers.get("retry-after")
        after = float(wish) if wish and wish.isdecimal() else None
        return Transient(f"{NAME} answered {status}", retry_after=after, ambiguous=status >= 500)
    if status in NOT_ITS_OWN or not 400 <= status < 500 or not _is_object(response):
        # A page that somebody in between has answered must not be given up for it.
        return Transient(
            f"{NAME} answered {status}, not as it does: is a proxy or a login page in between?", ambiguous=True
        )
    return Permanent(f"{NAME} refused it with {status}: {response.text[:200]}")


def _is_object(response: httpx2.Response) -> bool:
    try:
        return isinstance(response.json(), dict)
    except (ValueError, RecursionError):
        return False


def silence_of(error: Error | httpx2.HTTPError, who: str = NAME) -> Transient:
    """What it looks like when nothing came back; whether the request arrived, nobody knows."""
    return Transient(f"{who} does not answer ({error.__cause__ or error})", ambiguous=True)
