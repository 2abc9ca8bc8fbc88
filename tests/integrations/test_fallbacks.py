"""What fallback pagers have in common: whom they still need to wake, and how long that may take."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bot.contracts import Attempt, Transient
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.integrations.fallback import Fallback, Voice
from tests.clocked import by_the_clock
from tests.core.case import START, Case
from tests.integrations.fallbacks import BRIDGE, MAIL, burning, voice, word
from tests.integrations.postbox import Postbox


@pytest.fixture
def courier(postbox: Postbox, mail: Voice) -> Fallback:
    return Fallback("mail", mail, lambda _: "")


ATTEMPT = Attempt("job", 1, START)
ACCEPTED = ev.PageAccepted("mail to oncall@example.com", 1, fallback="mail")


def test_an_accepted_page_says_by_whom(courier: Fallback) -> None:
    assert courier.deliver(ef.Page(1, pager="mail"), burning().inc, ATTEMPT) == [ACCEPTED]


NEEDLESS: dict[str, Callable[[Case], Case]] = {
    "somebody has it": lambda case: case.do(cmd.Acknowledge),
    "it is over": lambda case: case.do(cmd.Resolve, reason="fixed", despite_firing=True),
    "PagerDuty has paged": lambda case: case.receipt(ev.PageAccepted("PagerDuty", 1)),
}


@pytest.mark.parametrize("why", NEEDLESS)
def test_a_page_that_nobody_needs_any_more_is_not_sent(courier: Fallback, postbox: Postbox, why: str) -> None:
    case = NEEDLESS[why](burning())
    assert courier.deliver(ef.Page(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.mails == []


def taken(case: Case) -> Case:
    return case.receipt(ACCEPTED).do(cmd.Acknowledge)


def test_a_call_for_the_next_person_is_said_anew_and_says_why(courier: Fallback, postbox: Postbox) -> None:
    case = burning().receipt(ACCEPTED)
    assert courier.deliver(ef.EscalatePage(1, 1, pager="mail"), case.inc, ATTEMPT) == []
    case.do(cmd.Acknowledge)
    assert courier.deliver(ef.CallSecond(1, 2, pager="mail"), case.inc, ATTEMPT) == []
    nobody, second = postbox.mails
    assert nobody.get_content().startswith("Nobody has it yet; escalation 1.")
    assert second.get_content().startswith("Maya has it and wants a second person.")
    assert nobody["Subject"] == second["Subject"] == "SEV1 INC-42 llama-70b fails"
    assert nobody["Message-ID"] != second["Message-ID"]
    assert (second["Importance"], second["References"]) == ("high", nobody["References"])


def test_a_call_where_the_page_was_refused_is_the_page(courier: Fallback, postbox: Postbox) -> None:
    assert courier.deliver(ef.EscalatePage(1, 1, pager="mail"), burning().inc, ATTEMPT) == [ACCEPTED]
    assert len(postbox.mails) == 1


NO_CALL: dict[str, tuple[ef.Effect, Callable[[Case], Case]]] = {
    "somebody has it": (ef.EscalatePage(1, 1, pager="mail"), taken),
    "it is over": (ef.CallSecond(1, 1, pager="mail"), lambda case: taken(case).do(cmd.Cancel, reason="a drill")),
    "it is another round": (ef.CallSecond(2, 1, pager="mail"), taken),
    "PagerDuty alone has paged": (
        ef.CallSecond(1, 1, pager="mail"),
        lambda case: case.receipt(ev.PageAccepted("PagerDuty", 1)).do(cmd.Acknowledge),
    ),
}


@pytest.mark.parametrize("why", NO_CALL)
def test_a_call_that_nobody_needs_here_is_not_made(courier: Fallback, postbox: Postbox, why: str) -> None:
    effect, happened = NO_CALL[why]
    assert courier.deliver(effect, happened(burning()).inc, ATTEMPT) == []
    assert postbox.mails == []


def test_whoever_was_never_woken_is_not_told_that_it_is_over(courier: Fallback, postbox: Postbox) -> None:
    case = burning().do(cmd.Acknowledge)
    assert courier.deliver(ef.AcknowledgePage(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.mails == []
    case = burning().receipt(ACCEPTED).do(cmd.Acknowledge)
    assert courier.deliver(ef.AcknowledgePage(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.subjects() == ["Re: SEV1 INC-42 llama-70b fails"]


@contextmanager
def dripping(first: bytes) -> Iterator[int]:
    """A server that answers one byte at a time and never comes to an end; the port."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(first)
            while not over.wait(0.02):
                try:
                    client.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("table", [{**MAIL, "security": "none"}, BRIDGE], ids=["mail", "webhook"])
@by_the_clock
def test_however_slowly_it_is_answered_a_word_is_over_in_its_time(table: dict[str, Any]) -> None:
    with dripping(b"220-" if table["kind"] == "mail" else b"HTTP/1.1 200 OK\r\nX: ") as port:
        where = {"port": port} if table["kind"] == "mail" else {"url": f"http://127.0.0.1:{port}/page"}
        began = time.monotonic()
        with pytest.raises(Transient):
            voice(table, timeout="1s", **where).say(word(burning().inc))
        assert 0.9 < time.monotonic() - began < 2
