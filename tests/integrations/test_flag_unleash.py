"""`flag.set` on Unleash: a real one in `make test-unleash`, in `make test` the exchanges recorded there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bot.contracts import Observed, Permanent, Plan, Transient
from bot.incident.run import Risk
from bot.integrations.flags import Set, Target
from tests.integrations.unleash import INSTALLED, TOKEN, Between, between, real
from tests.servers import drip, raw_server

FEATURES = "/api/admin/projects/default/features"
FLAG = "serve-from-cache"


def target_at(address: str, **changes: Any) -> Target:
    table = {
        "kind": "unleash",
        "url": address,
        "environment": "production",
        "token_env": "UNLEASH_TOKEN",
        "flags": [FLAG, "gone", "a/b ü"],
        "timeout": "5s",
    } | changes
    target, faults = Target.from_toml("shop", table, {"UNLEASH_TOKEN": TOKEN, "WRONG": "*:*.wrong"}.get)
    assert faults == []
    assert target is not None
    return target


@dataclass
class World:
    """An Unleash with a flag in it, somebody else at its controls, and the step kind."""

    unleash: Between
    act: Set

    @property
    def step(self) -> dict[str, str]:
        return {"target": "shop", "flag": FLAG, "variant": "on"}

    def enabled(self) -> bool:
        return bool(self.unleash.call("GET", f"{FEATURES}/{FLAG}/environments/production")["enabled"])

    def switch(self, variant: str) -> None:
        self.unleash.call("POST", f"{FEATURES}/{FLAG}/environments/production/{variant}")


@pytest.fixture(scope="module")
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server's address; empty where its recorded words stand in for it."""
    if not INSTALLED:
        yield ""
        return
    with real(request.getfixturevalue("postgres"), tmp_path_factory.mktemp("unleash")) as address:
        yield address


@pytest.fixture
def world(behind: str, request: pytest.FixtureRequest) -> Iterator[World]:
    with between(behind, request.node.name) as unleash:
        unleash.call("POST", FEATURES, {"name": FLAG, "type": "kill-switch"})
        yield World(unleash, Set({"shop": target_at(unleash.address)}))
        if behind:
            unleash.behind, kept = behind, list(unleash.told)
            unleash.call("DELETE", f"{FEATURES}/{FLAG}")
            unleash.call("POST", "/api/admin/projects/default/delete", {"features": [FLAG]})
            unleash.told[:] = kept


def stored(plan: Plan) -> Plan:
    """As it comes back from the journal."""
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


def test_a_flag_is_switched_read_back_and_switched_back(world: World) -> None:
    plan = stored(world.act.plan(world.step))
    assert plan.lines[0] == f"{FLAG}: off → on"
    assert plan.lines[1].startswith("in production of default at shop (127.0.0.1:")
    assert (plan.risk, plan.undo) == (Risk.REVERSIBLE, f"{FLAG} back to off")
    assert plan.warnings == ("it has no strategy here: switched on it gets Unleash's default one, for good",)
    assert world.enabled() is False
    assert world.act.observe(plan) is Observed.NOT_DONE
    world.act.apply(plan, "k")
    assert world.enabled() is True
    assert world.act.observe(plan) is Observed.DONE
    world.act.undo(plan, "u")
    assert world.enabled() is False
    world.act.undo(plan, "u")
    assert world.act.plan(world.step).warnings == ("it has strategies: on holds for whom they match",)


def test_what_is_so_already_is_said_and_nothing_is_sent(world: World) -> None:
    world.switch("on")
    plan = world.act.plan(world.step)
    assert plan.warnings[0] == "it is so already: nothing will be written"
    sent = len(world.unleash.told)
    world.act.apply(plan, "k")
    asked = [method for method, *_ in world.unleash.told[sent:]] if world.unleash.behind else ["GET"]
    assert asked == ["GET"]


def test_what_somebody_else_did_meanwhile_counts(world: World) -> None:
    plan = world.act.plan(world.step)
    world.switch("on")
    world.act.apply(plan, "k")
    world.switch("off")
    assert world.act.observe(plan) is Observed.NOT_DONE
    world.act.undo(plan, "u")
    assert world.enabled() is False


