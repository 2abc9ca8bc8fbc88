"""`redis.set` against a real Redis on the loopback."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.contracts import Observed, Permanent, Plan, Transient
from bot.incident.run import Risk
from bot.integrations.redis import Set, Target
from bot.runbook.kinds import KINDS
from bot.runbook.shelf import check
from tests.clocked import by_the_clock
from tests.servers import certificate_in, drip, free_port, program, raw_server, running

PASSWORD = "canary-7f3a"
STEP = {"target": "answers", "key": "fallback:llama-70b", "value": "on"}
KEY = STEP["key"]


def target_at(port: int, **changes: Any) -> Target:
    table = {
        "url": f"redis://127.0.0.1:{port}/3",
        "user": "fixfirst",
        "password_env": "CACHE_PASSWORD",
        "prefixes": ["fallback:", "shed:"],
        "timeout": "9s",
    } | changes
    target, faults = Target.from_toml("answers", table, {"CACHE_PASSWORD": PASSWORD}.get)
    assert faults == []
    assert target is not None
    return target


@dataclass
class World:
    """A Redis with the bot's account in it, somebody else's client, and the step kind."""

    port: int
    client: Any
    act: Set


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    redis_server = program("redis-server", "redis-server")
    may = "+eval +get +set +del +type +time +pttl +pexpire +pexpireat +select"
    settings = folder / "redis.conf"
    settings.write_text(
        f'bind 127.0.0.1\nport {port}\ndir {folder}\nsave ""\nuser default on nopass ~* &* +@all\n'
        f"user fixfirst on >{PASSWORD} ~fallback:* ~shed:* {may}\n"
    )
    with running([redis_server, str(settings)], port, folder / "log"):
        yield port


@pytest.fixture
def world(server: int) -> Iterator[World]:
    import redis

    client = redis.Redis("127.0.0.1", server, db=3, decode_responses=True)
    client.flushall()
    yield World(server, client, Set({"answers": target_at(server)}))
    client.close()


def stored(plan: Plan) -> Plan:
    """As it comes back from the journal."""
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


def test_the_preview_says_from_what_to_what_and_changes_nothing(world: World) -> None:
    world.client.set(KEY, "off", px=90_000_000)
    plan = world.act.plan(STEP | {"ttl": "30m"})
    where = f"on answers (127.0.0.1:{world.port})"
    assert plan.lines == (f"{KEY}: 'off' → 'on'", "expires: in 25 h 00 min → in 30 min", where) or plan.lines == (
        f"{KEY}: 'off' → 'on'",
        "expires: in 24 h 59 min → in 30 min",
        where,
    )
    assert plan.risk is Risk.REVERSIBLE
    assert plan.undo is not None
    assert plan.undo.startswith("back to 'off' until 20")
    assert world.client.get(KEY) == "off"


def test_it_is_set_seen_and_put_back_with_the_end_it_had(world: World) -> None:
    world.client.set(KEY, "off", px=90_000_000)
    ended = world.client.pexpiretime(KEY)
    plan = stored(world.act.plan(STEP | {"ttl": "30m"}))
    assert world.act.observe(plan) is Observed.NOT_DONE
    world.act.apply(plan, "run-1:fallback:1")
    assert world.client.get(KEY) == "on"
    assert 1_790_000 < world.client.pttl(KEY) <= 1_800_000
    assert world.act.observe(plan) is Observed.DONE
    world.act.undo(plan, "run-1:fallback:undo:1")
    assert world.client.get(KEY) == "off"
    assert abs(world.client.pexpiretime(KEY) - ended) <= 1000


def test_a_key_that_was_not_there_is_removed_again(world: World) -> None:
    plan = stored(world.act.plan(STEP))
    assert plan.lines[:2] == (f"{KEY}: not there → 'on'", "expires: never")
    assert plan.undo == "removes the key again"
    world.act.apply(plan, "k")
    assert (world.client.get(KEY), world.client.ttl(KEY)) == ("on", -1)
    world.act.undo(plan, "u")
    world.act.undo(plan, "u")
    assert world.client.exists(KEY) == 0


def test_a_second_apply_with_the_same_key_does_nothing_twice(world: World) -> None:
    plan = world.act.plan(STEP | {"ttl": "30m"})
    world.act.apply(plan, "k")
    ends = world.client.pexpiretime(KEY)
    world.act.apply(plan, "k")
    assert world.client.pexpiretime(KEY) == ends


def test_setting_the_same_value_anew_gives_it_a_new_end_and_takes_it_back(world: World) -> None:
    world.client.set(KEY, "on", px=60_000)
    ended = world.client.pexpiretime(KEY)
    plan = world.act.plan(STEP | {"ttl": "30m"})
    assert plan.warnings == ()
    assert world.act.observe(plan) is Observed.NOT_DONE
    world.act.apply(plan, "k")
    assert world.act.observe(plan) is Observed.DONE
    assert world.client.pttl(KEY) > 1_700_000
    world.act.undo(plan, "u")
    assert abs(world.client.pexpiretime(KEY) - ended) <= 1000


def test_what_is_so_already_is_said_and_left_alone(world: World) -> None:
    world.client.set(KEY, "on")
    plan = world.act.plan(STEP)
    assert plan.warnings == ("it is so already: nothing will be sent",)
    world.act.apply(plan, "k")
    world.act.undo(plan, "u")
    assert world.client.get(KEY) == "on"


def other_value(world: World) -> None:
    world.client.set(KEY, "auto")


def other_end(world: World) -> None:
    world.client.set(KEY, "off", px=600_000)


def gone(world: World) -> None:
    world.client.delete(KEY)


@pytest.mark.parametrize(
    ("somebody", "words"),
    [
        (other_value, "was 'off', is 'auto'"),
        (other_end, "was 'off', is 'off' until"),
        (gone, "was 'off', is not there"),
    ],
)
def test_a_plan_is_refused_when_the_world_has_moved(world: World, somebody: Any, words: str) -> None:
    world.client.set(KEY, "off")
    plan = world.act.plan(STEP)
    somebody(world)
    with pytest.raises(Permanent, match=f"changed since the preview: {KEY} {words}.*; preview again"):
        world.act.apply(plan, "k")
    assert world.client.get(KEY) != "on"
    assert world.act.observe(plan) is Observed.UNKNOWN


@pytest.mark.parametrize("somebody", [other_value, other_end, gone])
def test_undo_leaves_alone_what_somebody_else_has_set_meanwhile(world: World, somebody: Any) -> None:
    world.client.set(KEY, "before")
    plan = world.act.plan(STEP)
    world.act.apply(plan, "k")
    somebody(world)
    now = world.client.get(KEY)
    with pytest.raises(Permanent, match="which this step did not set; look before undoing"):
        world.act.undo(plan, "u")
    assert world.client.get(KEY) == now


def test_the_old_value_comes_back_also_after_ours_ran_out_by_itself(world: World) -> None:
    world.client.set(KEY, "off")
    plan = world.act.plan(STEP | {"ttl": "30m"})
    world.act.apply(plan, "k")
    world.client.delete(KEY)  # as running out does
    world.act.undo(plan, "u")
    assert (world.client.get(KEY), world.client.ttl(KEY)) == ("off", -1)


def test_an_old_value_whose_end_has_passed_does_not_come_back(world: World) -> None:
    world.client.set(KEY, "off", px=600_000)
    plan = world.act.plan(STEP)
    world.act.apply(plan, "k")
    passed = replace(plan, before={"value": "off", "expires": int(time.time() * 1000) - 1})
    world.act.undo(passed, "u")
    world.act.undo(passed, "u")
    assert world.client.exists(KEY) == 0


def test_no_secret_gets_into_a_plan(world: World) -> None:
    plan = world.act.plan(STEP)
    assert PASSWORD not in json.dumps([plan.lines, dict(plan.request), dict(plan.before), plan.undo])
    assert PASSWORD not in repr(world.act.__dict__)
    world.client.set(KEY, "https://gateway/?token=canary-1234")
    with pytest.raises(Permanent, match=f"what stands under {KEY} looks like a secret") as refused:
        world.act.plan(STEP)
    assert "canary" not in str(refused.value)
    with pytest.raises(Permanent, match="the value to set looks like a secret"):
        world.act.plan(STEP | {"key": "fallback:other", "value": "https://gateway/?token=canary-1234"})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("secrets:llama", "takes only keys that begin with fallback: or shed:"),
        ("fallback:", "takes only keys that begin with"),
        ("xfallback:a", "takes only keys that begin with"),
        ("fallback:a\r\nFLUSHALL", "the key cannot be"),
        ("fallback:" + "a" * 600, "the key cannot be"),
    ],
)
def test_a_key_outside_the_prefixes_is_refused(world: World, key: str, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        world.act.plan(STEP | {"key": key})


def test_a_configuration_that_no_longer_allows_the_key_is_obeyed(world: World) -> None:
    plan = world.act.plan(STEP)
    with pytest.raises(Permanent, match="takes only keys that begin with shed:"):
        Set({"answers": target_at(world.port, prefixes=["shed:"])}).apply(plan, "k")
    with pytest.raises(Permanent, match="has moved since the preview"):
        Set({"answers": target_at(free_port())}).apply(plan, "k")
    with pytest.raises(Permanent, match="no target 'answers' is configured under \\[redis\\]; known: none"):
        Set({}).apply(plan, "k")


@settings(deadline=None)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
@example("a\r\nCONFIG SET dir /\r\n", "on\r\nFLUSHALL\r\n")
@example("{x} * ? [a-z]", "$-1\r\n")
def test_whatever_the_values_hold_one_key_is_set_and_no_other(server: int, rest: str, value: str) -> None:
    import redis

    client = redis.Redis("127.0.0.1", server, db=3, decode_responses=True)
    try:
        client.flushdb()
        act = Set({"answers": target_at(server)})
        try:
            act.apply(act.plan({"target": "answers", "key": f"fallback:{rest}", "value": value}), "k")
        except (Permanent, UnicodeEncodeError):
            assert client.keys() == []
            return
        assert client.keys() == [f"fallback:{rest}"]
        assert client.get(f"fallback:{rest}") == value
    finally:
        client.close()


RUNBOOK = """\
---
runbook: 1
id: fallback
title: Answer from the cache
owner: team-a
params:
  model: {from: alert.labels.model, type: label_value}
