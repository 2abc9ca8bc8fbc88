"""Measuring: what each answer means, against a real Prometheus; and what the wire does to us, against a stub."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.contracts import Permanent, Transient
from bot.incident.expect import EXPECT
from bot.incident.run import Sample
from bot.integrations import prometheus
from bot.integrations.prometheus import Prometheus, Settings, judge
from bot.runbook import promql
from bot.settings import Secret
from tests.servers import Answering, drip, free_port, http_server, raw_server

HOLDS, FAILS, INCONCLUSIVE = Sample.HOLDS, Sample.FAILS, Sample.INCONCLUSIVE
TWO = 'label_replace(vector(1), "a", "x", "", "") or label_replace(vector(5), "a", "y", "", "")'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that scrapes nothing; its address."""
    binary = shutil.which("prometheus")
    if binary is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Prometheus is not installed: apt-get install prometheus")
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    home = tmp_path_factory.mktemp("prometheus")
    (home / "prometheus.yml").write_text("{}")
    port = free_port()
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={home}/prometheus.yml",
                f"--storage.tsdb.path={home}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(address, process, home / "log")
            yield address
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    pause = threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{address}/-/ready", timeout=1):
                return
        except (URLError, OSError):
            pause.wait(0.05)
    pytest.fail(f"Prometheus did not start:\n{log.read_text()}")


@pytest.mark.parametrize(
    ("query", "expect", "sample", "shown"),
    [
        ("vector(0.083)", "< 0.01", FAILS, "0.083 (want < 0.01)"),
        ("vector(0.004)", "< 0.01", HOLDS, "0.004 (want < 0.01)"),
        ("2 * 2", "== 4", HOLDS, "4 (want == 4)"),
        (TWO, "< 3", FAILS, "5, the worst of 2 (want < 3)"),
        (TWO, "< 6", HOLDS, "5, the worst of 2 (want < 6)"),
        (TWO, ">= -1", HOLDS, "1, the worst of 2 (want >= -1)"),
        ("up", "< 0.01", INCONCLUSIVE, "no data (want < 0.01)"),
        ("vector(0) / vector(0)", "< 0.01", INCONCLUSIVE, "NaN (want < 0.01)"),
        ("vector(1) / vector(0)", "< 0.01", FAILS, "inf (want < 0.01)"),
        ("up", "empty", HOLDS, "0 series (want empty)"),
        ("vector(1)", "empty", FAILS, "1 series (want empty)"),
        ("up", "nonempty", INCONCLUSIVE, "0 series (want nonempty)"),
        ("vector(1)", "nonempty", HOLDS, "1 series (want nonempty)"),
        ("up[5m]", "empty", HOLDS, "0 series (want empty)"),
        ('"text"', "> 0", INCONCLUSIVE, "not one number for each series"),
        (
            f'label_replace({TWO}, "a", "same", "", "")',
            "> 0",
            INCONCLUSIVE,
            "vector cannot contain metrics with the same labelset",
        ),
    ],
)
def test_what_prometheus_answers_and_what_it_means(
    server: str, query: str, expect: str, sample: Sample, shown: str
) -> None:
    reading = Prometheus(Settings(server)).check({"query": query, "expect": expect})
    assert reading.sample is sample
    assert shown in reading.text


@pytest.mark.parametrize(
    ("query", "value"),
    [("vector(0.62)", 0.62), ("0.5", 0.5), (TWO, None), ("vector(0) > 1", None), ("vector(0) / 0", None)],
)
def test_a_value_is_one_number_or_none(server: str, query: str, value: float | None) -> None:
    assert Prometheus(Settings(server)).value(query) == value


def test_a_query_that_cannot_be_read_is_refused_in_prometheus_own_words(server: str) -> None:
    with pytest.raises(Permanent, match=r"answered 400: .*parse error.*unclosed left parenthesis"):
        Prometheus(Settings(server)).measure('sum("it\'s"', "> 0")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@example('a"} or vector(1) #')
