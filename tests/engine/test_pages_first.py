"""What only informs gives way to a page that is being delivered, and never for long."""

import threading

from bot.engine.pages_first import GIVE_WAY_S, PagesFirst
from tests.faults.process import eventually

FOR_EVER_S = 30.0


class Hand:
    """A counter that stands where it was put."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def card(order: PagesFirst, happened: list[str]) -> threading.Thread:
    """Gives way on a thread of its own, and is posted then."""

    def post() -> None:
        order.give_way()
        happened.append("card")

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def test_a_card_waits_until_all_pages_are_out() -> None:
    order, happened = PagesFirst(Hand()), list[str]()
    with order.page():
        with order.page():
            posting = card(order, happened)
            eventually(lambda: len(order._changed._waiters) == 1)  # type: ignore[attr-defined]
        happened.append("first page")
        eventually(lambda: len(order._changed._waiters) == 1)  # type: ignore[attr-defined]
        happened.append("second page")
    posting.join(FOR_EVER_S)
    assert happened == ["first page", "second page", "card"]


def test_a_pager_that_hangs_holds_up_no_card_for_long() -> None:
    hand = Hand()
    order, happened = PagesFirst(hand), list[str]()
    with order.page():
        posting = card(order, happened)
        hand.now += GIVE_WAY_S
        posting.join(FOR_EVER_S)
        card(order, happened).join(FOR_EVER_S)
        assert happened == ["card", "card"]


def test_one_page_after_another_holds_up_no_card_for_long() -> None:
    hand = Hand()
    order, happened = PagesFirst(hand), list[str]()
    with order.page():
        posting = card(order, happened)
        eventually(lambda: len(order._changed._waiters) == 1)  # type: ignore[attr-defined]
        hand.now += 0.9 * GIVE_WAY_S
        with order.page():
            hand.now += 0.1 * GIVE_WAY_S
            posting.join(FOR_EVER_S)
            assert happened == ["card"]
