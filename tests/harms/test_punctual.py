"""A time-out of requests begins anew with each address, redirect and byte; that of our session is one for all of it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_api_client import PrometheusConnect
from requests.exceptions import ConnectTimeout, ReadTimeout, RequestException, Timeout

from bot.punctual import Punctual
from tests.clocked import by_the_clock
from tests.harms.sink import Sink, drips, sink
from tests.servers import Answering, certificate_in, drip, http_server, raw_server

TIMEOUT_S = 0.5
OVER_WITHIN_S = 5.0
"""What drips goes on for ten, and in a machine that stands still a second or two pass unnoticed."""
HEAD = b"HTTP/1.1 200 OK\r\n"
ANSWER = HEAD + b"Content-Length: 2\r\n\r\nok"


def sends_on(connection: socket.socket) -> None:
    """To the next address, each time after a little while."""
    connection.recv(65_536)
    threading.Event().wait(0.2)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /on\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


NEVER_ENDING: dict[str, Callable[[socket.socket], None]] = {
    "status": partial(drip, first=b""),
    "head": partial(drip, first=HEAD + b"X: "),
    "heads": partial(drip, first=HEAD, piece=b"X: 1\r\n"),
    "body": partial(drip, first=HEAD + b"Content-Length: 100000\r\n\r\n"),
    "body without an end": partial(drip, first=HEAD + b"\r\n"),
    "chunks": partial(drip, first=HEAD + b"Transfer-Encoding: chunked\r\n\r\n", piece=b"1\r\nx\r\n"),
    "redirect's body": partial(drip, first=b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 100000\r\n\r\n"),
    "redirects": sends_on,
}


def took(ask: Callable[[], object], failure: type[Exception] = Timeout) -> float:
    """Seconds until it failed so."""
    began = time.monotonic()
    with pytest.raises(failure):
        ask()
    return time.monotonic() - began


@pytest.mark.parametrize("talk", NEVER_ENDING.values(), ids=NEVER_ENDING)
def test_whatever_drips_is_over_in_its_time(talk: Callable[[socket.socket], None]) -> None:
    with raw_server(talk) as port, Punctual() as session:
        assert took(lambda: session.get(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S)) < OVER_WITHIN_S


@by_the_clock
def test_with_requests_alone_it_is_not() -> None:
    with sink(drips) as server:
        asking = threading.Thread(target=_until_it_fails, args=(server,))
        asking.start()
        asking.join(4 * TIMEOUT_S)
        goes_on = asking.is_alive()
        server.over.set()
        asking.join(30)
    assert goes_on


def _until_it_fails(server: Sink) -> None:
    with suppress(RequestException):
        requests.get(server.url, timeout=TIMEOUT_S)


def test_nor_does_it_last_longer_over_tls_or_while_the_greeting_of_tls_drips(tmp_path: Path) -> None:
    made = certificate_in(tmp_path)
    with sink(drips, made) as server, Punctual() as session:
        assert took(lambda: session.get(server.url, timeout=TIMEOUT_S, verify=str(made))) < OVER_WITHIN_S
    with raw_server(NEVER_ENDING["status"]) as port, Punctual() as session:
        ask = partial(session.get, f"https://127.0.0.1:{port}/", timeout=TIMEOUT_S)
        assert took(ask, RequestException) < OVER_WITHIN_S


def test_nor_while_a_proxy_drips() -> None:
    with raw_server(NEVER_ENDING["head"]) as port, Punctual() as session:
        session.proxies = {"https": f"http://127.0.0.1:{port}", "http": f"http://127.0.0.1:{port}"}
        for scheme in ("https", "http"):
            ask = partial(session.get, f"{scheme}://somebody.example/", timeout=TIMEOUT_S)
            assert took(ask, RequestException) < OVER_WITHIN_S


def test_what_is_streamed_has_to_be_there_by_then_too() -> None:
    with raw_server(NEVER_ENDING["body"]) as port, Punctual() as session:
        began = time.monotonic()
        with session.get(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S, stream=True) as answer:
            assert answer.status_code == 200
            with pytest.raises(RequestException):
                assert answer.content
        assert time.monotonic() - began < OVER_WITHIN_S


@by_the_clock
def test_every_request_of_a_connection_that_is_kept_has_a_time_of_its_own() -> None:
    met: list[int] = []

    def twice_and_no_more(connection: socket.socket) -> None:
        met.append(0)
        for _ in range(2):
            connection.recv(65_536)
            threading.Event().wait(TIMEOUT_S * 0.6)
            connection.sendall(ANSWER)
        drip(connection, HEAD)

    with raw_server(twice_and_no_more) as port, Punctual() as session:
        ask = partial(session.get, f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S)
        assert [ask().text, ask().text] == ["ok", "ok"]
        assert took(ask) < OVER_WITHIN_S
    assert len(met) == 1


@pytest.mark.parametrize("head", [HEAD + b"Connection: close\r\n", HEAD + b"Content-Length: 300000\r\n"])
def test_an_answer_is_read_to_its_end_also_where_the_connection_is_closed_behind_it(head: bytes) -> None:
    def answers(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(head + b"\r\n" + b"x" * 300_000)

    with raw_server(answers) as port, Punctual() as session:
        assert len(session.get(f"http://127.0.0.1:{port}/", timeout=5).content) == 300_000


@by_the_clock
def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Well(Answering):
        def do_GET(self) -> None:
            self.reply(200, b"ok")

    found: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", _and(found, socket.getaddrinfo))
    with http_server(Well) as port, swallowing() as hole, Punctual() as session:
        ask = partial(session.get, f"http://two.example:{port}/", timeout=TIMEOUT_S)
        found.extend((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", to)) for to in (hole, port))
        assert ask().text == "ok"
        session.close()
        del found[1]
        assert took(ask, ConnectTimeout) < OVER_WITHIN_S


@contextmanager
def swallowing() -> Iterator[int]:
    """A port that takes no connection and turns none away."""
    with ExitStack() as held:
        hole = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # more than it lets wait
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        yield int(hole.getsockname()[1])


def _and(found: list[Any], real: Callable[..., Any]) -> Callable[..., Any]:
    def look(host: str, *more: Any, **named: Any) -> Any:
        return list(found) if host == "two.example" else real(host, *more, **named)

    return look


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http_server(Proxy) as port, Punctual() as session:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert session.get("http://somebody.example/x", timeout=5).text == "ok"
    assert asked == ["http://somebody.example/x"]


def test_what_the_prometheus_client_mounts_of_its_own_is_not_used() -> None:
    with raw_server(NEVER_ENDING["head"]) as port:
        address = f"http://127.0.0.1:{port}"
        with PrometheusConnect(address, session=Punctual(), timeout=TIMEOUT_S) as client:
            assert took(lambda: client.custom_query("up"), ReadTimeout) < OVER_WITHIN_S