@example("a\\")
@example("a\nb\t'`{{}}")
def test_prometheus_itself_reads_an_escaped_value_back_unchanged(server: str, value: str) -> None:
    """`absent` copies the labels of an equality matcher into its answer."""
    query = f'absent(x{{m="{promql.escape(value)}"}})'
    with urlopen(f"{server}/api/v1/query?query={quote(query)}", timeout=5) as answer:
        (series,) = json.load(answer)["data"]["result"]
    assert series["metric"] == {"m": value}


# --- one sample that fails outweighs one that is unknown; an unknown one outweighs all that hold


@pytest.mark.parametrize(
    ("values", "sample"),
    [
        (["0.5", "NaN"], INCONCLUSIVE),
        (["0.5", "2", "NaN"], FAILS),
        (["NaN", "NaN"], INCONCLUSIVE),
        (["+Inf"], FAILS),
        (["-Inf"], HOLDS),
        ([], INCONCLUSIVE),
    ],
)
def test_every_sample_must_hold(values: list[str], sample: Sample) -> None:
    assert judge([{"metric": {}, "value": [0, value]} for value in values], "< 1").sample is sample


@pytest.mark.parametrize("answer", [None, 7, {"a": 1, "b": 2}, [{"metric": {}, "histogram": []}], [0, "text"], "ab"])
def test_an_answer_of_another_shape_is_never_success(answer: Any) -> None:
    for expect in ("< 1", "!= 5", "empty", "nonempty"):
        assert judge(answer, expect).sample is INCONCLUSIVE


@given(st.lists(st.floats(), min_size=1), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-9, 9))
def test_nan_never_holds_and_holding_means_all_hold(values: list[float], compare: str, threshold: int) -> None:
    reading = judge([{"value": [0, repr(value)]} for value in values], f"{compare} {threshold}")
    every_one = all(eval(f"value {compare} {threshold}") and value == value for value in values)
    assert (reading.sample is HOLDS) == every_one


@given(st.text() | st.from_regex(EXPECT, fullmatch=True) | st.from_regex(r"[<>=!]{1,2} ?-?[0-9.]+", fullmatch=True))
@example("< 1\n")
def test_lint_and_measurement_agree_on_what_an_expectation_is(expect: str) -> None:
    try:
        judge([], expect)
    except Permanent:
        understood = False
    else:
        understood = True
    assert bool(EXPECT.fullmatch(expect)) == understood


# --- the wire