@pytest.mark.parametrize(
    ("changes", "args", "sentence"),
    [
        ({}, {"flag": "gone"}, '404: There\'s no feature named "gone" in project "default"'),
        ({"environment": "night"}, {}, f"404: Could not find {FLAG} in night"),
        ({"project": "other"}, {}, "404: There's no feature named"),
        ({"token_env": "WRONG"}, {}, "401: You must log in to use Unleash"),
        ({}, {"flag": "a/b ü"}, '404: There\'s no feature named "a/b ü"'),
        ({}, {"variant": "blue"}, "has no variant 'blue'; it has off, on"),
    ],
    ids=["flag", "environment", "project", "token", "escaped", "variant"],
)
def test_what_unleash_does_not_know_is_a_sentence(
    world: World, changes: dict[str, str], args: dict[str, str], sentence: str
) -> None:
    act = Set({"shop": target_at(world.unleash.address, **changes)})
    with pytest.raises(Permanent) as told:
        act.plan(world.step | args)
    assert sentence in str(told.value)
    assert "canary" not in str(told.value)


def test_a_flag_that_is_not_listed_is_never_asked_for(world: World) -> None:
    with pytest.raises(Permanent, match="'shop' does not let 'other' be switched"):
        world.act.plan(world.step | {"flag": "other"})


def test_a_target_that_has_moved_is_not_switched(world: World) -> None:
    plan = world.act.plan(world.step)
    moved = Set({"shop": target_at(world.unleash.address, environment="development")})
    with pytest.raises(Permanent, match="the target 'shop' has moved since the preview; preview again"):
        moved.apply(plan, "k")


# --- one that does not do as it says


def answering(enabled: Any) -> Iterator[Set]:
    body = json.dumps({"enabled": enabled, "strategies": []}).encode()

    def talk(connection: Any) -> None:
        asked = connection.recv(65_536)
        answer = b"" if asked.startswith(b"POST") else body
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    with raw_server(talk) as port:
        yield Set({"shop": target_at(f"http://127.0.0.1:{port}")})


def test_a_yes_after_which_nothing_has_changed_is_no_success() -> None:
    for act in answering(enabled=False):
        plan = act.plan({"target": "shop", "flag": FLAG, "variant": "on"})
        with pytest.raises(Permanent, match=f"was told to switch {FLAG} on, but it is off") as told:
            act.apply(plan, "k")
        assert told.value.ambiguous, "it said yes"


def test_something_else_than_unleash_is_a_sentence() -> None:
    for act in answering(enabled="yes"):
        with pytest.raises(Permanent, match="does not answer like Unleash's admin API"):
            act.plan({"target": "shop", "flag": FLAG, "variant": "on"})


def test_one_that_is_gone_or_slow_is_tried_again() -> None:
    with raw_server(drip) as port:
        act = Set({"shop": target_at(f"http://127.0.0.1:{port}", timeout="1s")})
        with pytest.raises(Transient):
            act.plan({"target": "shop", "flag": FLAG, "variant": "on"})
    with pytest.raises(Transient):
        act.plan({"target": "shop", "flag": FLAG, "variant": "on"})


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"url": "absent"}, "url: is missing; set it"),
        ({"url": "https://me:pw@unleash.internal"}, "url: must hold neither a password nor a query"),
        ({"environment": "absent"}, "environment: is missing; set it"),
        ({"token_env": "absent"}, "token_env: is missing; name an environment variable"),
        ({"token_env": "UNSET"}, "token_env: names UNSET, which is not set"),
        ({"flags": []}, "flags: is missing; name what may be switched"),
        ({"kind": "launch"}, "kind: is 'launch', but must be one of file, unleash"),
        ({"timeout": "20s"}, "timeout: must be longer than nothing and at most 10s"),
        ({"file": "/etc/flags.json"}, "file: is not a setting"),
    ],
)
def test_a_fault_names_its_key_and_what_to_do(changes: dict[str, Any], fault: str) -> None:
    good = {
        "kind": "unleash",
        "url": "https://unleash.internal/shop",
        "environment": "production",
        "token_env": "UNLEASH_TOKEN",
        "flags": [FLAG],
    }
    table = {key: value for key, value in (good | changes).items() if value != "absent"}
    target, faults = Target.from_toml("shop", table, {"UNLEASH_TOKEN": TOKEN}.get)
    assert target is None
    assert any(found.startswith(fault) for found in faults), faults
