"""What the other side may do to us: nothing, nonsense, slowness, refusal; and one live scrape from end to end."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote_plus
from urllib.request import urlopen

import pytest

from bot.health import Report, Scope, Settings, Telemetry, Verdict, lines, survey
from bot.health.telemetry import WORKERS
from tests.health.conftest import Exporter, Past, eventually, prometheus
from tests.health.fleet import Fleet

NOW = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)


@contextmanager
def answering(status: int, body: bytes, delay: threading.Event | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that always answers the same; yields its address and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if delay is not None:
                delay.wait(30)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass  # the client has given up, as it should

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            if delay is not None:
                delay.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_prometheus_is_said_once_and_without_its_password() -> None:
    port = closed_port()
    report = survey(Telemetry(f"http://anna:s3cret@127.0.0.1:{port}"), Scope(model="llama-70b"), NOW)

    assert report.verdict is Verdict.BLIND
    assert report.unknowns == (f"everything: Prometheus at 127.0.0.1:{port} cannot be reached",)
    assert "s3cret" not in json.dumps(report.to_dict())
    assert "anna" not in "\n".join(lines(report))


def test_a_prometheus_that_does_not_answer_is_not_waited_for_by_every_check() -> None:
    with answering(200, b"{}", threading.Event()) as (url, asked):
        began = time.monotonic()
        report = survey(Telemetry(url, timeout=0.3), Scope(), NOW)

    assert time.monotonic() - began < 10, "it would be silent for thirty"
    assert len(asked) <= 1 + WORKERS
    assert report.verdict is Verdict.BLIND
    assert report.unknowns[0].endswith("did not answer within 0.3 s")


def test_the_budget_ends_a_survey_whose_queries_are_each_within_their_time() -> None:
    with answering(200, b"{}", threading.Event()) as (url, _):
        report = survey(Telemetry(url, timeout=20, budget=0.3), Scope(), NOW)

    assert report.unknowns == (f"everything: Prometheus at {url[7:]} gave no answer within 0.3 s",)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>please sign in</html>",
        b"",
        b"null",
        b"[]",
        b'{"data": {}}',
        b'{"data": {"result": [1]}}',
        b'{"data": {"result": [{"metric": [], "value": [0, "1"]}]}}',
        b'{"data": {"result": [{"metric": {}, "value": [0]}]}}',
        b'{"data": {"result": [{"metric": {}, "value": [0, "many"]}]}}',
        b'{"data": {"result": "text"}}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_is_not_prometheus_is_unknown_and_no_crash(body: bytes) -> None:
    with answering(200, body) as (url, _):
        report = survey(Telemetry(url), Scope(), NOW)

    assert report.unknowns == (f"everything: what answers at {url[7:]} does not speak Prometheus' API",)


@pytest.mark.parametrize("status", [401, 422, 500, 503])
def test_a_refusal_is_told_with_its_number_and_asked_only_once(status: int) -> None:
    with answering(status, b'{"error": "token abc is wrong"}') as (url, asked):
        report = survey(Telemetry(url), Scope(), NOW)

    assert report.unknowns == (f"everything: Prometheus at {url[7:]} refused the query with HTTP {status}",)
    assert len(asked) == len({*asked}) > len(report.checks)


def asked_of(past: Past, start: Callable[[Past], str], *, refuse_names: bool) -> tuple[Report, list[str]]:
    """A report through a proxy that keeps what it passes on, and may not know the call for names."""
    target = start(past)
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(unquote_plus(self.path))
            if refuse_names and "/label/" in self.path:
                self.send_error(404)
                return
            with urlopen(target + self.path, timeout=20) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        report = survey(Telemetry(f"http://127.0.0.1:{server.server_address[1]}"), Scope(), NOW)
        server.shutdown()
        thread.join()
    return report, asked


def test_one_call_tells_what_there_is_and_only_that_is_asked(remembering: Callable[[Past], str]) -> None:
    _, asked = asked_of(Fleet("sglang").write(), remembering, refuse_names=False)

    assert sum("/label/" in path for path in asked) == 1
    assert any("sglang:num_queue_reqs" in path for path in asked)
    # Which models serve in two versions is one question by names, to whichever engine.
    checks = [path for path in asked if "/query" in path and "{__name__=~" not in path]
    assert [path for path in checks if "vllm:" in path] == []
    assert not any("model_drift_score" in path and "/query" in path for path in asked)
    assert len(asked) == len({*asked})


def test_where_that_call_is_unknown_everything_is_asked(remembering: Callable[[Past], str]) -> None:
    report, asked = asked_of(Fleet("sglang").write(), remembering, refuse_names=True)

    assert report.verdict is Verdict.OK
    assert any("vllm:num_requests_waiting" in path for path in asked)
    assert any("model_drift_score" in path for path in asked)


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://p", "http://", "file:///etc/passwd"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"must start with http:// or https://"):
        Telemetry(url)


def test_the_client_is_not_imported_before_the_first_survey() -> None:
    code = "import sys; import bot.health; assert not {'requests', 'prometheus_api_client'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ})


def test_a_live_scrape_is_judged_from_end_to_end(exporter: Exporter, tmp_path: Path) -> None:
    began = time.time()

    def page() -> str:
        seconds = time.time() - began
        http = 'http_requests_total{handler="/v1/chat/completions",model_name="llama",status='
        gpu = 'DCGM_FI_DEV_GPU_TEMP{Hostname="node-1",gpu="0",UUID="GPU-0"} 61'
        return "\n".join(
            [
                f'{http}"2xx"}} {70 * seconds:.0f}',
                f'{http}"5xx"}} {30 * seconds:.0f}',
                f'vllm:time_to_first_token_seconds_bucket{{model_name="llama",le="2.5"}} {100 * seconds:.0f}',
                f'vllm:time_to_first_token_seconds_bucket{{model_name="llama",le="+Inf"}} {100 * seconds:.0f}',
                f'vllm:time_to_first_token_seconds_count{{model_name="llama"}} {100 * seconds:.0f}',
                f'model_deploy_timestamp_seconds{{model_name="llama",revision="r42"}} {began - 60:.0f}',
                gpu,
                "",
            ]
        )

    exporter.page = page
    scrape = f'{{job_name: all, static_configs: [{{targets: ["127.0.0.1:{exporter.port}"]}}]}}'
    with prometheus(tmp_path, f"global: {{scrape_interval: 1s}}\nscrape_configs: [{scrape}]\n") as url:
        telemetry = Telemetry(url, settings=Settings(window=10))
        eventually(lambda: survey(telemetry, Scope(model="llama"), NOW).verdict is Verdict.OUTAGE, 30)
        report = survey(telemetry, Scope(model="llama"), NOW)

    assert (report.cause_id, report.runbook) == ("recent-change", "rollback-model-deploy")
    assert report.impact.endswith("of requests fail")
    assert Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report