---
## Steps
### 1. Turn it on
```yaml step
id: on
do: redis.set
with: {target: answers, key: "fallback:{{ model }}", value: "on", ttl: 30m}
undo: auto
lease: 30m
verify: {query: 'up', expect: "> 0", within: 5m}
```
"""


PREFIXES = "'answers' takes only keys that begin with fallback: or shed:"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        (
            "fallback:{{ model }}",
            "{{ model }}:fallback",
            "'answers' takes only keys that begin with fallback: or shed:",
        ),
        ("fallback:{{ model }}", "fall{{ model }}", PREFIXES),
        ("fallback:{{ model }}", "fallback:", PREFIXES),
        ("target: answers", 'target: "{{ model }}"', "the target is fixed: no value may choose it"),
        ("target: answers", "target: answer", "no target 'answer' is configured; did you mean 'answers'?"),
        ("ttl: 30m", "ttl: soon", "'soon' is not a duration: write 90s, 30m or 1h30m"),
        ("ttl: 30m", "tttl: 30m", "redis.set does not take 'tttl'; did you mean 'ttl'?"),
    ],
)
def test_the_linter_knows_the_kind_and_its_targets(old: str, new: str, message: str) -> None:
    targets = {"redis": {"answers": target_at(1)}}
    _, faults = check(RUNBOOK.replace(old, new), "fallback.md", KINDS, targets)
    assert [fault.message for fault in faults] == ([f"step 'on': {message}"] if message else [])


# --- what cannot be put back is left alone


def test_a_list_is_left_alone(world: World) -> None:
    world.client.rpush(KEY, "a")
    with pytest.raises(Permanent, match=f"{KEY} is a list, not a string; it is left alone"):
        world.act.plan(STEP)


def test_bytes_and_long_values_are_left_alone(world: World) -> None:
    world.client.set(KEY, b"\xff\xfe")
    with pytest.raises(Permanent, match="holds bytes that are no text"):
        world.act.plan(STEP)
    world.client.set(KEY, "x" * 5000)
    with pytest.raises(Permanent, match="holds more than 4096 characters"):
        world.act.plan(STEP)


# --- a server that is not as it should be


def test_a_closed_port_is_transient_and_nothing_was_done() -> None:
    act = Set({"answers": target_at(free_port())})
    with pytest.raises(Transient, match="cannot be reached") as failed:
        act.plan(STEP)
    assert not failed.value.ambiguous


def test_a_wrong_password_is_for_a_person(server: int) -> None:
    target, _ = Target.from_toml(
        "answers",
        {"url": f"redis://127.0.0.1:{server}", "prefixes": ["fallback:"], "password_env": "P"},
        lambda _: "x y",
    )
    assert target is not None
    with pytest.raises(Permanent, match="refuses the name or the password"):
        Set({"answers": replace(target, user="fixfirst")}).plan(STEP)


def test_what_the_account_may_not_do_is_for_a_person(world: World) -> None:
    world.client.execute_command("ACL", "SETUSER", "fixfirst", "-set")
    try:
        plan = world.act.plan(STEP)
        with pytest.raises(Permanent, match="refuses: "):
            world.act.apply(plan, "k")
    finally:
        world.client.execute_command("ACL", "SETUSER", "fixfirst", "+set")


def test_a_full_server_is_tried_again_later(world: World) -> None:
    plan = world.act.plan(STEP)
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Transient, match="refuses for now") as failed:
            world.act.apply(plan, "k")
    finally:
        world.client.config_set("maxmemory", "0")
    assert not failed.value.ambiguous
    assert world.act.observe(plan) is Observed.NOT_DONE


def refuse_http(connection: Any) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>")


def fall_silent(connection: Any) -> None:
    connection.recv(65_536)
    connection.settimeout(5)
    while connection.recv(65_536):
        """until the client goes"""


def nonsense(connection: Any) -> None:
    while connection.recv(65_536):
        connection.sendall(b"+OK\r\n" * 4)


@pytest.mark.parametrize(
    ("talk", "kind", "words"),
    [
        (refuse_http, Permanent, "does not answer like Redis"),
        (nonsense, Permanent, "does not answer like Redis"),
        (fall_silent, Transient, "no answer in 1 s|cannot be reached, or hung up"),
        (drip, Transient, "no answer in 1 s|cannot be reached, or hung up"),
        (lambda _: None, Transient, "cannot be reached, or hung up"),
    ],
)
@by_the_clock
def test_another_side_that_is_no_redis_or_slow_ends_in_a_sentence(
    talk: Callable[[Any], None], kind: type[Exception], words: str
) -> None:
    with raw_server(talk) as port:
        act = Set({"answers": target_at(port, timeout="1s")})
        began = time.monotonic()
        with pytest.raises(kind, match=words):
            act.plan(STEP)
    assert time.monotonic() - began < 1.6


class Proxy:
    """Stands before a server and can hang up in place of its answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.mute_from = 10**9
        self.babbles_from = 10**9
        self.heard = 0
        self.between: Callable[[], Any] = int

    def __call__(self, connection: Any) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", self.port)) as server:
            while request := connection.recv(65_536):
                self.heard += request.count(b"EVAL")
                if self.heard == 2:
                    self.between()
                server.sendall(request)
                answer = server.recv(65_536)
                if self.heard >= self.mute_from:
                    return
                connection.sendall(b"HTTP/1.1 400\r\n" if self.heard >= self.babbles_from else answer)


