"""Loki and the clusters' own logs over the wire: what is asked, and what comes of every kind of answer."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.contracts import Container, Permanent, Transient
from bot.health.logs import ANY
from bot.integrations.kubernetes import PreviousLog, Target
from bot.integrations.loki import Loki, Settings
from tests.integrations.answering import Server, answering
from tests.servers import free_port

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
VLLM = Container("chat", "vllm-0", "vllm")
OOM = "torch.OutOfMemoryError: CUDA out of memory."


@pytest.fixture
def server() -> Iterator[Server]:
    with answering() as server:
        yield server


def loki(url: str, **keys: str) -> Loki:
    settings, faults = Settings.from_toml({"url": url, "timeout": "9s", **keys}, {"LOKI_TOKEN": "t0ken-of-loki"}.get)
    assert settings is not None, faults
    return Loki(settings, ANY, 20)


def test_lines_that_tell_are_asked_for_and_come_in_the_order_of_time(server: Server) -> None:
    server.says(
        {"stream": {"pod": "vllm-0"}, "values": [["1763694244000000000", "later"], ["1763694243000000000", OOM]]},
        {"stream": {"pod": "vllm-0", "stream": "stderr"}, "values": [["1763694243500000000", "between"]]},
    )
    assert list(loki(server.url).tail(VLLM, NOW)) == [OOM, "between", "later"]
    ((path, _),) = server.asked
    asked = parse_qs(urlsplit(path).query)
    assert urlsplit(path).path == "/loki/api/v1/query_range"
    assert asked["query"] == [f'{{namespace="chat",pod="vllm-0"}} |~ `{ANY}`']
    assert asked["direction"] == ["backward"]
    assert asked["limit"] == ["20"]
    assert asked["end"] == [f"{int(NOW.timestamp())}000000000"]
    assert int(asked["end"][0]) - int(asked["start"][0]) == 20 * 60 * 10**9


def test_token_and_tenant_go_along(server: Server) -> None:
    server.says({"stream": {}, "values": [["1763694243000000000", OOM]]})
    assert list(loki(server.url, token_env="LOKI_TOKEN", org_id="team-a").tail(VLLM, NOW)) == [OOM]
    ((_, headers),) = server.asked
    assert headers["authorization"] == "Bearer t0ken-of-loki"
    assert headers["x-scope-orgid"] == "team-a"


def test_a_selector_of_ones_own_gets_the_names_quoted(server: Server) -> None:
    server.says({"stream": {}, "values": [["1763694243000000000", OOM]]})
    loki(server.url, query='{k8s_pod="{{ pod }}",c="{{ container }}"}').tail(Container("n", 'a"b\\', "vllm"), NOW)
    ((path, _),) = server.asked
    assert parse_qs(urlsplit(path).query)["query"][0].startswith('{k8s_pod="a\\"b\\\\",c="vllm"}')


def test_where_no_line_tells_the_last_of_all_shows_that_there_is_a_log(server: Server) -> None:
    server.earlier = [b'{"data": {"result": []}}']
    server.says({"stream": {}, "values": [["1763694243000000000", "INFO serving"]]})
    assert list(loki(server.url).tail(VLLM, NOW)) == ["INFO serving"]
    (_, (path, _)) = server.asked
    asked = parse_qs(urlsplit(path).query)
    assert (asked["query"], asked["limit"]) == (['{namespace="chat",pod="vllm-0"}'], ["1"])


def test_a_selector_that_fits_nothing_is_no_quiet_log(server: Server) -> None:
    server.says()
    with pytest.raises(Permanent, match=r"Loki has no line of chat/vllm-0 in the last 20 min; see whether loki\.query"):
        loki(server.url).tail(VLLM, NOW)


@pytest.mark.parametrize(
    ("status", "answer", "failure"),
    [
        (500, b"{}", Transient),
        (429, b"{}", Transient),
        (400, b"parse error : syntax error", Permanent),
        (401, b"no org id", Permanent),
        (200, b"<html>Sign in</html>", Permanent),
        (200, b'{"data": {"result": [{"values": [["x", "y"]]}]}}', Permanent),
        (200, b'{"status": "success"}', Permanent),
        (200, b'{"data": {"result": [{"values": [[1]]}]}}', Permanent),
        (200, b"[" + b" " * 600_000 + b"]", Permanent),
    ],
)
def test_whatever_else_comes_is_a_failure_in_words(
    server: Server, status: int, answer: bytes, failure: type[Exception]
) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(failure, match=r"Loki"):
        loki(server.url, token_env="LOKI_TOKEN").tail(VLLM, NOW)


def test_a_loki_that_is_away_is_a_failure_that_passes() -> None:
    with pytest.raises(Transient, match=r"Loki .* cannot be reached"):
        loki(f"http://127.0.0.1:{free_port()}").tail(VLLM, NOW)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "loki.url: is missing"),
        ({"url": "http://bot:pass@loki"}, "loki.url: must hold neither a password"),
        ({"url": "http://loki", "query": "pod=vllm"}, "loki.query: must begin with a selector"),
        ({"url": "http://loki", "query": '{pod="{{ pots }}"}'}, "loki.query: must begin with a selector"),
        ({"url": "http://loki", "tenant": "a"}, "loki.tenant: is not a setting"),
        ({"url": "http://loki", "token_env": "LOKI"}, "loki.token_env: names LOKI, which is not set"),
    ],
)
def test_a_faulty_table_says_what_to_do(keys: dict[str, str], why: str) -> None:
    settings, faults = Settings.from_toml(keys, lambda _: None)
    assert settings is None
    assert why in "; ".join(faults)


def cluster(server: Server, *namespaces: str) -> PreviousLog:
    table = {"server": server.url, "token_env": "TOKEN", "namespaces": list(namespaces)}
    target, faults = Target.from_toml("prod", table, {"TOKEN": "t0ken-of-prod"}.get)
    assert target is not None, faults
    return PreviousLog.over([target], 2)


def test_the_cluster_gives_the_end_of_the_container_before(server: Server) -> None:
    server.answer, server.kind = f"starting\n{OOM}\n".encode(), "text/plain"
    assert list(cluster(server, "chat").tail(VLLM, NOW)) == ["starting", OOM]
    ((path, headers),) = server.asked
    assert urlsplit(path).path == "/api/v1/namespaces/chat/pods/vllm-0/log"
    asked = parse_qs(urlsplit(path).query)
    assert (asked["previous"], asked["tailLines"], asked["container"]) == (["true"], ["50"], ["vllm"])
    assert headers["authorization"] == "Bearer t0ken-of-prod"


def test_of_long_lines_the_end_is_kept(server: Server) -> None:
    server.answer, server.kind = "\n".join(["x" * 8192] * 49 + [OOM]).encode(), "text/plain"
    lines = cluster(server, "chat").tail(VLLM, NOW)
    assert lines[-1] == OOM
    assert sum(len(line) + 1 for line in lines) <= 64 * 1024 + 1
    ((path, _),) = server.asked
    assert "limitBytes" not in path, "it would cut the end off"


def test_a_container_that_never_ended_has_no_such_log(server: Server) -> None:
    server.status = 400
    server.answer = json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": 'previous terminated container "vllm" in pod "vllm-0" not found',
            "reason": "BadRequest",
            "code": 400,
        }
    ).encode()
    with pytest.raises(Permanent, match="previous terminated container"):
        cluster(server, "chat").tail(VLLM, NOW)


def test_a_namespace_that_no_cluster_is_configured_for_is_left_alone(server: Server) -> None:
    with pytest.raises(Permanent, match="no cluster is configured for the namespace chat"):
        cluster(server, "search").tail(VLLM, NOW)
    assert server.asked == []
