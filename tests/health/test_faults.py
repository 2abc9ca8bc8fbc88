"""A Prometheus that is down, slow, overloaded, half there, or not one at all: said as it is, and never green."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote_plus
from urllib.request import urlopen

import pytest

from bot.health import Report, Scope, Telemetry, Verdict, survey
from tests.health.conftest import Past, prometheus, remembered
from tests.health.dialects import Replica
from tests.health.fleet import Fleet

Remembering = Callable[[Past], str]


class Handler(BaseHTTPRequestHandler):
    """A request; form: what a long query travels in."""

    form = b""


Answer = Callable[[Handler], bool]
"""Answers a request itself, or leaves it to the real Prometheus by False."""


def send(handler: Handler, status: int, body: bytes, **headers: str) -> bool:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    return True


def result(*series: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": [*series]}}).encode()


@contextmanager
def between(answer: Answer, target: str = "") -> Iterator[str]:
    """A proxy before the Prometheus at `target`; its address."""

    class Proxy(Handler):
        def do_GET(self) -> None:
            try:
                if answer(self):
                    return
                with urlopen(target + self.path, self.form or None, timeout=20) as passed:
                    send(self, 200, passed.read())
            except HTTPError as refused:
                send(self, refused.code, refused.read())
            except OSError:
                self.close_connection = True  # the other side has given up, as it should

        def do_POST(self) -> None:
            self.form = self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def look(url: str, timeout: float = 5.0, budget: float = 10.0) -> Report:
    told = survey(Telemetry(url, timeout=timeout, budget=budget), Scope(), datetime.now(UTC))
    assert Report.from_dict(json.loads(json.dumps(told.to_dict(), allow_nan=False))) == told
    return told


def asks(handler: Handler, *words: str) -> bool:
    """Whether it is a query that holds one of the words, and not the call for names."""
    query = unquote_plus(handler.path + handler.form.decode())
    return "/query" in query and any(word in query for word in words)


# --- nothing of use -------------------------------------------------------------------------------------------------


def sends_to_a_login(handler: Handler) -> bool:
    if handler.path.startswith("/login"):
        return send(handler, 200, b"<html>Please sign in</html>", Content_Type="text/html")
    return send(handler, 302, b"", Location="/login?next=prometheus")


def sends_round_in_circles(handler: Handler) -> bool:
    return send(handler, 302, b"", Location=handler.path)


def says_error(handler: Handler) -> bool:
    return send(handler, 200, b'{"status": "error", "errorType": "internal", "error": "no"}')


def breaks_off(handler: Handler) -> bool:
    handler.close_connection = True
    return send(handler, 200, result()[:20], Content_Length="4000")


def packs_badly(handler: Handler) -> bool:
    return send(handler, 200, gzip.compress(result())[:-12], Content_Encoding="gzip")


def answers_html(handler: Handler) -> bool:
    return send(handler, 200, b"<html>It works!</html>", Content_Type="text/html")


def answers_other_json(handler: Handler) -> bool:
    return send(handler, 200, b'{"status": "success", "data": {"resultType": "vector", "result": {"0": 1}}}')


@pytest.mark.parametrize(
    "answer",
    [
        sends_to_a_login,
        sends_round_in_circles,
        says_error,
        breaks_off,
        packs_badly,
        answers_html,
        answers_other_json,
    ],
)
def test_what_is_not_prometheus_is_called_so(answer: Answer) -> None:
    with between(answer) as url:
        told = look(url)

    assert (told.verdict, told.cause_id) == (Verdict.BLIND, "blind")
    assert told.unknowns == (f"everything: what answers at {url[7:]} does not speak Prometheus' API",)


def test_a_token_does_not_follow_where_a_proxy_sends_us() -> None:
    followed: list[str | None] = []

    def elsewhere(handler: Handler) -> bool:
        followed.append(handler.headers.get("Authorization"))
        return send(handler, 200, result())

    with between(elsewhere) as other:
        there = other.replace("127.0.0.1", "localhost")
        with between(lambda handler: send(handler, 307, b"", Location=f"{there}/steal")) as url:
            survey(Telemetry(url, headers={"Authorization": "Bearer s3cret"}), Scope(), datetime.now(UTC))

    assert set(followed) == {None}


@pytest.mark.parametrize("number", ["NaN", "+Inf", "-Inf"])
def test_numbers_that_are_none_are_neither_good_nor_bad(number: str) -> None:
    series = {"metric": {"model_name": "llama", "host": "node-1"}, "value": [0, number]}
    with between(lambda handler: send(handler, 200, result(series))) as url:
        told = look(url)

    assert {seen.status for seen in told.checks if seen.check != "H2"} == {"unknown"}
    assert told.verdict is Verdict.BLIND


def test_empty_answers_are_unknown() -> None:
    with between(lambda handler: send(handler, 200, result())) as url:
        told = look(url)

    assert {seen.status for seen in told.checks} == {"unknown"}
    assert (told.verdict, told.cause_id) == (Verdict.BLIND, "blind")


def test_an_answer_that_drips_neither_outlasts_its_time_nor_keeps_the_program_from_ending() -> None:
    over = threading.Event()

    def drips(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(300):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            over.wait(0.1)
        return True

    code = (
        "import sys; from datetime import UTC, datetime; from bot.health import Scope, Telemetry, survey\n"
        "print(survey(Telemetry(sys.argv[1], timeout=0.5), Scope(), datetime.now(UTC)).unknowns[0])"
    )
    with between(drips) as url:
        began = time.monotonic()
        command = [sys.executable, "-c", code, url]
        asked = subprocess.run(command, check=True, capture_output=True, timeout=60, text=True)
        took = time.monotonic() - began
        over.set()

    assert asked.stdout == f"everything: Prometheus at {url[7:]} did not answer within 0.5 s\n"
    assert took < 25, "it drips for thirty"


# --- half of it -----------------------------------------------------------------------------------------------------


def ill() -> Past:
    return Fleet().all(Replica(failing=0.3)).write()


def test_what_is_refused_is_unknown_and_what_is_told_counts(remembering: Remembering) -> None:
    def refuses(handler: Handler) -> bool:
        return asks(handler, "DCGM_") and send(handler, 422, b'{"status": "error", "error": "too many samples"}')

    with between(refuses, remembering(ill())) as url:
        told = look(url)
    hardware = {seen.check: seen for seen in told.checks if seen.group == "hardware"}

    assert told.verdict is Verdict.OUTAGE
    assert hardware["H1"].status == "unknown"
    assert any(text.endswith("refused the query with HTTP 422") and "Lost GPU" in text for text in told.unknowns)


def test_what_is_too_slow_is_unknown_and_what_came_before_counts(remembering: Remembering) -> None:
    over = threading.Event()

    def dawdles(handler: Handler) -> bool:
        return asks(handler, "DCGM_") and not over.wait(60) and False

    with between(dawdles, remembering(ill())) as url:
        began = time.monotonic()
        told = look(url, timeout=4, budget=9)
        over.set()

    assert time.monotonic() - began < 30
    assert told.verdict is Verdict.OUTAGE
    assert any("did not answer within 4 s" in text and "Lost GPU" in text for text in told.unknowns)


def test_one_that_hung_is_seen_by_the_very_next_look_once_it_answers(remembering: Remembering) -> None:
    over = threading.Event()

    def hangs_at_first(handler: Handler) -> bool:
        return not over.is_set() and over.wait(30)

    with between(hangs_at_first, remembering(ill())) as url:
        telemetry = Telemetry(url, timeout=1.0)
        before = survey(telemetry, Scope(), datetime.now(UTC))
        over.set()
        telemetry._timeout = 10.0  # how soon it answers is not the question
        after = survey(telemetry, Scope(), datetime.now(UTC))

    assert (before.verdict, after.verdict) == (Verdict.BLIND, Verdict.OUTAGE)


def test_a_prometheus_that_dies_between_two_questions_leaves_what_it_said(remembering: Remembering) -> None:
    asked: list[str] = []

    def dies(handler: Handler) -> bool:
        asked.append(handler.path)
        if len(asked) <= 12:
            return False
        raise ConnectionResetError

    with between(dies, remembering(ill())) as url:
        told = look(url)
    known = [seen.check for seen in told.checks if seen.status != "unknown"]

    assert 0 < len(known) < 12
    assert "U1" in known
    assert told.verdict is not Verdict.OK
    assert any(text.endswith("cannot be reached") for text in told.unknowns)


def test_a_prometheus_that_was_killed_is_said_to_be_out_of_reach(tmp_path: Path) -> None:
    with remembered(ill(), tmp_path) as url:
        assert look(url).verdict is Verdict.OUTAGE
    told = look(url)

    assert told.verdict is Verdict.BLIND
    assert told.unknowns == (f"everything: Prometheus at {url[7:]} cannot be reached",)


def test_a_real_one_that_refuses_what_costs_too_much_is_told_with_its_number(tmp_path: Path) -> None:
    with remembered(ill(), tmp_path):
        pass
    with prometheus(tmp_path, "global: {scrape_interval: 1h}\n", "--query.max-samples=1") as url:
        told = look(url)

    assert told.verdict is Verdict.BLIND
    assert any(text.endswith("refused the query with HTTP 422") for text in told.unknowns)
    assert not [seen.check for seen in told.checks if seen.status == "ok"]
