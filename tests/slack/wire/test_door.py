"""Nobody gets in without Slack's signature over the very bytes, fresh, and once."""

import hashlib
import hmac
import json
import threading
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_bolt import BoltResponse

from bot.settings import Secret
from bot.slack.door import genuine
from tests.hands import START
from tests.slack.wire.office import INTAKE, MAYA, SIGNING_SECRET, Office

NOW = int(START.timestamp())


def signed(body: bytes, at: int = NOW, secret: str = SIGNING_SECRET, **more: str) -> dict[str, str]:
    """The headers of a request as Slack sends it."""
    mac = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    kind = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
    return {"Content-Type": kind, "X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={mac}", **more}


def command(text: str, trigger: str = "1.2.3") -> bytes:
    """A slash command's body."""
    fields = {
        "token": "t",
        "team_id": "T0FIXFIRST",
        "channel_id": INTAKE,
        "user_id": MAYA,
        "command": "/incident",
        "text": text,
        "response_url": "http://127.0.0.1:9/none",
        "trigger_id": trigger,
    }
    return urlencode(fields).encode()


def test_a_genuine_command_is_carried_out(office: Office) -> None:
    body = command("declare the gateway is down")
    status, headers, answer = office.door.handle(body, signed(body))
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert b"INC-1" in answer


@pytest.mark.parametrize("off", [-301, 301, -10_000_000])
def test_a_request_out_of_its_time_is_refused(office: Office, off: int) -> None:
    body = command("declare x")
    assert office.door.handle(body, signed(body, NOW + off))[0] == 401
    assert office.journal.recent(1) == ()


@pytest.mark.parametrize("off", [-299, 299])
def test_clocks_may_differ_a_little(office: Office, off: int) -> None:
    body = command("list")
    assert office.door.handle(body, signed(body, NOW + off))[0] == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Signature": "v0=\u00e9\u2028"},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": "\u0663"},
        {"X-Slack-Request-Timestamp": "1" * 400},
        {"X-Slack-Request-Timestamp": "-1"},
        {"X-Slack-Request-Timestamp": "nan"},
    ],
)
def test_garbage_in_the_headers_is_refused_and_never_an_error(office: Office, changed: dict[str, str]) -> None:
    body = command("declare x")
    status, _, answer = office.door.handle(body, signed(body) | changed)
    assert status == 401
    assert SIGNING_SECRET.encode() not in answer
    assert office.journal.recent(1) == ()


def test_another_secret_or_another_byte_is_refused(office: Office) -> None:
    body = command("declare x")
    assert office.door.handle(body, signed(body, secret="another"))[0] == 401
    assert office.door.handle(body + b" ", signed(body))[0] == 401


@given(st.text(max_size=80), st.text(max_size=80), st.binary(max_size=200))
def test_no_header_makes_the_check_fail_with_an_error(timestamp: str, signature: str, body: bytes) -> None:
    assert not genuine(Secret("s"), timestamp, body, signature, float(NOW))


def test_a_replay_is_answered_and_does_nothing(office: Office) -> None:
    body = command("declare the gateway is down")
    headers = signed(body)
    office.door.handle(body, headers)
    status, _, answer = office.door.handle(body, headers)
    assert (status, answer) == (200, b"")
    assert len(office.journal.recent(5)) == 1


def test_a_replay_dressed_up_as_a_retry_does_nothing_either(office: Office) -> None:
    """The retry header is not signed: whoever has caught a request can add it."""
    body = command("declare the gateway is down")
    headers = signed(body)
    office.door.handle(body, headers)
    status, _, answer = office.door.handle(body, {**headers, "X-Slack-Retry-Num": "1"})
    assert (status, answer) == (200, b"")
    assert len(office.journal.recent(5)) == 1


def test_a_request_that_a_bug_kept_from_being_done_may_come_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = command("declare the gateway is down")
    with monkeypatch.context() as broken:
        broken.setattr(office.listeners.app, "dispatch", lambda request: BoltResponse(status=500))
        assert office.door.handle(body, signed(body))[0] == 500
    assert b"INC-1" in office.door.handle(body, signed(body))[2]


