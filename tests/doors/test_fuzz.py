"""Whatever comes, with or without the right to, is answered 2xx, 4xx or 503, and the bot works on afterwards."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doors.house import ALERTS, PAGER, SLACK, Answer, House, alert, open_house, pager_event, webhook

EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True)
ANY_TEXT = st.text(
    st.characters(categories=("L", "N", "P", "S", "Z", "C")), max_size=20
)  # with half characters and NUL
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=8
)
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255, categories=("L", "N", "P", "S", "Zs")), max_size=60)
NAMES = st.sampled_from(
    (
        "Authorization",
        "Content-Type",
        "Content-Encoding",
        "X-PagerDuty-Signature",
        "X-Slack-Signature",
        "X-Slack-Request-Timestamp",
        "X-Slack-Retry-Num",
        "Expect",
        "Transfer",
    )
)
PAYLOAD = {
    "type": "block_actions",
    "team": {"id": "T0FIXFIRST"},
    "user": {"id": "U0MAYA", "team_id": "T0FIXFIRST"},
    "channel": {"id": "C0INCIDENTS"},
    "container": {"type": "message", "message_ts": "1.2", "channel_id": "C0INCIDENTS"},
    "message": {"ts": "1.2", "text": "hello"},
    "trigger_id": "1.2.3",
    "response_url": "http://127.0.0.1:9/response",
    "actions": [{"type": "button", "action_id": "ack", "block_id": "b", "value": "x", "action_ts": "1.2"}],
    "view": {"id": "V1", "callback_id": "modal.resolve", "private_metadata": "{}", "state": {"values": {}}},
}


@st.composite
def disturbed(draw: st.DrawFn, original: Any) -> Any:
    """The original with one thing in it gone, doubled or replaced by anything."""
    value = json.loads(json.dumps(original))
    inside = value
    while True:
        key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[key], dict | list) or not inside[key] or draw(st.booleans()):
            break
        inside = inside[key]
    if draw(st.booleans()):
        inside[key] = draw(VALUES)
    elif isinstance(inside, dict):
        del inside[key]
    else:
        inside.append(inside[key])
    return value


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for the whole bombardment; at the end it must still do its work."""
    with open_house(tmp_path_factory.mktemp("house")) as house:
        yield house
        assert house.alerts(webhook([alert("after all that", labels={"alertname": "AfterAllThat"})])).status == 200
        house.turn()
        assert "after all that" in {row[2] for row in house.rows()["alert"]}
        assert all(house.app.journal.verify(incident.id) is None for incident in house.app.journal.recent(1_000))


def calm(answer: Answer) -> bool:
    return 200 <= answer.status < 300 or 400 <= answer.status < 500 or answer.status == 503


@EXAMPLES
@given(
    path=st.sampled_from((ALERTS, PAGER, SLACK)), headers=st.dictionaries(NAMES, LATIN), body=st.binary(max_size=200)
)
def test_headers_of_any_kind(house: House, path: str, headers: dict[str, str], body: bytes) -> None:
    answer = house.post(path, body, headers)
    assert 400 <= answer.status < 500, answer


@EXAMPLES
@given(body=st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_bodies_of_any_kind(house: House, body: bytes) -> None:
    assert calm(house.alerts(body))
    assert calm(house.pager(body))
    assert calm(house.slack(body))
    assert calm(house.slack(body, more={"Content-Type": "application/json"}))


@EXAMPLES
@given(message=disturbed(webhook([alert(), alert("f2", status="resolved", endsAt="2026-11-21T03:00:00Z")])))
def test_a_disturbed_webhook_of_alertmanager(house: House, message: Any) -> None:
    answer = house.alerts(message)
    assert calm(answer), answer
    house.turn()


@EXAMPLES
@given(
    message=st.sampled_from(("triggered", "acknowledged", "resolved", "reopened")).flatmap(
        lambda verb: disturbed(pager_event(f"incident.{verb}"))
    )
)
def test_a_disturbed_webhook_of_pagerduty(house: House, message: Any) -> None:
    answer = house.pager(message)
    assert calm(answer), answer
    house.turn()


@EXAMPLES
@given(
    payload=disturbed(PAYLOAD), kind=st.sampled_from(("block_actions", "view_submission", "view_closed", "shortcut"))
)
def test_a_disturbed_interaction_of_slack(house: House, payload: Any, kind: str) -> None:
    if isinstance(payload, dict):
        payload["type"] = kind
    answer = house.slack(b"payload=" + quote_plus(json.dumps(payload)).encode())
    assert calm(answer), answer