@contextmanager
def stub(answer: Callable[[Any], tuple[int, Mapping[str, str], bytes]]) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server that gives this answer; its address and the requests it heard."""
    heard: list[Any] = []

    class Handler(Answering):
        def do_GET(self) -> None:
            heard.append((self.path, dict(self.headers)))
            status, headers, body = answer(self)
            self.reply(status, body, headers)

    with http_server(Handler) as port:
        yield f"http://127.0.0.1:{port}", heard


def test_the_query_goes_out_once_with_its_token_and_a_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [0, "3"]}}).encode()
    with stub(lambda _: (200, {}, body)) as (address, heard):
        reading = Prometheus(Settings(f"{address}/prom", 2.0, Secret("canary-7f3a"))).measure("a  +\n b", "> 2")
    assert (reading.sample, reading.text) == (HOLDS, "3 (want > 2)")
    ((path, headers),) = heard
    assert urlsplit(path).path == "/prom/api/v1/query"
    assert parse_qs(urlsplit(path).query) == {"query": ["a  +\n b"], "timeout": ["2s"]}
    assert headers["Authorization"] == "Bearer canary-7f3a"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (503, b'{"status":"error","error":"query timed out"}', Transient, "answered 503: query timed out"),
        (429, b"", Transient, "answered 429"),
        (500, b"<html>\xff", Transient, "answered 500"),
        (401, b"Unauthorized", Permanent, "answered 401"),
        (404, b"{}", Permanent, "answered 404"),
        (200, b"<html>Grafana</html>", Permanent, "did not answer with JSON; is that address really Prometheus"),
        (200, b'{"data": []}', Permanent, "does not answer like Prometheus"),
        (200, b"[]", Permanent, "does not answer like Prometheus"),
    ],
)
def test_other_answers_are_never_a_reading_and_are_asked_for_once(
    status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    with stub(lambda _: (status, {}, body)) as (address, heard), pytest.raises(kind, match=words):
        Prometheus(Settings(address)).measure("up", "> 0")
    assert len(heard) == 1


def test_a_redirect_is_not_followed() -> None:
    with (
        stub(lambda _: (302, {"Location": "/login"}, b"")) as (address, heard),
        pytest.raises(Permanent, match="redirects elsewhere"),
    ):
        Prometheus(Settings(address)).measure("up", "> 0")
    assert len(heard) == 1


def test_a_torn_answer_is_transient() -> None:
    with (
        stub(lambda _: (200, {"Content-Length": "900"}, b'{"data":')) as (address, _),
        pytest.raises(Transient, match="cannot be reached"),
    ):
        Prometheus(Settings(address)).measure("up", "> 0")


def test_a_closed_port_is_transient_at_once() -> None:
    with stub(lambda _: (200, {}, b"")) as (address, _):
        pass
    began = time.monotonic()
    with pytest.raises(Transient, match="cannot be reached"):
        Prometheus(Settings(address)).measure("up", "> 0")
    assert time.monotonic() - began < 4, "its time-out is 5 s"


def test_a_silent_prometheus_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Transient, match=r"did not answer in 0\.2 s"):
            Prometheus(Settings(address, 0.2)).measure("up", "> 0")


@pytest.mark.parametrize("first", [b"X: ", b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_one_that_drips_is_given_up_after_the_timeout_too(first: bytes) -> None:
    with raw_server(partial(drip, first=b"HTTP/1.1 200 OK\r\n" + first)) as port:
        began = time.monotonic()
        with pytest.raises(Transient, match=r"did not answer in 0\.3 s"):
            Prometheus(Settings(f"http://127.0.0.1:{port}", 0.3)).measure("up", "> 0")
        assert time.monotonic() - began < 5, "it drips for ten"


def test_an_expectation_that_is_none_is_refused_before_anything_is_asked() -> None:
    with stub(lambda _: (200, {}, b"")) as (address, heard), pytest.raises(Permanent, match="is not an expectation"):
        Prometheus(Settings(address)).measure("up", "about 3")
    assert heard == []


# --- the table


def test_the_example_in_the_documentation_is_good() -> None:
    example = "\n".join(line for line in (prometheus.__doc__ or "").splitlines() if line.startswith("    "))
    found, faults = Settings.from_toml(tomllib.loads(example)["prometheus"], {"PROMETHEUS_TOKEN": "canary"}.get)
    assert faults == []
    assert found is not None
    assert (found.url, found.timeout, found.token.reveal()) == ("http://prometheus.monitoring:9090", 5.0, "canary")
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({}, "url: is missing"),
        ({"url": "prometheus:9090"}, "url: is 'prometheus:9090', but must be an address"),
        ({"url": "http://user:pw@host"}, "url: must hold neither a password nor a query"),
        ({"url": "http://h", "timeout": "30s"}, "timeout: must be longer than nothing and at most 10s"),
        ({"url": "http://h", "token_env": "OTHER"}, "token_env: names an environment variable that is not set"),
        ({"url": "http://h", "tiemout": "5s"}, "tiemout: is not a setting; did you mean timeout?"),
    ],
)
def test_a_fault_names_its_key_and_what_to_do(table: dict[str, Any], fault: str) -> None:
    found, faults = Settings.from_toml(table, lambda _: None)
    assert found is None
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_the_client_is_not_loaded_before_it_is_needed() -> None:
    """It costs a tenth of a second, which the cold start does not have."""
    code = "import sys, bot.integrations.prometheus; print({'prometheus_api_client', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "set()\n"
