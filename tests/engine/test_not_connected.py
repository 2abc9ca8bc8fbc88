"""What nobody is connected for is not said to be delivered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.contracts import Transient
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.outbox import FAILED, NOT_CONNECTED, POSTPONED, Outbox
from tests.web.site import PAGER, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A workspace to which nothing is connected."""
    site = Site(tmp_path)
    yield site
    site.journal.close()


class Away:
    """A pager that does not answer."""

    def deliver(self, *_: object) -> tuple[ev.Event, ...]:
        raise Transient("503")


def everything(outbox: Outbox, courier: str) -> None:
    """All that waits for this courier now is tried."""
    for job in outbox.ready():
        if job.effect.courier == courier:
            outbox.deliver(job.id)


def troubles(site: Site) -> list[str]:
    (incident,) = site.journal.recent()
    return [f"{trouble.effect} by {trouble.courier}: {trouble.reason}" for trouble in incident.troubles]


def test_where_nothing_is_connected_nothing_is_delivered_and_that_is_no_trouble(site: Site) -> None:
    site.alerts(1, new=1)
    outbox = Outbox(site.desk, {})
    for courier in ("slack", "slack", "pager"):
        everything(outbox, courier)
    assert outbox.results() == {("slack", NOT_CONNECTED): 3, ("pager", NOT_CONNECTED): 1}
    assert troubles(site) == []
    assert not [job for job in outbox.ready() if job.effect.courier in ("slack", "pager")], "nothing waits for it"


def test_a_page_whose_pager_was_taken_out_of_the_configuration_is_trouble(site: Site) -> None:
    site.alerts(1, new=1)
    before = Outbox(site.desk, {"pager": Away()})
    everything(before, "pager")
    site.after(minutes=1).receipt(ev.PageUnanswered(1, PAGER, "mail", 60))
    after = Outbox(site.desk, {})
    everything(after, "pager")
    assert (before.results(), after.results()) == ({("pager", POSTPONED): 1}, {("pager", FAILED): 2})
    assert sorted(troubles(site)) == [
        "page by pager mail: it is not connected any more",
        "page by pager: it is not connected any more",
    ]


def test_a_page_that_is_not_wanted_any_more_is_none(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.PageUnanswered(1, PAGER, "mail", 60))
    site.do(cmd.Acknowledge)
    outbox = Outbox(site.desk, {})
    for _ in range(3):
        everything(outbox, "pager")
    assert {result for _, result in outbox.results()} == {NOT_CONNECTED}
    assert troubles(site) == []
