"""The tables `[endpoints.*]`: the documented example is read, and every fault is a sentence that says what to do."""

import tomllib
from datetime import date
from typing import Any

import pytest

from bot.incident.run import Risk
from bot.integrations.http import Endpoint, endpoint

SECRETS = {"DEPLOY_TOKEN": "canary-7f3a", "TORN": "ab\ncd"}
GOOD: dict[str, Any] = {
    "risk": "reversible",
    "url": "https://deploy.internal/v1/models/{model}/deploy",
    "json": {"revision": "{before.previous}"},
    "token_env": "DEPLOY_TOKEN",
    "observe": {"url": "https://deploy.internal/v1/models/{model}", "done": {"revision": "{before.previous}"}},
    "undo": {"json": {"revision": "{before.revision}"}},
}


def faults(changes: dict[str, Any]) -> list[str]:
    table = {key: value for key, value in (GOOD | changes).items() if value != "absent"}
    found, wrong = Endpoint.from_toml("model-deploy", table, SECRETS.get)
    assert (found is None) == bool(wrong)
    assert not any(secret in fault for fault in wrong for secret in SECRETS.values())
    return wrong


def test_the_example_in_the_documentation_is_a_good_endpoint() -> None:
    example = "\n".join(line for line in (endpoint.__doc__ or "").splitlines() if line.startswith("    "))
    table = tomllib.loads(example)["endpoints"]["model-deploy"]
    found, wrong = Endpoint.from_toml("model-deploy", table, SECRETS.get)
    assert wrong == []
    assert found is not None
    assert (found.risk, found.undoable, found.needs) == (Risk.REVERSIBLE, True, frozenset({"model"}))
    assert found.pinned == ("previous", "revision")


def test_an_endpoint_is_destructive_unless_it_says_otherwise() -> None:
    found, _ = Endpoint.from_toml("x", {"url": "http://h/x"}, SECRETS.get)
    assert found is not None
    assert (found.risk, found.method, found.undoable, found.timeout) == (Risk.DESTRUCTIVE, "POST", False, 5.0)


def test_the_token_is_not_shown() -> None:
    found, _ = Endpoint.from_toml("x", GOOD, SECRETS.get)
    assert found is not None
    assert found.token.reveal() == "canary-7f3a"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"url": "absent"}, "url: is missing; set it"),
        ({"url": "https://{model}/deploy"}, "url: a {name} may only be a whole part of the path"),
        ({"url": "https://deploy.internal/v1/m-{model}"}, "url: a {name} may only be a whole part of the path"),
        ({"url": "https://deploy.internal/v1?m=x-{model}"}, "url: a {name} may only be a whole part of the path"),
        ({"url": "https://deploy.internal/{before.revision}"}, "url: a {name} may only be a whole part of the path"),
        ({"url": "file:///etc/passwd"}, "url: must begin with https:// or http:// and a host"),
        ({"url": "https://user:pw@deploy.internal/x"}, "url: must not hold a password; use token"),
        ({"url": "https://deploy.internal:99999/x"}, "url: is not a URL; write https://host/path"),
        ({"url": "https://deploy.internal/a b"}, "url: holds a # or a character that must be percent-encoded"),
        ({"observe": {"url": "https://other.internal/x", "done": {"a": 1}}}, "observe.url: must have the scheme, host"),
        ({"undo": {"url": "http://deploy.internal/x"}}, "undo.url: must have the scheme, host and port of url"),
        ({"observe": "absent"}, "observe: is missing, but {before.…} is used; add observe"),
        ({"observe": {"url": "https://deploy.internal/x"}}, "observe.done: is missing; name the fields"),
        ({"observe": GOOD["observe"] | {"pin": "rolling"}}, "observe.pin: is 'rolling', but must be a list of texts"),
        ({"undo": "absent"}, "undo: is missing; add undo"),
        ({"risk": "read"}, "risk: is 'read', but must be one of reversible, destructive"),
        ({"url": "https://deploy.internal/v1?{model}=x"}, "url: a {name} may only be a whole part of the path"),
        ({"url": "https://deploy.internal/{path}"}, "url: must not use {path}, which is a key of the step itself"),
        ({"method": "HEAD"}, "method: is 'HEAD', but must be one of GET, POST, PUT, PATCH, DELETE"),
        ({"undo": {"method": "GET"}}, "undo.method: is 'GET', but must be one of POST, PUT, PATCH, DELETE"),
        ({"jsn": {}}, "jsn: is not a setting; did you mean json?"),
        ({"undo": {"jsno": {}}}, "undo.jsno: is not a setting; did you mean json?"),
        ({"json": "{}"}, "json: is '{}', but must be a table"),
        ({"json": {"a": ["{Model}"]}}, "json.a.0: holds a brace that is no placeholder"),
        ({"json": {"until": date(2026, 11, 21)}}, "json.until: is no JSON value; put it into quotes"),
        ({"json": {"ratio": float("nan")}}, "json.ratio: is no JSON value; put it into quotes"),
        ({"token_env": "sk-live-1234"}, "token_env: must be the name of an environment variable"),
        ({"token_env": "OTHER"}, "token_env: names OTHER, which is not set in the environment"),
        ({"token_env": "TORN"}, "token_env: names TORN, which holds a character that cannot be sent"),
        ({"timeout": "60s"}, "timeout: must be longer than nothing and at most 10s"),
        ({"timeout": 5}, "timeout: is 5, but must be a duration"),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_what_to_do(changes: dict[str, Any], fault: str) -> None:
    (found,) = faults(changes)
    assert found.startswith(fault)


def test_all_faults_come_at_once() -> None:
    assert len(faults({"risk": "none", "timeout": "0s", "token_env": "x", "metod": "POST"})) == 4


def test_an_endpoint_that_only_reads_takes_nothing_else() -> None:
    url = "https://deploy.internal/v1/models/{model}?zone={zone}"
    found, wrong = Endpoint.from_toml("x", {"method": "GET", "url": url, "token_env": "DEPLOY_TOKEN"}, SECRETS.get)
    assert wrong == []
    assert found is not None
    assert (found.risk, found.reads, found.undoable, found.needs) == (
        Risk.READ,
        True,
        False,
        frozenset({"model", "zone"}),
    )
    assert [fault.partition(" ")[0] for fault in faults({"method": "GET", "json": {}})] == [
        f"{key}:" for key in ("risk", "json", "observe", "undo")
    ]