Failure = TypeVar("Failure", Permanent, Transient)


def fails_through(proxy: Proxy, plan: Plan, kind: type[Failure], words: str) -> bool:
    """Carries the plan out through the proxy, in vain; whether that is said to be ambiguous."""
    with raw_server(proxy) as port:
        act = Set({"answers": replace(target_at(port), url=f"redis://127.0.0.1:{port}/3")})
        through = replace(plan, request={**plan.request, "url": f"redis://127.0.0.1:{port}/3"})
        with pytest.raises(kind, match=words) as failed:
            act.apply(through, "k")
    return failed.value.ambiguous


def test_an_answer_that_is_lost_is_ambiguous_and_a_look_tells(world: World) -> None:
    plan = world.act.plan(STEP)
    proxy = Proxy(world.port)
    proxy.mute_from = 2  # the look is answered, the change is not
    assert fails_through(proxy, plan, Transient, "cannot be reached, or hung up")
    assert world.act.observe(plan) is Observed.DONE
    world.act.apply(plan, "k")
    assert world.client.get(KEY) == "on"


def test_a_change_that_is_answered_strangely_may_have_happened(world: World) -> None:
    plan = world.act.plan(STEP)
    proxy = Proxy(world.port)
    proxy.babbles_from = 2
    assert fails_through(proxy, plan, Permanent, "does not answer like Redis")
    assert world.act.observe(plan) is Observed.DONE


