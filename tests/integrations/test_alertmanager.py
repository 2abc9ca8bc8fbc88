"""Asking Alertmanager what burns: whatever it does to us ends in its time, as one of three failures."""

import json
import socket
import time
from collections.abc import Callable
from functools import partial

import pytest

from bot.contracts import Malformed, Permanent, Transient
from bot.intake.reading import Reading
from bot.integrations.alertmanager import Settings, firing
from bot.settings import Secret
from tests.clocked import by_the_clock
from tests.servers import drip, raw_server

HEAD = b"HTTP/1.1 200 OK\r\n"
TIMEOUT_S = 0.3


def answers(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(text)

    return talk


def stalls(connection: socket.socket) -> None:
    """The body begins, and nothing more comes until we have gone."""
    connection.recv(65_536)
    connection.sendall(HEAD + b"Content-Length: 9\r\n\r\n[")
    connection.settimeout(5)
    connection.recv(1)


@pytest.mark.parametrize(
    ("talk", "kind", "words"),
    [
        (partial(drip, first=HEAD + b"X: "), Transient, "does not answer"),
        (partial(drip, first=HEAD + b"Content-Length: 100000\r\n\r\n"), Transient, "does not answer"),
        (partial(drip, first=HEAD + b"\r\n"), Transient, "does not answer"),
        (stalls, Transient, "does not answer"),
        (answers(HEAD + b"Content-Length: 9\r\n\r\n["), Transient, "does not answer"),
        (answers(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]"), Transient, "does not answer"),
        (answers(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), Transient, "does not answer"),
        (answers(b"\0\1\2\r\n\r\n"), Transient, "does not answer"),
        (answers(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"), Transient, "answered 503"),
        (answers(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"), Permanent, "answered 302"),
        (answers(HEAD + b"Content-Length: 2\r\n\r\n{}"), Malformed, "no list of alerts"),
        (answers(HEAD + b"Content-Length: 6\r\n\r\n<html>"), Malformed, "not JSON"),
    ],
)
@by_the_clock
def test_what_goes_wrong_is_over_in_its_time_and_is_a_failure_that_others_know(
    talk: Callable[[socket.socket], None], kind: type[Exception], words: str
) -> None:
    with raw_server(talk) as port:
        began = time.monotonic()
        with pytest.raises(kind, match=words):
            firing(Settings(f"http://127.0.0.1:{port}", "fixfirst", TIMEOUT_S, Secret("")), Reading())
        assert time.monotonic() - began < 2


def test_an_answer_over_a_connection_that_closes_is_read_whole() -> None:
    with raw_server(answers(HEAD + b"Connection: close\r\n\r\n" + b" " * 200_000 + b"[]")) as port:
        said = firing(Settings(f"http://127.0.0.1:{port}", "fixfirst", 5.0, Secret("")), Reading())
    assert said.deliveries == ()


def test_what_is_silenced_or_inhibited_burns_there_and_is_not_sent() -> None:
    def listed(fingerprint: str, state: str) -> dict[str, object]:
        common = {"labels": {"alertname": "A"}, "annotations": {}, "startsAt": "2026-11-21T03:04:05Z"}
        return {**common, "fingerprint": fingerprint, "status": {"state": state}, "receivers": [{"name": "fixfirst"}]}

    body = json.dumps([listed("f1", "active"), listed("f2", "suppressed")]).encode()
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(HEAD + b"Connection: close\r\n\r\n" + body)

    with raw_server(talk) as port:
        said = firing(Settings(f"http://127.0.0.1:{port}", "fixfirst", 5.0, Secret("")), Reading())
    assert ([delivery.fingerprint for delivery in said.deliveries], said.quieted) == (["f1"], frozenset({"f2"}))
    assert b"silenced=true&inhibited=true" in asked[0]
