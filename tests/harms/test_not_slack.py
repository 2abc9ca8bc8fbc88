"""What comes back when it is not Slack that answers: a login page, a proxy. None of it is Slack's no."""

import json
from collections.abc import Callable

import pytest

from bot.contracts import Transient
from bot.slack.client import Refusal, call, respond_at
from tests.harms.sink import Call, sink
from tests.harms.test_clients import slack

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
PAGE = b"<!doctype html><title>Sign in to the guest network</title>"


def says(status: int, body: bytes, kind: str = HTML, **headers: str) -> Callable[[Call], None]:
    """A server that answers everything so."""

    def treat(call: Call) -> None:
        call.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            call.send_header(name, value)
        call.end_headers()
        call.wfile.write(body)

    return treat


NOT_SLACK = {
    "a login page": says(200, PAGE),
    "nothing": says(200, b""),
    "nothing, as JSON": says(200, b"", JSON),
    "a list": says(200, b"[]", JSON),
    "a full list": says(200, b'[{"ok": true}]', JSON),
    "a string": says(200, b'"ok"', JSON),
    "null": says(200, b"null", JSON),
    "somebody else's JSON": says(200, b'{"status": "up"}', JSON),
    "somebody else's error": says(403, b'{"error": "forbidden"}', JSON),
    "a no without a word": says(200, b'{"ok": false}', JSON),
    "a no with a sentence": says(200, b'{"ok": false, "error": "Please sign in first."}', JSON),
    "bytes of another charset": says(200, "für Gäste".encode("latin-1")),
    "an error in another charset": says(403, "nicht verfügbar".encode("latin-1")),
    "an unknown charset": says(403, b"x", "text/html; charset=klingon"),
    "a compressed file": says(200, b"\x1f\x8b\x08\x00", "application/gzip"),
    "a redirect to nowhere": says(302, b"", Location="gopher://login.example/"),
    "a redirect that keeps the method": says(307, PAGE, Location="http://login.example/"),
    "a wall": says(403, PAGE),
    "a wrong address": says(404, PAGE),
    "a proxy that wants a name": says(407, b'{"ok": false, "error": "invalid_auth"}', JSON),
    "a request that took too long": says(408, PAGE),
    "a broken gateway": says(502, PAGE),
    "a broken gateway in another charset": says(502, "nicht verfügbar".encode("latin-1")),
}


@pytest.mark.parametrize("treat", NOT_SLACK.values(), ids=NOT_SLACK)
def test_what_is_not_slack_s_answer_is_silence_and_nobody_knows_what_was_done(treat: Callable[[Call], None]) -> None:
    with sink(treat) as server, pytest.raises(Transient) as lost:
        call(slack(server).chat_postMessage, channel="C1", text="llama-70b is down")
    assert lost.value.ambiguous, "so that the next try looks first"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("treat", "what"),
    [
        (says(200, PAGE), r"^Slack answered 200 with no JSON of its own: is a login page or a proxy in between\?$"),
        (says(407, PAGE), r"^Slack answered HTTP 407: is a login page or a proxy in between\?$"),
        (says(200, b"\xff"), r"^Slack answered what cannot be read \(UnicodeDecodeError\): is a login page"),
        (says(503, PAGE), r"^Slack answered HTTP 503$"),
    ],
)
def test_it_is_said_what_came_instead(treat: Callable[[Call], None], what: str) -> None:
    with sink(treat) as server, pytest.raises(Transient, match=what):
        call(slack(server).auth_test)


@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_slack_s_own_no_is_a_refusal_whatever_its_status(status: int) -> None:
    body = json.dumps({"ok": False, "error": "missing_scope", "needed": "pins:write"}).encode()
    with sink(says(status, body, JSON)) as server, pytest.raises(Refusal, match="lacks the scope pins:write") as no:
        call(slack(server).pins_add, channel="C1", timestamp="1.0")
    assert no.value.error == "missing_scope"


def respond(url: str) -> None:
    respond_at(f"{url}/actions/1", text="done", blocks=[])


@pytest.mark.parametrize("body", [b"ok", b'{"ok": true}'])
def test_a_response_url_takes_an_answer(body: bytes) -> None:
    with sink(says(200, body, "text/plain")) as server:
        respond(server.url)
    assert server.asked == ["POST /actions/1"]


@pytest.mark.parametrize(("status", "body"), [(404, b'{"ok":false,"error":"expired_url"}'), (410, PAGE), (400, b"")])
def test_a_response_url_that_is_used_up_is_a_refusal(status: int, body: bytes) -> None:
    with sink(says(status, body)) as server, pytest.raises(Refusal, match=f"Slack answered {status}"):
        respond(server.url)


@pytest.mark.parametrize(
    "treat",
    [
        says(200, PAGE),
        says(302, b"", Location="gopher://login.example/"),
        says(403, b"x", "text/html; charset=klingon"),
        says(200, b"\xff"),
        says(407, PAGE),
        says(408, PAGE),
        says(500, PAGE),
        says(503, "nicht verfügbar".encode("latin-1")),
    ],
)
def test_a_response_url_that_somebody_else_answers_is_silence(treat: Callable[[Call], None]) -> None:
    with sink(treat) as server, pytest.raises(Transient) as lost:
        respond(server.url)
    assert lost.value.ambiguous


def test_a_response_url_that_asks_for_peace_gets_it() -> None:
    with sink(says(429, b"", **{"Retry-After": "17"})) as server, pytest.raises(Transient) as slow:
        respond(server.url)
    assert (slow.value.retry_after, slow.value.ambiguous) == (17.0, False)