def test_what_somebody_sets_between_our_look_and_our_change_stays(world: World) -> None:
    proxy = Proxy(world.port)
    proxy.between = lambda: other_value(world)
    with raw_server(proxy) as port:
        racing = Set({"answers": target_at(port)})
        plan = world.act.plan(STEP)
        through = replace(plan, request={**plan.request, "url": f"redis://127.0.0.1:{port}/3"})
        with pytest.raises(Permanent, match="was changed by somebody else at this very moment; preview again"):
            racing.apply(through, "k")
    assert world.client.get(KEY) == "auto"


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A Redis that speaks nothing but TLS; its port and its certificate."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis-tls")
    redis_server, both = program("redis-server", "redis-server"), certificate_in(folder)
    settings = folder / "redis.conf"
    settings.write_text(
        f'bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients no\ndir {folder}\nsave ""\n'
        f"tls-cert-file {both}\ntls-key-file {both}\nuser fixfirst on >{PASSWORD} ~* +@all\n"
    )
    with running([redis_server, str(settings)], port, folder / "log"):
        yield port, both.with_suffix(".crt")


def test_over_tls_it_is_set_seen_and_put_back(behind_tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    port, certificate = behind_tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    act = Set({"answers": target_at(port, url=f"rediss://127.0.0.1:{port}/3")})
    plan = stored(act.plan(STEP | {"ttl": "30m"}))
    assert plan.lines[0] == f"{KEY}: not there → 'on'"
    act.apply(plan, "k")
    assert act.observe(plan) is Observed.DONE
    act.undo(plan, "u")
    assert act.observe(plan) is Observed.NOT_DONE


def test_a_certificate_that_nobody_vouches_for_is_refused_and_nothing_is_said_to_it(
    behind_tls: tuple[int, Path],
) -> None:
    act = Set({"answers": target_at(behind_tls[0], url=f"rediss://127.0.0.1:{behind_tls[0]}/3")})
    with pytest.raises(Permanent, match="its certificate is not trusted: self-signed certificate"):
        act.plan(STEP)


def test_a_certificate_for_somebody_else_is_refused(
    behind_tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, certificate = behind_tls
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    act = Set({"answers": target_at(port, url=f"rediss://localhost:{port}/3")})
    with pytest.raises(Permanent, match=r"its certificate is not trusted: .*not valid for 'localhost'"):
        act.plan(STEP)


def test_the_password_is_never_sent_in_the_open_to_a_server_that_wants_tls(behind_tls: tuple[int, Path]) -> None:
    act = Set({"answers": target_at(behind_tls[0], url=f"redis://127.0.0.1:{behind_tls[0]}/3")})
    with pytest.raises((Transient, Permanent)) as told:
        act.plan(STEP)
    assert PASSWORD not in str(told.value)


def test_one_that_drips_through_the_greeting_of_tls_is_cut_off_in_time() -> None:
    with raw_server(drip) as port:
        act = Set({"answers": target_at(port, url=f"rediss://127.0.0.1:{port}/3", timeout="1s")})
        began = time.monotonic()
        with pytest.raises((Transient, Permanent)):
            act.plan(STEP)
        assert time.monotonic() - began < 5
