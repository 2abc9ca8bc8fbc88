"""A server is reached although one of its addresses is dead, and although nobody answers for its name any more."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from bot.contracts import Transient
from bot.integrations import line
from bot.integrations.fallback import Notice
from bot.integrations.names import FRESH_S, PATIENCE_S, Address, Names
from bot.integrations.pagerduty import Integration
from bot.settings import Secret
from tests.clocked import by_the_clock
from tests.core.case import START
from tests.integrations.bridge import Bridge, open_bridge
from tests.integrations.fallbacks import BRIDGE, MAIL, burning, voice, word
from tests.integrations.postbox import Postbox

HOST = "pager.example"
pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])


def at(address: str, port: int) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


@pytest.fixture
def dead() -> Iterator[Callable[[int], Address]]:
    """Makes an address dead at a port: whoever connects there is not answered, as behind a firewall that drops."""
    with ExitStack() as stack:

        def die(port: int) -> Address:
            hole = stack.enter_context(socket.socket())
            hole.bind(("127.0.0.2", port))
            hole.listen(0)
            for _ in range(3):
                full = stack.enter_context(socket.socket())
                full.setblocking(False)
                full.connect_ex(("127.0.0.2", port))
            return at("127.0.0.2", port)

        yield die


class Service:
    """A name service: `asked` counts, `answers` is what it says, and while `stands` is clear it says nothing."""

    def __init__(self, *answers: Address) -> None:
        self.answers: Sequence[Address] = answers
        self.asked = 0
        self.fails = False
        self.stands = threading.Event()
        self.stands.set()
        self.now = 0.0
        self.names = Names(self.lookup, lambda: self.now)

    def lookup(self, *_: Any, **__: Any) -> Sequence[Address]:
        self.asked += 1
        self.stands.wait(20)
        if self.fails:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.answers


def said_by_pagerduty(bridge: Bridge, _: Postbox) -> None:
    bridge.answer = (202, b'{"status": "success", "dedup_key": "k"}')
    pager = Integration("spare", Secret("f" * 32), f"http://{HOST}:{bridge.port}", 4.0)
    pager.tell(Notice("k", "it burns", START))


def said_by_webhook(bridge: Bridge, _: Postbox) -> None:
    voice(BRIDGE, url=f"http://{HOST}:{bridge.port}/page", timeout="4s").say(word(burning().inc))


def said_by_mail(_: Bridge, box: Postbox) -> None:
    voice(MAIL, host=HOST, port=box.port, security="none", timeout="4s").say(word(burning().inc))


@pytest.mark.parametrize("say", [said_by_pagerduty, said_by_webhook, said_by_mail])
def test_a_page_gets_out_although_the_first_address_of_the_host_is_dead(
    say: Callable[[Bridge, Postbox], None],
    bridge: Bridge,
    postbox: Postbox,
    dead: Callable[[int], Address],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = postbox.port if say is said_by_mail else bridge.port
    monkeypatch.setattr(line, "NAMES", Service(dead(port), at("127.0.0.1", port)).names)
    say(bridge, postbox)
    assert len(bridge.heard) + len(postbox.mails) == 1


def test_the_address_that_answered_is_tried_first_from_then_on() -> None:
    service = Service(at("127.0.0.2", 80), at("127.0.0.1", 80))
    names = service.names
    assert names.addresses(HOST, 80, 1) == service.answers
    names.answered(HOST, 80, at("127.0.0.1", 80))
    assert names.addresses(HOST, 80, 1) == (at("127.0.0.1", 80), at("127.0.0.2", 80))
    service.now += FRESH_S
    assert names.addresses(HOST, 80, 1) == (at("127.0.0.1", 80), at("127.0.0.2", 80)), "also when asked anew"
    assert service.asked == 2


def test_without_a_name_service_what_was_known_before_is_used(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(at("127.0.0.1", bridge.port))
    monkeypatch.setattr(line, "NAMES", service.names)
    said_by_webhook(bridge, Postbox())
    service.now += FRESH_S
    service.fails = True
    said_by_webhook(bridge, Postbox())
    assert (len(bridge.heard), service.asked) == (2, 2)


@by_the_clock
def test_a_name_service_that_hangs_holds_up_what_is_known_for_no_more_than_a_moment() -> None:
    service = Service(at("127.0.0.1", 80))
    service.names.addresses(HOST, 80, 1)
    service.now += FRESH_S
    service.stands.clear()
    began = time.monotonic()
    for _ in range(2):
        assert service.names.addresses(HOST, 80, 10 * PATIENCE_S) == service.answers
    assert time.monotonic() - began < 10 * PATIENCE_S
    assert service.asked == 2, "one lookup at a time, however often it is wanted"
    service.stands.set()


def test_a_lookup_that_takes_longer_than_a_page_has_serves_the_next_try(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(at("127.0.0.1", bridge.port))
    service.stands.clear()
    monkeypatch.setattr(line, "NAMES", service.names)
    with pytest.raises(Transient, match="no answer in 4 s"):
        said_by_webhook(bridge, Postbox())
    service.stands.set()
    said_by_webhook(bridge, Postbox())
    assert (len(bridge.heard), service.asked) == (1, 1)


def test_a_name_that_nobody_knows_is_trouble_for_now(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    service.fails = True
    monkeypatch.setattr(line, "NAMES", service.names)
    with pytest.raises(Transient, match="Temporary failure in name resolution"):
        said_by_webhook(bridge, Postbox())


def test_where_every_address_is_dead_nothing_is_sent_and_it_is_over_in_time(
    dead: Callable[[int], Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_bridge() as bridge:
        port = bridge.port
    monkeypatch.setattr(line, "NAMES", Service(dead(port), dead(port + 1)).names)
    with pytest.raises(Transient, match="no answer"):
        said_by_webhook(Bridge(port), Postbox())