def test_slacks_own_retry_of_an_event_is_answered(office: Office) -> None:
    event = {
        "type": "event_callback",
        "team_id": "T0FIXFIRST",
        "event_id": "Ev1",
        "event": {"type": "app_mention", "user": MAYA, "channel": INTAKE, "text": "hi", "ts": "1.0"},
    }
    body = json.dumps(event).encode()
    assert office.door.handle(body, signed(body))[0] == 200
    assert office.door.handle(body, signed(body, NOW + 60, **{"X-Slack-Retry-Num": "1"}))[0] == 200


@pytest.mark.parametrize(
    "event", [{"type": "message", "user": MAYA}, {"type": "nobody_knows"}, {"type": "reaction_added"}]
)
def test_what_nobody_listens_to_is_answered_200_so_that_slack_does_not_repeat_it(
    office: Office, event: dict[str, str]
) -> None:
    body = json.dumps({"type": "event_callback", "team_id": "T0FIXFIRST", "event_id": "Ev2", "event": event}).encode()
    assert office.door.handle(body, signed(body))[0] == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"payload=", b"payload=%7B", b"payload=[]", b"a=b", b"\xff", b'{"a":' * 20_000]
)
def test_signed_nonsense_is_answered_and_changes_nothing(office: Office, body: bytes) -> None:
    status, _, _ = office.door.handle(body, signed(body))
    assert status in (200, 400)
    assert office.journal.recent(1) == ()


def test_slacks_challenge_is_answered(office: Office) -> None:
    assert office.workspace.verify_request_url()


def test_a_request_from_another_workspace_is_a_strangers(office: Office) -> None:
    body = command("declare x").replace(b"T0FIXFIRST", b"T0EVIL")
    _, _, answer = office.door.handle(body, signed(body))
    assert b"another organisation" in answer
    assert office.journal.recent(1) == ()


def form(*blocks: dict[str, str]) -> bytes:
    payload = {"type": "view_submission", "view": {"id": "V1", "blocks": blocks}, "user": {"id": MAYA}}
    return urlencode({"payload": json.dumps(payload)}).encode()


def test_a_form_that_takes_too_long_stays_open_with_what_was_written_in_it(office: Office) -> None:
    body = form({"type": "section", "block_id": "intro"}, {"type": "input", "block_id": "text"})
    status, _, answer = office.door.meanwhile(body)
    assert status == 200
    said = json.loads(answer)
    assert said["response_action"] == "errors"
    assert "Press again in a moment" in said["errors"]["text"]


def test_whoever_typed_a_command_that_takes_too_long_is_told_to_wait(office: Office) -> None:
    status, _, answer = office.door.meanwhile(command("ack INC-1"))
    assert status == 200
    assert json.loads(answer)["response_type"] == "ephemeral"
    assert "does not answer yet" in json.loads(answer)["text"]
    assert "fixfirst ack" not in json.loads(answer)["text"], "that would ask the same journal"


@pytest.mark.parametrize(
    "body", [b"\xff", b"payload=[]", b"payload=%7B", b"a=b", urlencode({"payload": "{}"}).encode()]
)
def test_what_else_takes_too_long_is_acknowledged_without_a_word(office: Office, body: bytes) -> None:
    assert office.door.meanwhile(body) == (200, {}, b"")


def test_what_was_carried_out_after_the_door_has_answered_is_told_another_way(office: Office) -> None:
    turn = threading.Semaphore()
    assert turn.acquire(blocking=False)
    body = command("declare the gateway is down").replace(b"http%3A%2F%2F127.0.0.1%3A9%2Fnone", b"")
    _, _, answer = office.door.handle(body, signed(body), turn)
    assert b"INC-1" not in answer
    assert [incident.number for incident in office.journal.recent(1)] == [1]
