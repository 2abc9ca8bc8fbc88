"""What stands between us and Prometheus: a gateway with a limit to its URLs, and one that lets only GET through."""

import math
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError

import pytest

from bot.health import Scope, Telemetry
from tests.health.conftest import Past

NGINX = 8_000
"""Bytes of a URL that nginx lets through unless it is told otherwise."""
LLAMA = {"model_name": "llama-70b", "job": "vllm", "pod": "vllm-0"}


@dataclass
class Gateway:
    """Hands requests on. `longest`: bytes of a URL; `turned_away`: the answers that it gave itself."""

    url: str = ""
    turned_away: list[int] = field(default_factory=list)


@contextmanager
def gateway(behind: str, *, longest: float = math.inf, forms: bool = True) -> Iterator[Gateway]:
    stands = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(body)

        def _answer(self, form: bytes | None) -> None:
            status, answer = self._fetched(form)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _fetched(self, form: bytes | None) -> tuple[int, bytes]:
            if "/label/" in self.path:  # so that every question is asked in the words of every server
                return 404, b""
            if refused := 405 if form is not None and not forms else 414 if len(self.path) > longest else 0:
                stands.turned_away.append(refused)
                return refused, b""
            try:
                with urllib.request.urlopen(f"{behind}{self.path}", form, timeout=10) as response:
                    return response.status, response.read()
            except HTTPError as error:
                return error.code, error.read()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stands.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield stands
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def llama(remembering: Callable[[Past], str]) -> str:
    past = Past()
    past.counter("vllm:request_success_total", {**LLAMA, "finished_reason": "stop"}, 5.0)
    past.gauge("vllm:num_requests_running", LLAMA, 4)
    past.gauge("vllm:num_requests_waiting", LLAMA, 0)
    past.histogram("vllm:time_to_first_token_seconds", LLAMA, {"0.5": 4.0, "2.5": 1.0, "+Inf": 0.0})
    return remembering(past)


def seen(url: str) -> dict[str, tuple[str, float | None]]:
    found = Telemetry(url).survey(Scope(model="llama-70b"))
    return {one.check: (one.status, None if one.value is None else round(one.value, 1)) for one in found}


def test_no_question_is_too_long_for_a_gateway_with_a_limit_to_its_urls(llama: str) -> None:
    with gateway(llama, longest=NGINX) as between:
        assert seen(between.url) == seen(llama)
        assert between.turned_away == []


def test_a_gateway_that_lets_only_get_through_is_asked_by_url(llama: str) -> None:
    with gateway(llama, forms=False) as between:
        assert seen(between.url) == seen(llama)
        assert 405 in between.turned_away
