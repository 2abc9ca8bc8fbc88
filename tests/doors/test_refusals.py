"""Who knocks with nonsense or without a right hears why in one sentence; one log line, no secret, nothing on disk."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from bot.incident.events import Severity
from tests.doors.house import (
    ALERTS,
    JSON_TYPE,
    NEW_SECRET,
    NEW_TOKEN,
    NOW,
    OLD_SECRET,
    OLD_TOKEN,
    PAGER,
    SLACK,
    Answer,
    House,
    alert,
    pager_event,
    pager_signature,
    slack_signature,
    webhook,
)

Knock = Callable[[House], Answer]
MIB = 1024 * 1024
FORM = b"command=%2Fincident&text=help&team_id=T0FIXFIRST&user_id=U0MAYA&trigger_id=1.2.3"


def alerts(body: Any) -> Knock:
    return lambda house: house.alerts(body)


def changed(**changes: Any) -> Knock:
    return alerts(webhook([alert(**changes)]))


def without(key: str) -> Knock:
    return alerts(webhook([{name: value for name, value in alert().items() if name != key}]))


def endless() -> Iterator[bytes]:
    for _ in range(40):
        yield b" " * (64 * 1024)


def token(header: dict[str, str]) -> Knock:
    return lambda house: house.post(ALERTS, json.dumps(webhook([alert()])).encode(), {**JSON_TYPE, **header})


def pager(signature: Callable[[bytes], str]) -> Knock:
    body = json.dumps(pager_event()).encode()
    return lambda house: house.pager(body, signature(body))


def slack(**how: Any) -> Knock:
    return lambda house: house.slack(FORM, **how)


REFUSED: dict[str, tuple[Knock, int, str]] = {
    "not JSON": (alerts(b"alerts: yes"), 400, "the body is not JSON: Expecting value at line 1, column 1"),
    "nothing": (alerts(b""), 400, "the body is not JSON"),
    "a list": (alerts(b"[]"), 400, "the body must be a JSON object"),
    "another version": (alerts(webhook([], version="3")), 400, "version is '3', but only"),
    "no version": (alerts(b"{}"), 400, "version is None, but only"),
    "no alerts": (alerts(b'{"version":"4"}'), 400, "alerts must be a list"),
    "an alert that is a word": (alerts(webhook(["boo"])), 400, "alerts[0] must be an object"),
    "a count that is none": (alerts(webhook([], truncatedAlerts="many")), 400, "truncatedAlerts must be a whole"),
    "no fingerprint": (without("fingerprint"), 400, "alerts[0].fingerprint is missing"),
    "a long fingerprint": (changed(fingerprint="f" * 81), 400, "longer than 80 characters"),
    "no status": (without("status"), 400, "alerts[0].status is None, but must be firing or resolved"),
    "no labels": (without("labels"), 400, "alerts[0].labels must be an object of texts"),
    "a number as label": (changed(labels={"alertname": 7}), 400, "alerts[0].labels.'alertname' must be a text"),
    "no time": (without("startsAt"), 400, "alerts[0].startsAt is None, but must be a time"),
    "a time before time": (changed(startsAt="0001-01-01T00:00:00+23:00"), 400, "alerts[0].startsAt is"),
    "a time after time": (changed(startsAt="9999-12-31T23:59:59-23:00"), 400, "alerts[0].startsAt is"),
    "not UTF-8": (alerts(b'{"version":"\xff"}'), 400, "the body is not UTF-8 (byte 12)"),
    "a depth bomb": (alerts(b"[" * 100_000), 400, "the body is nested too deeply"),
    "a depth bomb inside": (
        alerts(json.dumps(webhook([])).encode()[:-1] + b',"x":' + b'{"a":' * 100_000),
        400,
        "the body is nested too deeply",
    ),
    "a number of 5,000 digits": (alerts(b'{"version":' + b"9" * 5_000 + b"}"), 400, "a number of too many digits"),
    "a novel as status": (changed(status="firing " * 50_000), 400, "alerts[0].status is 'firing firing"),
    "a body over the limit, announced": (alerts(b" " * (MIB + 1)), 413, f"over the limit of {MIB}"),
    "a body over the limit, in chunks": (lambda house: house.alerts(endless()), 413, f"over the limit of {MIB}"),
    "a compressed body": (
        lambda house: house.post(
            ALERTS,
            gzip.compress(json.dumps(webhook([alert()])).encode()),
            {"Authorization": f"Bearer {NEW_TOKEN}", "Content-Encoding": "gzip"},
        ),
        400,
        "a compressed body is not accepted",
    ),
    "no token": (token({}), 401, "the bearer token is missing or wrong"),
    "a wrong token": (token({"Authorization": "Bearer wrong-token-0123456789"}), 401, "missing or wrong"),
    "a token cut short": (token({"Authorization": f"Bearer {NEW_TOKEN[:-1]}"}), 401, "missing or wrong"),
    "an empty token": (token({"Authorization": "Bearer "}), 401, "missing or wrong"),
    "both tokens as one": (token({"Authorization": f"Bearer {OLD_TOKEN}, {NEW_TOKEN}"}), 401, "missing or wrong"),
    "a token in Latin": (token({"Authorization": "Bearer \xe9\xe8\xff"}), 401, "missing or wrong"),
    "a token by another scheme": (token({"Authorization": f"Basic {NEW_TOKEN}"}), 401, "missing or wrong"),
    "PagerDuty without a signature": (pager(lambda _: ""), 401, "does not fit any configured secret"),
    "PagerDuty with another's": (pager(lambda body: pager_signature(body, "wrong")), 401, "does not fit"),
    "PagerDuty in capitals": (pager(lambda body: f"v1={pager_signature(body)[3:].upper()}"), 401, "does not fit"),
    "PagerDuty without a version": (pager(lambda body: pager_signature(body)[3:]), 401, "does not fit"),
    "PagerDuty with garbage": (pager(lambda _: "v1=\xe9,,v1=,v2=x," * 500), 401, "does not fit"),
    "PagerDuty, not JSON": (lambda house: house.pager(b"hello"), 400, "the body is not JSON"),
    "PagerDuty, no event": (lambda house: house.pager(b"[]"), 400, "this is not a PagerDuty V3 webhook"),
    "PagerDuty, a key for a time": (
        lambda house: house.pager({"event": {**pager_event()["event"], "occurred_at": "ghp_" + "canary" * 6}}),
        400,
        "Invalid isoformat string: '[secret]'",
    ),
    "PagerDuty, no incident": (lambda house: house.pager(pager_event(id="")), 400, "the event names no incident"),
    "PagerDuty, a body over the limit": (
        lambda house: house.pager(b" " * (MIB + 1)),
        413,
        "over the limit",
    ),
    "Slack without a signature": (slack(signature=""), 401, "the signature does not fit"),
    "Slack six minutes late": (slack(at=NOW - timedelta(minutes=6)), 401, "the signature does not fit"),
    "Slack six minutes early": (slack(at=NOW + timedelta(minutes=6)), 401, "the signature does not fit"),
    "Slack forged": (
        slack(signature=slack_signature(str(int(NOW.timestamp())), FORM, "wrong")),
        401,
        "the signature does not fit",
    ),
    "Slack with another body's": (
        slack(signature=slack_signature(str(int(NOW.timestamp())), FORM + b"x")),
        401,
        "the signature does not fit",
    ),
    "Slack with garbage": (slack(signature="v0=\xe9\xff" * 99), 401, "the signature does not fit"),
    "Slack with a word as time": (
        lambda house: house.post(SLACK, FORM, {"X-Slack-Request-Timestamp": "yesterday", "X-Slack-Signature": "v0="}),
        401,
        "the signature does not fit",
    ),
    "Slack with Arabic digits": (
        lambda house: house.post(SLACK, FORM, {"X-Slack-Request-Timestamp": "\xb2\xb3", "X-Slack-Signature": "v0="}),
        401,
        "the signature does not fit",
    ),
    "Slack, not UTF-8": (lambda house: house.slack(b"payload=\xff\xfe"), 400, "the body is no form and no JSON"),
    "Slack, a broken payload": (lambda house: house.slack(b"payload=%7B"), 400, "the body is no form and no JSON"),
}
LINES = ("door_refused", "slack_signature_refused", "slack_request_unreadable")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why_and_leaves_no_trace(quiet_house: House, name: str) -> None:
    knock, status, why = REFUSED[name]
    house = quiet_house
    before = house.rows()
    house.lines.clear()
    answer = knock(house)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer
    assert why in answer.error
    assert len(answer.error) < 300
    assert house.rows() == before
    (line,) = house.lines
    assert line["event"] in LINES
    assert line["log_level"] == "warning"
    seen = f"{house.lines!r} {answer!r}"
    assert "canary" not in seen
    assert not any(secret in seen for secret in (OLD_SECRET, NEW_SECRET, OLD_TOKEN, NEW_TOKEN))


def test_one_alert_that_cannot_be_read_keeps_no_other_from_being_taken_in(house: House) -> None:
    good = [alert(f"good-{name}", labels={"alertname": name, "service": name}) for name in ("A", "B")]
    answer = house.alerts(webhook([good[0], alert(fingerprint=""), good[1], "boo"]))
    assert answer.status == 400, "nobody sends it again, so it is said"
    first = "alerts[1].fingerprint is missing or longer than 80 characters"
    assert answer.error == f"{first}; 2 such alerts; taken in of the same message: 2 alerts"
    house.turn()
    assert {incident.service for incident in house.app.journal.live()} == {"A", "B"}
    assert len(house.logged("door_refused")) == 1


def test_an_alert_with_too_many_labels_keeps_those_that_mean_something(house: House) -> None:
    many = {f"a{n:04}": "x" for n in range(10_000)}
    named = {"alertname": "Burns", "severity": "critical", "service": "chat"}
    assert house.alerts(webhook([alert(labels={**many, **named}, annotations=None)])).status == 200
    house.turn()
    (incident,) = house.app.journal.live()
    assert (incident.title, incident.service, incident.severity) == ("Burns", "chat", Severity.SEV1)


@pytest.mark.parametrize(
    ("path", "name"),
    [(ALERTS, "FIXFIRST_ALERTMANAGER_TOKENS"), (PAGER, "FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS"), (SLACK, "socket_mode")],
)
def test_a_door_without_a_secret_stays_shut_and_says_what_to_set(bare: House, path: str, name: str) -> None:
    answer = bare.post(path, b"{}", {"Authorization": "Bearer ", "X-PagerDuty-Signature": pager_signature(b"{}", "")})
    assert answer.status == 404
    assert name in answer.error


@pytest.mark.parametrize("path", [ALERTS, PAGER, SLACK])
def test_a_look_through_the_keyhole_is_not_an_error(quiet_house: House, path: str) -> None:
    assert quiet_house.post(path, b"", method="GET").status == 405
