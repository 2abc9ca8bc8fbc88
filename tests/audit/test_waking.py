"""Which of what waits for a pager is still to wake somebody."""

from datetime import datetime

from bot.audit.waking import waits_since
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.effects import AcknowledgePage, CallSecond, EscalatePage, Page, StopPaging
from bot.incident.policy import Policy
from bot.journal import Txn
from tests.web.site import PAGER, Site

PAGING = Policy(pagers=(PAGER, "mail"))


def waits(site: Site) -> datetime | None:
    return waits_since(site.journal, PAGING)


def only(site: Site, *effects: Page | AcknowledgePage | StopPaging | EscalatePage) -> datetime:
    """These wait for the pager, and nothing else does; since when."""

    def put(txn: Txn) -> None:
        txn.enqueue("i1", effects)

    site.nothing_waits()
    site.journal.write(put).result()
    return site.now


def test_a_page_waits_until_any_pager_has_accepted_one(site: Site) -> None:
    began = site.now
    site.alerts(1, new=1)
    assert waits(site.after(seconds=70)) == began
    site.receipt(ev.PageUnanswered(1, PAGER, "mail", 60))
    site.receipt(ev.PageAccepted("mail", 1, "", "mail"))
    assert site.journal.numbers()["outbox"]["oldest"]["pager"] == began, "the first pager is still asked"
    assert waits(site) is None


def test_a_page_is_wanted_no_more_once_somebody_has_the_incident(site: Site) -> None:
    site.alerts(1, new=1)
    site.do(cmd.Acknowledge)
    assert waits(site.after(minutes=5)) is None


def test_what_stops_or_quietens_a_pager_wakes_nobody(site: Site) -> None:
    site.alerts(1, new=1)
    only(site, AcknowledgePage(1), StopPaging(1))
    assert waits(site.after(minutes=5)) is None


def test_the_next_person_is_wanted_until_somebody_has_it_and_a_second_one_all_the_same(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.PageAccepted(PAGER, 1, ""))
    since = only(site, EscalatePage(1, 2))
    assert waits(site.after(minutes=1)) == since
    site.do(cmd.Acknowledge)
    assert waits(site) is None
    since = only(site, CallSecond(1, 2))
    assert waits(site.after(minutes=1)) == since
    site.do(cmd.Cancel, reason="a test")
    assert waits(site) is None


def test_of_an_incident_that_cannot_be_read_every_page_is_wanted(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.PageAccepted(PAGER, 1, ""))
    since = only(site, Page(1))
    assert waits(site) is None
    site.journal.write(from_a_newer_version).result()
    begun_anew = Site(site.folder, site.url)
    assert waits(begun_anew) == since
    begun_anew.journal.close()


def from_a_newer_version(txn: Txn) -> None:
    """An entry of the incident is of a kind that nobody knows here."""
    txn.direct.say("UPDATE event SET kind = 'incident.dreamt' WHERE seq = 2")
