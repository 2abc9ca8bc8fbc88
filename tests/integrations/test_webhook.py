"""Pages by webhook against a real server on the loopback: what goes over the wire, what comes of answers."""

import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from bot.contracts import Permanent, Transient
from tests.integrations.bridge import Bridge
from tests.integrations.fallbacks import BRIDGE, PASSWORD, TOKEN, burning, voice, word


def test_a_webhook_is_signed_and_carries_the_token_and_one_key(bridge: Bridge) -> None:
    incident = burning().inc
    voice(BRIDGE, url=bridge.url, secret_env="BRIDGE_SECRET").say(word(incident))
    ((headers, body, _),) = bridge.heard
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-FixFirst-Signature"] == f"v1={hmac.new(PASSWORD.encode(), body, hashlib.sha256).hexdigest()}"
    assert headers["Idempotency-Key"] == "test:i1:1:trigger"
    assert json.loads(body) == {
        "action": "trigger",
        "key": "test:i1:1",
        "incident": "INC-42",
        "round": 1,
        "level": 0,
        "severity": "SEV1",
        "title": "llama-70b fails",
        "service": "",
        "model": "llama-70b",
        "firing": 3,
        "news": "Nobody has it yet.",
        "link": "https://incidents.example.com/incidents/INC-42",
        "at": "2026-11-21T03:00:00+00:00",
    }


@pytest.mark.parametrize("answer", [(200, b"ok"), (202, b'{"queued": true}'), (204, b"")])
def test_any_word_accepts_the_page(bridge: Bridge, answer: tuple[int, bytes]) -> None:
    bridge.answer = answer
    voice(BRIDGE, url=bridge.url).say(word(burning().inc))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b"<html>please sign in</html>"), Permanent),
        ((302, b""), Permanent),
        ((401, b"who are you?"), Permanent),
        ((429, b""), Transient),
        ((503, b""), Transient),
    ],
)
def test_a_page_is_not_accepted_by(bridge: Bridge, answer: tuple[int, bytes], kind: type[Exception]) -> None:
    bridge.answer = answer
    with pytest.raises(kind):
        voice(BRIDGE, url=bridge.url).say(word(burning().inc))


def test_by_webhook_a_call_is_no_repeat_of_the_page(bridge: Bridge) -> None:
    for level in (0, 1):
        voice(BRIDGE, url=bridge.url).say(replace(word(burning().inc), level=level))
    first, call = bridge.heard
    assert [headers["Idempotency-Key"] for headers, *_ in (first, call)] == ["test:i1:1:trigger", "test:i1:1:trigger:1"]
    assert [body["level"] for body in bridge.accepted] == [0, 1]
    assert {body["key"] for body in bridge.accepted} == {"test:i1:1"}
