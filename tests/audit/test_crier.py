"""Telling what concerns no incident while the ways to tell it fail, one by one and all at once."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from bot.audit.crier import AGAIN_AFTER, Crier
from bot.audit.reconcile import Reconciler
from bot.contracts import Transient
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.logbook import Kind, Record
from bot.incident.people import BOT
from bot.integrations.alertmanager import Burning
from bot.integrations.fallback import Voice
from bot.integrations.pagerduty import PAGES_ASKED, Paged
from bot.integrations.pagerduty.census import TRIGGERED
from bot.journal import Busy, Journal, logbook
from bot.slack.census import CHANNELS
from tests.integrations.bridge import Bridge, open_bridge
from tests.integrations.fallbacks import BRIDGE, voice
from tests.journal.conftest import MAYA, House
from tests.servers import free_port


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.journal.close()


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with open_bridge() as bridge:
        yield bridge


def something_happens(house: House) -> None:
    house.journal.write(
        lambda txn: logbook.append(
            txn.direct, txn.workspace, Kind.GLASS_SHUT, by=MAYA, body={"glass": "g1"}, now=txn.now
        )
    ).result()


def fails_over(house: House) -> None:
    """The operator has put another database in its place, and says so."""
    for epoch in ("a", "b"):
        house.journal.close()
        house.journal = Journal(create_engine(house.url), "test", house.clock, lambda _: None, epoch=epoch)
        if epoch == "a":
            Crier(house.journal).look()


def looks(house: House, crier: Crier, times: int = 1) -> None:
    """As often as it takes for what could not be told to be tried again so many times."""
    for _ in range(times):
        house.clock.now += AGAIN_AFTER
        crier.look()


def untold(house: House) -> list[int]:
    house.clock.now += AGAIN_AFTER
    now = house.clock.now
    return [
        record.seq for record in house.journal.ask(lambda direct, workspace: logbook.untold(direct, workspace, now))
    ]


def by_bridge(bridge: Bridge, port: int = 0) -> Voice:
    return voice(BRIDGE, url=f"http://127.0.0.1:{port}/page" if port else bridge.url)


def is_away(_: Record) -> None:
    raise Transient("Slack does not answer")


def is_broken(_: Record) -> None:
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "garbage")


def test_who_stands_in_is_asked_again_where_nobody_could_be_told_at_first(house: House, bridge: Bridge) -> None:
    crier = Crier(house.journal, stand_ins=[by_bridge(bridge)])
    something_happens(house)
    bridge.answer = (503, b"")
    with capture_logs() as lines:
        looks(house, crier, 3)
        assert untold(house) != []
        bridge.answer = (200, b"ok")
        looks(house, crier, 3)
    assert len(bridge.accepted) == 1, "told once, and then no more"
    assert untold(house) == []
    assert [line["event"] for line in lines].count("logbook") == 1


def test_while_chat_is_away_a_stand_in_hears_of_it_once_however_late_it_takes_it(house: House, bridge: Bridge) -> None:
    chat: list[Callable[[Record], object]] = [is_away]
    said: list[Record] = []

    def say(record: Record) -> None:
        chat[0](record)

    crier = Crier(house.journal, say, [by_bridge(bridge)])
    something_happens(house)
    bridge.answer = (503, b"")
    looks(house, crier, 2)
    bridge.answer = (200, b"ok")
    looks(house, crier, 3)
    assert len(bridge.accepted) == 1
    assert untold(house) != [], "chat is to have it too"
    chat[0] = said.append
    looks(house, crier, 2)
    assert len(said) == 1
    assert untold(house) == []


def test_a_bug_in_one_way_keeps_no_other_from_being_asked(house: House, bridge: Bridge) -> None:
    followed: list[Record] = []
    fails_over(house)
    crier = Crier(house.journal, is_broken, [by_bridge(bridge, free_port()), by_bridge(bridge)], followed.append)
    with capture_logs() as lines:
        looks(house, crier)
    assert len(bridge.accepted) == 1
    assert [record.kind for record in followed] == [Kind.FAILED_OVER]
    (bug,) = (line for line in lines if line["event"] == "logbook_not_told" and line["way"] == "chat")
    assert isinstance(bug["exc_info"], UnicodeDecodeError)


def test_what_has_to_follow_is_tried_again_and_nothing_is_told_anew(house: House) -> None:
    said: list[Record] = []
    followed: list[Record] = []

    def follows(record: Record) -> None:
        followed.append(record)
        if len(followed) < 3:
            raise KeyError("a bug")

    fails_over(house)
    crier = Crier(house.journal, said.append, reconcile=follows)
    something_happens(house)
    looks(house, crier, 5)
    assert sorted(record.kind for record in said) == [Kind.FAILED_OVER, Kind.GLASS_SHUT]
    assert len(followed) == 3
    assert untold(house) == []


def test_a_bug_in_one_question_after_a_fail_over_keeps_no_other_from_being_asked(house: House) -> None:
    asked: list[Sequence[str]] = []

    def breaks() -> Burning:
        raise KeyError("alerts")

    def pages(keys: Sequence[str]) -> Sequence[Paged]:
        asked.append(keys)
        return []

    something_happens(house)
    (record,) = house.journal.ask(logbook.records)
    with capture_logs() as lines:
        Reconciler(house.desk, firing=breaks, pages=pages)(record)
    (done,) = house.journal.ask(lambda direct, workspace: logbook.records(direct, workspace, (Kind.RECONCILED,)))
    assert done.body["lines"] == [
        "Alertmanager could not be asked: a bug of ours (KeyError), which the log has.",
        "PagerDuty agrees with the record.",
    ]
    assert asked == [[]]
    assert [line["event"] for line in lines if "exc_info" in line] == ["reconcile_bug"]


def compared(house: House) -> list[str]:
    """What was put on record about the comparison."""
    (done,) = house.journal.ask(lambda direct, workspace: logbook.records(direct, workspace, (Kind.RECONCILED,)))
    return list(done.body["lines"])


def test_an_alert_that_is_silenced_in_alertmanager_is_not_said_to_be_over_there(house: House) -> None:
    house.receive(house.alert("f1"), house.alert("f2"))
    house.drain()
    something_happens(house)
    (record,) = house.journal.ask(logbook.records)
    Reconciler(house.desk, firing=lambda: Burning("alertmanager", (), quieted=frozenset({"f1"})))(record)
    assert compared(house) == ["Alertmanager: 1 alert of INC-1 burn here and not there; resolve it if that is so."]


def test_where_an_alert_over_there_cannot_be_read_none_is_said_to_be_over(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    something_happens(house)
    (record,) = house.journal.ask(logbook.records)
    unread = Burning("alertmanager", (), fault="alerts[3].fingerprint is missing")
    Reconciler(house.desk, firing=lambda: unread)(record)
    assert compared(house) == [
        "Alertmanager: what is over there was not compared, since not all that burns can be read:"
        " alerts[3].fingerprint is missing."
    ]


def test_what_was_brought_in_before_the_journal_was_busy_is_still_said(house: House) -> None:
    missing = Burning("alertmanager", (house.alert("f1"),))
    answers: list[list[Paged] | Busy] = [Busy("the journal is busy"), []]
    asked: list[str] = []

    def firing() -> Burning:
        asked.append("Alertmanager")
        return missing

    def pages(_: Sequence[str]) -> Sequence[Paged]:
        if isinstance(answer := answers.pop(0), Busy):
            raise answer
        return answer

    something_happens(house)
    (record,) = house.journal.ask(logbook.records)
    reconcile = Reconciler(house.desk, firing=firing, pages=pages)
    with pytest.raises(Busy):
        reconcile(record)
    reconcile(record)
    assert compared(house) == [
        "Alertmanager: alerts of 1 group burn that were missing here; they are brought in.",
        "PagerDuty agrees with the record.",
    ]
    assert asked == ["Alertmanager"]


def test_what_was_not_looked_at_does_not_agree(house: House) -> None:
    for number in range(CHANNELS):
        labels = {"service": f"s{number}", "model": "llama-70b"}
        house.receive(house.alert(f"f{number}", service=f"s{number}", labels=labels))
        house.drain()
    for incident in house.journal.live():
        opened = ev.ChannelOpened(f"C0{incident.number}", f"inc-{incident.number}")
        receipt: dict[str, Any] = {"by": BOT, "at": house.clock(), "key": f"opened-{incident.id}", "source": "courier"}
        house.desk.handle(cmd.RecordReceipt(**receipt, incident=incident.id, events=(opened,)))
    full = [Paged(f"of-another:{n}:1", TRIGGERED, f"#{n}", "") for n in range(PAGES_ASKED)]
    something_happens(house)
    (record,) = house.journal.ask(logbook.records)
    Reconciler(house.desk, pages=lambda _: full, told=lambda _: [])(record)
    assert compared(house) == [
        "PagerDuty: it tells of 100 open incidents at once; whatever is beyond them was not compared.",
        "Slack: only the intake channel and 19 of 20 incidents' channels were compared.",
    ]
