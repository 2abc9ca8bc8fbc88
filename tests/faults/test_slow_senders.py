"""Whoever connects and is slow holds up nobody else: not those who come after, not the memory, not a place for long."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn import Server

from bot.web.bodies import Bodies
from bot.web.listen import server
from bot.web.patience import WITHIN_S, Patience, Stage, Watch
from bot.workbench.server import bind
from tests.doors.house import NEW_TOKEN, Street, alert, open_house, webhook
from tests.faults.process import Process, eventually, started

HEAD = b"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\n"
TOKEN = f"Authorization: Bearer {NEW_TOKEN}\r\n".encode()
SHORT = 0.4
LONG_SINCE = 5.0


def listening(app: ASGIApp, watch: Watch) -> AbstractContextManager[Street]:
    """The app behind a listener as the bot has it."""
    return served(server(app, watch))


@contextmanager
def served(serving: Server) -> Iterator[Street]:
    listener = bind(0, "--doors-port")
    thread = threading.Thread(target=lambda: asyncio.run(serving.serve([listener])), daemon=True)
    thread.start()
    while not serving.started:
        time.sleep(0.01)
    try:
        yield Street(listener.getsockname()[1])
    finally:
        serving.should_exit = True
        thread.join(10)
        listener.close()


def short(most: int = 50, **within: float) -> Watch:
    limits = {Stage.HEAD: SHORT, Stage.BODY: SHORT, Stage.ANSWER: LONG_SINCE}
    return Watch("doors", most, {**limits, **{Stage[name]: s for name, s in within.items()}}, look_every_s=0.05)


def connect(street: Street) -> socket.socket:
    return socket.create_connection(("127.0.0.1", street.port), timeout=LONG_SINCE)


def is_cut(caller: socket.socket, while_sending: bytes = b"") -> bool:
    """Whether the other side hangs up, although one byte after the other is still sent."""
    until = time.monotonic() + LONG_SINCE
    caller.settimeout(0.05)
    while time.monotonic() < until:
        try:
            if while_sending:
                caller.sendall(while_sending)
            if caller.recv(65_536) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


SLOW: dict[str, tuple[bytes, bytes]] = {
    "who says nothing": (b"", b""),
    "who sends half a head": (HEAD, b""),
    "who sends a head that never ends": (HEAD, b"X-Padding: 1\r\n"),
    "who sends half a body": (HEAD + TOKEN + b"Content-Length: 1000\r\n\r\n{", b""),
    "who sends a body byte by byte": (HEAD + TOKEN + b"Content-Length: 1000000\r\n\r\n{", b" "),
    "who sends chunks that never end": (HEAD + TOKEN + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "who goes on sending after the answer": (HEAD + b"Content-Length: 1000000\r\n\r\n{", b" "),
    "who sends half of a second request": (HEAD + b"Content-Length: 1\r\n\r\n{" + HEAD, b""),
    "who sends the half body of a second request": (
        HEAD + b"Content-Length: 1\r\n\r\n{" + HEAD + TOKEN + b"Content-Length: 9\r\n\r\n{",
        b"",
    ),
}


@pytest.mark.parametrize("who", SLOW)
def test_the_listener_hangs_up_on(tmp_path: Path, who: str) -> None:
    first, more = SLOW[who]
    with open_house(tmp_path) as house, listening(house.app.doors.app, watch := short()) as street:
        with closing(connect(street)) as caller:
            caller.sendall(first)
            assert is_cut(caller, more)
        assert sum(watch.counts.values()) == 1
        watch.within_s = WITHIN_S
        assert street.alerts(webhook([alert()])).status == 200


def test_an_answer_that_nobody_reads_is_not_kept_for_ever() -> None:
    def much(_: Request) -> Response:
        return PlainTextResponse("x" * 50_000_000)

    with listening(Starlette(routes=[Route("/", much)]), watch := short(ANSWER=SHORT)) as street:
        with closing(connect(street)) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: watch.counts)
        assert watch.counts == {"slow_answer": 1}


def test_who_only_waits_for_an_answer_or_between_two_requests_is_left_alone(tmp_path: Path) -> None:
    go_on = threading.Event()
    limits = short().within_s

    def slow(_: Request) -> Response:
        watch.within_s = limits  # not before: between connecting and asking, a slow machine is slow too
        go_on.wait(LONG_SINCE)
        return PlainTextResponse("done")

    watch = short(HEAD=60, BODY=60)
    with listening(Starlette(routes=[Route("/", slow)]), watch) as street:
        with closing(connect(street)) as caller:
            for _ in range(2):
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(2 * SHORT)  # for nothing to happen, some time must pass
                go_on.set()
                assert heard(caller, b"done")
                time.sleep(2 * SHORT)
                go_on.clear()
        assert watch.counts == {}


def test_one_more_than_there_may_be_takes_the_place_of_who_was_waited_for_longest(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        serving = server(house.app.doors.app, watch := short(3, HEAD=60, BODY=60))
        with served(serving) as street, ExitStack() as slow:
            first, second, third = (slow.enter_context(closing(connect(street))) for _ in range(3))
            for number, caller in enumerate((first, second, third), 1):
                caller.sendall(HEAD)
                eventually(partial(have_begun, serving, number))  # so that it is clear who came first
            first.sendall(b"Content-Length: 1\r\n\r\n{")
            assert first.recv(1024).startswith(b"HTTP/1.1 401"), "it had its answer, and is waited for from then on"
            assert street.alerts(webhook([alert()])).status == 200
            assert is_cut(second)
            assert not any(is_cut_now(caller) for caller in (first, third))
        assert watch.counts == {"replaced": 1}


def have_begun(serving: Server, number: int) -> bool:
    """Whether so many connections have begun a request whose rest is due."""
    connections = cast("set[Patience]", serving.server_state.connections)
    return sum(not one._is_whole for one in tuple(connections)) == number


def heard(caller: socket.socket, words: bytes) -> bool:
    """Whether these are the last words of what comes."""
    got = b""
    while not got.endswith(words):
        more = caller.recv(65_536)
        if not more:
            return False
        got += more
    return True


def is_cut_now(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1) == b""
    except BlockingIOError:
        return False


def test_where_everybody_is_being_worked_for_the_next_hears_that_it_is_busy() -> None:
    go_on, at_work = threading.Event(), threading.Semaphore(0)

    def slow(_: Request) -> Response:
        at_work.release()
        go_on.wait(60)
        return PlainTextResponse("done")

    watch = short(2, HEAD=60, BODY=60, ANSWER=60)
    with listening(Starlette(routes=[Route("/", slow)]), watch) as street:
        with ExitStack() as callers:
            working = [callers.enter_context(closing(connect(street))) for _ in range(2)]
            for caller in working:
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert all(at_work.acquire(timeout=30) for _ in working)
            answer = street.post("/", b"", method="GET")
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert answer.error == "busy, try again"
            go_on.set()
            assert all(heard(caller, b"done") for caller in working)
        assert watch.counts == {"full": 1}


def test_a_flood_is_one_line_in_the_log(tmp_path: Path) -> None:
    with open_house(tmp_path) as house, listening(house.app.doors.app, watch := short()) as street:
        with ExitStack() as slow:
            callers = [slow.enter_context(closing(connect(street))) for _ in range(20)]
            assert all(is_cut(caller) for caller in callers)
        assert watch.counts == {"slow_head": 20}
        (line,) = house.logged("connections_refused")
        assert (line["listener"], line["last"], line["log_level"]) == ("doors", "127.0.0.1", "warning")


def test_all_bodies_together_have_so_much_room_and_no_more() -> None:
    async def keep(request: Request) -> Response:
        try:
            async with bodies.read(request) as body:
                return PlainTextResponse(str(len(body)))
        except Exception as error:  # noqa: BLE001 - its name is the answer
            return PlainTextResponse(type(error).__name__, 500)

    bodies = Bodies(limit=60_000, room=100_000)
    with listening(Starlette(routes=[Route("/", keep, methods=["POST"])]), short(HEAD=60, BODY=60)) as street:
        with closing(connect(street)) as half:
            half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"x" * 59_000)
            eventually(lambda: bodies._held == 59_000)
            assert street.post("/", b"x" * 50_000).body == b"Busy"
            assert street.post("/", b"x" * 40_000).body == b"40000"
            assert bodies._held == 59_000
        eventually(lambda: bodies._held == 0)
        assert street.post("/", b"x" * 60_000).body == b"60000"
        assert street.post("/", b"x" * 60_001).body == b"TooLarge"


SLOW_ONES = 200
GOOD_ONES = 200
SOON_S = 5.0
"""Seconds, on a busy machine; where the slow ones keep their places, who comes next waits for ten."""


def test_two_hundred_slow_senders_and_then_a_thousand_do_not_keep_a_good_request_waiting(tmp_path: Path) -> None:
    with started(tmp_path) as bot, ExitStack() as slow:
        half = HEAD + TOKEN + b"Content-Length: 100000\r\n\r\n{"
        hold = [slow.enter_context(closing(connect(bot.street))) for _ in range(SLOW_ONES)]
        for number, caller in enumerate(hold):
            caller.sendall(half if number % 2 else HEAD)
        assert p99(bot) < SOON_S
        for _ in range(1_000 - SLOW_ONES):
            with closing(connect(bot.street)) as one_more:
                one_more.sendall(HEAD)
                slow.enter_context(closing(one_more.dup()))
        assert p99(bot) < SOON_S
        assert bot.logged("connections_refused")
        cut = 'fixfirst_connections_refused_total{{listener="doors",reason="{}"}}'.format
        assert sum(bot.counted(cut(why)) for why in ("replaced", "slow_head", "slow_body")) > 400
        assert bot.counted(cut("full")) == 0


def p99(bot: Process) -> float:
    """Seconds that nearly all good requests need at most; each is of an alert never seen before."""
    took = []
    for number in range(GOOD_ONES):
        began = time.monotonic()
        assert bot.street.alerts(webhook([alert(f"{began}-{number}")])).status == 200
        took.append(time.monotonic() - began)
    return sorted(took)[int(GOOD_ONES * 0.99)]
