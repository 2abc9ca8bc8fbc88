"""What came of an act is recorded with the end of its job; where it cannot be, the act is not repeated for that."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from bot.contracts import Attempt, Delivered
from bot.incident import events as ev
from bot.incident.effects import Effect
from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.journal import Busy
from bot.outbox import Outbox
from tests.slack.wire.office import Office


@dataclass
class Pager:
    """Pages, and reports what it is told to; `tries` are its attempts by number, `meanwhile` happens during each."""

    report: tuple[ev.Event, ...]
    meanwhile: Callable[[], object] = lambda: None
    tries: list[int] = field(default_factory=list)

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.tries.append(attempt.number)
        self.meanwhile()
        return self.report


NONSENSE = ev.StepApplied("a run", "that nobody began", 1)
ACCEPTED = ev.PageAccepted("a pager", 1)


def for_an_hour(office: Office) -> None:
    for _ in range(60):
        office.delivers()
        office.after(minutes=1)


def test_an_act_whose_report_makes_no_sense_is_not_repeated_and_people_are_told(office: Office) -> None:
    pager = Pager((ACCEPTED, NONSENSE))
    office.outbox = Outbox(office.desk, {"pager": pager})
    office.burns()
    with capture_logs() as lines:
        for_an_hour(office)
    assert pager.tries == [1]
    (trouble,) = office.incident.troubles
    assert (trouble.effect, trouble.courier) == ("page", "pager")
    assert "was carried out, but what came of it could not be recorded" in trouble.reason
    assert office.incident.pages == {}, "all of a report counts, or nothing"
    assert [line["exc_info"] for line in lines if line["event"] == "receipt_bug"] == [True]


def test_an_act_is_not_repeated_even_when_not_one_word_about_it_can_be_recorded(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Refused("Nothing is taken today.")

    pager = Pager((ACCEPTED,))
    office.outbox = Outbox(office.desk, {"pager": pager})
    office.burns()
    monkeypatch.setattr(office.desk, "execute", refuse)
    for_an_hour(office)
    assert pager.tries == [1]


def test_while_the_journal_cannot_be_written_the_job_waits_and_is_looked_at_again(office: Office) -> None:
    with closing(sqlite3.connect(office.folder / "fixfirst.db", isolation_level=None)) as database:
        pager = Pager((ACCEPTED,), meanwhile=lambda: database.execute("ALTER TABLE event RENAME TO hidden"))
        office.outbox = Outbox(office.desk, {"pager": pager})
        office.burns()
        (page,) = (job for job in office.outbox.ready() if job.effect.courier == "pager")
        with pytest.raises(Busy):
            office.outbox.deliver(page.id)
        database.execute("ALTER TABLE hidden RENAME TO event")
    pager.meanwhile = lambda: None
    office.after(minutes=1)
    office.delivers()
    assert pager.tries == [1, 2], "on its second try a pager looks whether the first one got through"
    assert office.incident.pages == {1: ACCEPTED}
    assert office.incident.troubles == ()
