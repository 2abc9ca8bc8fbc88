"""`http.get` against a real HTTP server on the loopback: what is asked, and what is made of the answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contracts import Permanent, Transient
from bot.incident.expect import WANTED
from bot.incident.run import Sample
from bot.integrations.expectation import judged
from bot.integrations.http import Endpoint, Get
from bot.runbook.kinds import KINDS
from bot.runbook.shelf import check
from tests.servers import Answering, http_server

HOLDS, FAILS, INCONCLUSIVE = Sample.HOLDS, Sample.FAILS, Sample.INCONCLUSIVE
TOKEN = "canary-7f3a"
STEP = {"endpoint": "gateway", "model": "llama-70b"}


@dataclass
class Gateway:
    """`heard` are the request lines and headers; `state` is what it answers."""

    state: Any = field(default_factory=lambda: {"status": {"ready": True, "replicas": 3}, "mode": "cache", "old": None})
    status: int = 200
    heard: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(Answering):
        def do_GET(self) -> None:
            gateway.heard.append((self.requestline, dict(self.headers)))
            self.reply(gateway.status, json.dumps(gateway.state).encode())

    with http_server(Handler) as port:
        gateway.address = f"http://127.0.0.1:{port}"
        yield gateway


def get_of(gateway: Gateway, path: str = "/v1/models/{model}") -> Get:
    table = {"method": "GET", "url": gateway.address + path, "token_env": "GATEWAY_TOKEN", "timeout": "9s"}
    endpoint, faults = Endpoint.from_toml("gateway", table, {"GATEWAY_TOKEN": TOKEN}.get)
    assert faults == []
    assert endpoint is not None
    return Get({"gateway": endpoint})


@pytest.mark.parametrize(
    ("path", "expect", "sample", "text"),
    [
        ("status.replicas", ">= 3", HOLDS, "status.replicas is 3 (want >= 3)"),
        ("status.replicas", "> 3", FAILS, "status.replicas is 3 (want > 3)"),
        ("status.ready", "== true", HOLDS, "status.ready is true (want == true)"),
        ("status.ready", "== 1", FAILS, "status.ready is true (want == 1)"),
        ("mode", "!= cache", FAILS, 'mode is "cache" (want != cache)'),
        ("mode", "< 3", INCONCLUSIVE, 'mode is "cache" (want < 3)'),
        ("old", "== cache", INCONCLUSIVE, "old is null (want == cache)"),
        ("old", "empty", HOLDS, "old is null (want empty)"),
        ("status", "nonempty", HOLDS, 'status is {"ready": true, "replicas": 3} (want nonempty)'),
        ("status.gone", "empty", INCONCLUSIVE, "answered without the field status.gone (want empty)"),
    ],
)
def test_a_field_is_held_against_what_is_expected(
    gateway: Gateway, path: str, expect: str, sample: Sample, text: str
) -> None:
    reading = get_of(gateway).check(STEP | {"path": path, "expect": expect})
    assert (reading.sample, reading.text) == (sample, text)
    ((line, headers),) = gateway.heard
    assert line == "GET /v1/models/llama-70b HTTP/1.1"
    assert headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_place_in_a_list_is_a_number(gateway: Gateway) -> None:
    gateway.state = {"pods": [{"phase": "Running"}, {"phase": "Pending"}]}
    get = get_of(gateway)
    assert get.check(STEP | {"path": "pods.1.phase", "expect": "== Running"}).sample is FAILS
    assert get.check(STEP | {"path": "pods.2.phase", "expect": "== Running"}).sample is INCONCLUSIVE
    assert get.check(STEP | {"path": "pods.-1.phase", "expect": "== Running"}).sample is INCONCLUSIVE


def test_without_an_expectation_the_answer_is_shown_in_brief_and_without_secrets(gateway: Gateway) -> None:
    gateway.state = {"password": "hunter2-hunter2", "words": "x" * 5000}
    reading = get_of(gateway).check(STEP)
    assert reading.sample is HOLDS
    assert reading.text.startswith('answered {"password": "[secret]", "words": "xxx')
    assert len(reading.text) < 600
    shown = get_of(gateway).check(STEP | {"path": "password", "expect": "nonempty"})
    assert shown.text == 'password is "[secret]" (want nonempty)'


@pytest.mark.parametrize("value", ["a b&c=d", "a?x#y", "%2e", "a/b"])
def test_values_stay_one_part_of_the_path_and_one_value_of_the_query(gateway: Gateway, value: str) -> None:
    get_of(gateway, "/v1/models/{model}?of={model}&zone=eu").check(STEP | {"model": value})
    ((line, _),) = gateway.heard
    path, _, query = line.split(" ")[1].partition("?")
    assert (path.count("/"), query.count("&"), query.count("=")) == (3, 1, 2)


@pytest.mark.parametrize("value", ["..", "../admin", "a/../../admin", "a\nHost: b", "a\0b", ""])
def test_a_value_that_leads_elsewhere_is_refused_before_anything_is_sent(gateway: Gateway, value: str) -> None:
    for path in ("/v1/models/{model}", "/v1/models?of={model}"):
        with pytest.raises(Permanent, match="model cannot be"):
            get_of(gateway, path).check(STEP | {"model": value})
    assert gateway.heard == []


def test_what_cannot_answer_now_is_asked_again_and_a_refusal_is_final(gateway: Gateway) -> None:
    gateway.status = 503
    with pytest.raises(Transient):
        get_of(gateway).check(STEP)
    gateway.status = 403
    with pytest.raises(Permanent):
        get_of(gateway).check(STEP)
    gateway.status, gateway.state = 200, ["no object"]
    with pytest.raises(Permanent, match="did not answer with a JSON object"):
        get_of(gateway).check(STEP)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"endpoint": "deploy"}, "no endpoint 'deploy' that only reads is configured; known: gateway"),
        ({"endpoint": "gateway"}, "the endpoint 'gateway' takes model, the step gives nothing"),
        (STEP | {"path": "mode"}, "path and expect belong together"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(gateway: Gateway, step: dict[str, str], sentence: str) -> None:
    with pytest.raises(Permanent) as told:
        get_of(gateway).check(step)
    assert str(told.value).startswith(sentence)


@given(st.text() | st.from_regex(WANTED, fullmatch=True))
def test_lint_and_judgement_agree_on_what_an_expectation_is(expect: str) -> None:
    try:
        judged(1, expect)
    except Permanent:
        understood = False
    else:
        understood = True
    assert bool(WANTED.fullmatch(expect)) == understood


@pytest.mark.parametrize(
    ("value", "expect", "sample"),
    [
        ("3", "== 3", HOLDS),
        ("3", "> 2", INCONCLUSIVE),
        (3, "== three", INCONCLUSIVE),
        (3.0, "== 3", HOLDS),
        (float("nan"), "!= 3", INCONCLUSIVE),
        (True, "== true", HOLDS),
        (True, "== 1", FAILS),
        ("", "nonempty", INCONCLUSIVE),
        (None, "empty", HOLDS),
        (0, "empty", FAILS),
        (False, "nonempty", HOLDS),
        ({"a": 1}, "== a", INCONCLUSIVE),
    ],
)
def test_a_value_of_another_sort_proves_nothing(value: Any, expect: str, sample: Sample) -> None:
    assert judged(value, expect) is sample


BOOK = """---
runbook: 1
id: look
title: Look
owner: team-a
---
## Steps
### 1. Look
```yaml step
id: look
do: {do}
with: {{endpoint: {endpoint}, model: m{more}}}
{rest}
```
"""
ACT = "verify: {query: up, expect: '> 0', within: 5m}\nundo: {none: because}"


@pytest.mark.parametrize(
    ("do", "endpoint", "more", "rest", "fault"),
    [
        ("http.get", "reads", "", "", None),
        ("http.get", "reads", ", path: a.b, expect: == ready", "", None),
        ("http.get", "reads", ", path: a.b", "", "path and expect belong together"),
        ("http.get", "reads", ", path: a..b, expect: < 3", "", "'a..b' is not the path of a field"),
        ("http.get", "reads", ", path: a, expect: about 3", "", "'about 3' is not an expectation"),
        ("http.get", "reads", ", zone: eu", "", "the endpoint 'reads' has no use for 'zone'"),
        ("http.get", "writes", "", "", "the endpoint 'writes' changes something, and http.get only reads"),
        ("http.request", "reads", "", ACT, "the endpoint 'reads' only reads, so http.request has nothing to do with"),
        ("http.get", "reads", "", ACT, "http.get changes nothing, so 'undo' has no meaning here"),
    ],
)
def test_lint_knows_which_endpoints_read(do: str, endpoint: str, more: str, rest: str, fault: str | None) -> None:
    url = "https://gateway.internal/v1/{model}"
    endpoints = {
        name: Endpoint.from_toml(name, {"method": method, "url": url}, lambda _: None)[0]
        for name, method in (("reads", "GET"), ("writes", "POST"))
    }
    text = BOOK.format(do=do, endpoint=endpoint, more=more, rest=rest)
    faults = [wrong.message for wrong in check(text, "look.md", KINDS, {"endpoints": endpoints})[1]]  # type: ignore[dict-item]
    assert (faults == []) if fault is None else any(fault in wrong for wrong in faults), faults
