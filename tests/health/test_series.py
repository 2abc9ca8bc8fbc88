"""The 90 minutes behind a picture, read from a real Prometheus; and what is read out of them."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.health import Telemetry, survey
from bot.health.promql import Settings
from bot.health.scope import FLEET, Scope
from bot.health.series import SPAN, YOUNG_STEP_S, Line, Recorder, Recording, Series, onset
from bot.health.strips import strips, together, xids
from tests.clocked import by_the_clock
from tests.health.conftest import PAST, Past
from tests.servers import free_port

TTFT = {"0.5": 80.0, "2.5": 15.0, "10": 5.0, "+Inf": 0.0}
MODEL = {"model_name": "llama-70b", "job": "vllm", "instance": "i0"}
DCGM = {"Hostname": "node-1", "gpu": "0", "UUID": "GPU-aaaa", "job": "dcgm", "instance": "node-1:9400"}


def vllm(past: Past, **labels: str) -> None:
    which = {**MODEL, **labels}
    past.histogram("vllm:time_to_first_token_seconds", which, TTFT)
    past.gauge("vllm:num_requests_running", which, 40)
    past.gauge("vllm:num_requests_waiting", which, lambda t: 100 if t > PAST - 600 else 2)
    past.counter("http_requests_total", {**which, "handler": "/v1/chat/completions", "status": "2xx"}, 9)
    past.counter("http_requests_total", {**which, "handler": "/v1/chat/completions", "status": "5xx"}, 1)


def recorded(url: str, scope: Scope = FLEET) -> Recording:
    report = survey(Telemetry(url), scope, datetime.now(UTC))
    return Recorder(url, Settings()).record(report)


def test_what_users_engines_and_gpus_did_is_read_for_90_minutes(remembering: Callable[[Past], str]) -> None:
    past = Past()
    vllm(past)
    past.gauge("DCGM_FI_DEV_GPU_TEMP", DCGM, 60)
    recording = recorded(remembering(past))
    assert recording.end - recording.begin == SPAN
    latency = recording.of("ttft").first
    assert len(latency) >= 175
    assert 2.5 < latency[-1][1] <= 10
    assert recording.of("errors").first[-1][1] == pytest.approx(0.1, abs=0.01)
    assert recording.of("running").first[-1][1] == 40
    waiting = dict(recording.of("waiting").first)
    assert (min(waiting.values()), max(waiting.values())) == (2, 100)
    assert [strip.name for strip in strips(recording)] == ["node-1 gpu 0"]
    assert b'"query"' in recording.of("errors").to_json()


@pytest.mark.parametrize(
    ("families", "labels"),
    [
        (("sglang:num_running_reqs", "sglang:num_queue_reqs"), {"model_name": "llama-70b"}),
        (("trtllm_num_requests_running", "trtllm_num_requests_waiting"), {"model_name": "llama-70b"}),
    ],
)
def test_other_engines_have_other_names(
    remembering: Callable[[Past], str], families: tuple[str, str], labels: dict[str, str]
) -> None:
    past = Past()
    past.gauge(families[0], labels, 7)
    past.gauge(families[1], labels, 3)
    recording = recorded(remembering(past), Scope(model="llama-70b"))
    assert [recording.of(name).first[-1][1] for name in ("running", "waiting")] == [7, 3]


def test_one_model_node_or_gpu_is_looked_at_alone(remembering: Callable[[Past], str]) -> None:
    past = Past()
    vllm(past)
    vllm(past, model_name="qwen3-32b", instance="i1")
    past.gauge("DCGM_FI_DEV_GPU_TEMP", DCGM, 60)
    other = {**DCGM, "Hostname": "node-2", "UUID": "GPU-bbbb", "model_name": "qwen3-32b", "instance": "node-2:9400"}
    past.gauge("DCGM_FI_DEV_GPU_TEMP", other, 60)
    url = remembering(past)
    assert recorded(url).of("running").first[-1][1] == 80
    assert recorded(url, Scope(model="llama-70b")).of("running").first[-1][1] == 40
    names = {
        scope: [strip.name for strip in strips(recorded(url, scope))]
        for scope in (Scope(model="llama-70b"), Scope(node="node-2"), Scope(gpu="GPU-bbbb"), Scope(gpu="node-1:0"))
    }
    assert list(names.values()) == [["node-1 gpu 0"], ["node-2 gpu 0"], ["node-2 gpu 0"], ["node-1 gpu 0"]]


def test_a_gpu_that_fell_silent_and_an_xid_that_appeared_are_seen_when_it_was(
    remembering: Callable[[Past], str],
) -> None:
    past = Past()
    past.gauge("DCGM_FI_DEV_GPU_TEMP", DCGM, 60, until=1200)
    past.appearing("DCGM_FI_DEV_XID_ERRORS", DCGM, 79, ago=1500)
    past.gauge("DCGM_FI_DEV_GPU_TEMP", {**DCGM, "gpu": "1", "UUID": "GPU-bbbb"}, 60)
    recording = recorded(remembering(past))
    lost, calm = strips(recording)
    assert (lost.name, calm.name) == ("node-1 gpu 0", "node-1 gpu 1")
    assert [span.state for span in lost.spans][-2:] == ["crit", "none"]
    assert recording.end.timestamp() - lost.spans[-1].begin == pytest.approx(1200 - 300, abs=120)
    assert calm.calm
    (seen,) = xids(recording)
    assert seen.number == 79
    assert recording.end.timestamp() - seen.at == pytest.approx(1500, abs=90)
    assert together([lost, calm], 60).spans[-1].state == "none"


def test_a_model_may_be_called_like_a_slot_of_ours(remembering: Callable[[Past], str]) -> None:
    past = Past()
    vllm(past, model_name="<window>")
    recording = recorded(remembering(past), Scope(model="<window>"))
    assert recording.of("running").first[-1][1] == 40
    assert recording.of("errors").first[-1][1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("age", "fewest"), [(90, 12), (15, 2)])
def test_a_young_prometheus_is_read_in_finer_steps(remembering: Callable[[Past], str], age: float, fewest: int) -> None:
    past = Past()
    past.appearing("vllm:num_requests_running", MODEL, 40, ago=age)
    url = remembering(past)
    report = survey(Telemetry(url), FLEET, datetime.now(UTC))
    # The client asks to the whole second: here for a moment after the report, where its only point lies.
    recording = Recorder(url, Settings()).record(replace(report, at=report.at.replace(microsecond=700_000)))
    assert recording.end - recording.begin == timedelta(minutes=2)
    assert recording.of("running").step == YOUNG_STEP_S
    assert len(recording.of("running").first) > fewest


class SlowInFineSteps(BaseHTTPRequestHandler):
    """A Prometheus ten minutes old that answers coarse questions in 1 s, and fine ones too late."""

    let_go = threading.Event()

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = parse_qs(urlsplit(self.path).query)
        end = float(asked["end"][0])
        if float(asked["step"][0]) == YOUNG_STEP_S:
            self.let_go.wait(10)
        self.let_go.wait(1)
        result = [{"metric": {}, "values": [[end - ago, "40"] for ago in range(600, 0, -30)]}]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@by_the_clock
def test_the_finer_look_has_what_the_first_has_left_of_the_time_and_takes_nothing_away() -> None:
    SlowInFineSteps.let_go.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), SlowInFineSteps)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        report = survey(Telemetry(f"http://127.0.0.1:{free_port()}"), FLEET, datetime.now(UTC))
        began = time.monotonic()
        url = f"http://127.0.0.1:{server.server_port}"
        recording = Recorder(url, Settings(), budget=3.0).record(report)
        took = time.monotonic() - began
    finally:
        SlowInFineSteps.let_go.set()
        server.shutdown()
        serving.join()
        server.server_close()
    assert took < 4.5, "one deadline for both"
    assert recording.end - recording.begin == SPAN
    assert len(recording.of("running").first) == 20


def test_without_a_prometheus_everything_is_missing_and_says_why() -> None:
    port = free_port()
    recording = recorded(f"http://user:secret@127.0.0.1:{port}")
    assert {one.missing for one in recording.series} == {f"Prometheus at 127.0.0.1:{port} cannot be reached"}
    assert strips(recording) == []


POINTS = tuple((30.0 * nth, value) for nth, value in enumerate([0, 0, 5, 5, 0, 5, 5, 5]))


@pytest.mark.parametrize(
    ("points", "began"),
    [
        (POINTS, 60.0),
        (POINTS[:5], 60.0),
        ((*POINTS[:4], *((at, 0.0) for at in range(120, 400, 30))), None),
        (POINTS[:2], None),
        ((), None),
        (((0.0, 5.0), *((at, 0.0) for at in range(30, 300, 30)), (300.0, 5.0)), 300.0),
    ],
)
def test_trouble_began_where_it_last_began_and_a_short_pause_is_part_of_it(
    points: tuple[tuple[float, float], ...], began: float | None
) -> None:
    assert onset(points, 1.0) == began


def test_an_old_xid_is_no_news_and_an_applications_ends_soon() -> None:
    end = datetime(2026, 11, 21, 4, 30, tzinfo=UTC)
    begin = end - SPAN
    times = [begin.timestamp() + 60 * nth for nth in range(91)]
    host = {"host": "node-1", "gpu": "0"}

    def line(number: float, since: int) -> Line:
        return Line({**host, "gpu": str(int(number))}, tuple((at, number) for at in times[since:]))

    heard = tuple(Line({**host, "gpu": gpu}, tuple((at, 50.0) for at in times)) for gpu in ("13", "79", "31"))
    seen = (line(79, 0), line(13, 40), line(31, 88))
    recording = Recording(begin, end, (Series("gpus", "", 60, heard), Series("xids", "", 60, seen)))
    assert [one.number for one in xids(recording)] == [13, 31]
    calm = {strip.name: strip.calm for strip in strips(recording)}
    assert calm["node-1 gpu 79"], "what was there before all of it is no news"
