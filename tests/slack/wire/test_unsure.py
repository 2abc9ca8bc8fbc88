"""Where the journal does not say in time whether it keeps what somebody did, nobody is told that it does not."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from bot.incident import commands as cmd
from bot.incident.events import MessagePinned, NoteAdded
from bot.journal import Txn
from tests.faults.process import eventually
from tests.slack.wire.office import MAYA, Office

T = TypeVar("T")


@contextmanager
def under_way(office: Office, act: Callable[[], T]) -> Iterator[T]:
    """Gives what comes of `act` while the commit that holds it goes on; afterwards that is let through."""
    first, second, begun = threading.Event(), threading.Event(), threading.Event()

    def hold(_: Txn) -> None:
        begun.set()
        first.wait(30)

    with ThreadPoolExecutor(1) as person:
        office.journal.write(hold)
        assert begun.wait(10)
        last = office.journal.write(lambda _: second.wait(30))
        acting = person.submit(act)
        eventually(lambda: len(office.journal._writer._urgent) == 2)  # these two will share a commit
        first.set()
        try:
            yield acting.result(30)
        finally:
            second.set()
            last.result(30)
            office.journal.write(lambda _: None).result(30)


def test_whoever_acted_is_told_later_what_came_of_it(office: Office) -> None:
    office.burns()
    with under_way(office, lambda: office.types(MAYA, "/incident note we look at the gateway")) as answer:
        assert "does not say yet whether this was kept. I tell you here when it does" in answer
        assert "It was kept" not in office.whispers(MAYA)
    office.afterwards.run()
    assert "It was kept: you need not do it again." in office.whispers(MAYA)
    assert [note.text for _, note in office.entries(NoteAdded)] == ["we look at the gateway"]


def test_whoever_was_refused_is_told_later_why(office: Office) -> None:
    incident = office.burns()
    office.does(cmd.Resolve, incident.id, reason="a false alarm", despite_firing=True)
    with under_way(office, lambda: office.types(MAYA, f"/incident ack {incident.ref}")) as answer:
        assert "does not say yet" in answer
    office.afterwards.run()
    assert "It was kept" not in office.whispers(MAYA)
    assert "resolved" in office.whispers(MAYA)


def test_a_form_stays_open_to_be_sent_again_and_counts_once(office: Office) -> None:
    values = {"title": "The gateway is down", "severity": "SEV1", "impact": "Everybody"}
    office.types(MAYA, "/incident declare")
    with under_way(office, lambda: office.fills_in(MAYA, **values)) as errors:
        assert any("Press again in a moment, as it stands: twice counts once" in error for error in errors.values())
    assert office.fills_in(MAYA, **values) == {}
    assert [incident.title for incident in office.journal.recent(9)] == ["The gateway is down"]


def test_a_message_that_was_marked_may_be_marked_again(office: Office) -> None:
    office.burns()
    office.delivers()
    channel = office.incident.channel
    message = office.workspace.say(MAYA, channel, "the pool was at its limit")

    def marks() -> None:
        office.workspace.react(MAYA, channel, message.ts, "pushpin")
        office.afterwards.run()

    with under_way(office, marks):
        assert "does not say whether that message is in the timeline" in office.whispers(MAYA)
        assert "did not make it" not in office.whispers(MAYA)
    assert len(office.entries(MessagePinned)) == 1
