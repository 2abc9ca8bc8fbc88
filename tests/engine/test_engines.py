"""What both engines do, on either database: the same work by the same hands."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from bot.contracts import Transient
from bot.engine.local import LocalEngine
from bot.engine.work import DRAINS_AT_ONCE, WORKERS
from bot.incident.effects import EFFECTS, CallSecond, Effect, OpenChannel, Page, PageEffect
from bot.incident.events import AckDeadlineMissed
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.journal import Job, Txn
from bot.journal.servers import DEAD_AFTER, LEASE
from bot.outbox import LONGEST_REST, LONGEST_WISH_S, Outbox
from tests.engine.replica import Cluster, Replica, until
from tests.journal.conftest import House

ANSWER_WITHIN_S = 10.0
"""Seconds, on a busy machine; what hangs does so until the alerts are in."""
MORE_THAN_IS_LOOKED_AT = 40
"""Jobs of one courier that one look takes: 32."""
LATE_AT_MOST_S = DEAD_AFTER.total_seconds()
"""Each server sweeps every second, and nobody waits until one that went is given up."""


def test_news_become_an_incident_that_is_paged_and_shown(servers: Cluster) -> None:
    server = servers.joins().start()
    server.fires("chat")
    until(lambda: {"Page", "OpenChannel", "RefreshCard", "CollectEvidence", "Tell"} <= set(servers.world.kinds()))
    (incident,) = server.journal.live()
    assert server.journal.verify(incident.id) is None


def test_every_courier_has_threads() -> None:
    assert {effect.courier for effect in EFFECTS.values()} <= set(WORKERS)


def test_what_did_not_work_is_tried_again(servers: Cluster) -> None:
    tries: list[str] = []

    def act(server: str, effect: Effect, incident: Incident) -> None:
        if isinstance(effect, PageEffect):
            tries.append(server)
            if len(tries) < 3:
                raise Transient("not now", retry_after=0)

    servers.world.act = act
    servers.joins().start().fires("chat")
    until(lambda: "Page" in servers.world.kinds())
    assert len(tries) == 3


def test_what_is_late_and_whoever_is_to_be_woken_wait_for_no_pile_of_news(alone: Cluster) -> None:
    alone.policy = Policy(ack_within=timedelta(milliseconds=1))
    server = alone.joins()
    server.fires("first")
    for group in server.journal.waiting_groups():
        server.desk.drain(group).result()
    (first,) = server.journal.live()
    server.fires(*(f"later-{number}" for number in range(4 * DRAINS_AT_ONCE)))
    open_at_the_page: list[int] = []

    def act(_server: str, effect: Effect, incident: Incident) -> None:
        if isinstance(effect, Page) and incident.id == first.id:
            open_at_the_page.append(len(server.journal.live()))

    alone.world.act = act
    server.start()
    until(lambda: len(server.journal.live()) > 4 * DRAINS_AT_ONCE, within_s=30)
    entries = server.journal.entries(first.id)
    noticed = next(entry.recorded_at for entry in entries if isinstance(entry.event, AckDeadlineMissed))
    before = [incident for incident in server.journal.live() if incident.opened_at < noticed]
    assert len(before) <= 1 + DRAINS_AT_ONCE
    assert open_at_the_page
    assert open_at_the_page[0] <= 1 + 2 * DRAINS_AT_ONCE


def test_a_deadline_that_passes_is_acted_on_once(servers: Cluster) -> None:
    servers.policy = Policy(ack_within=timedelta(seconds=1))
    server = servers.joins().start()
    server.fires("chat")
    until(lambda: [late for late in missed(server) if late < LATE_AT_MOST_S])


def missed(server: Replica) -> list[float]:
    """How late each missed deadline to acknowledge was noticed, in seconds; of all incidents' first ones."""
    late = []
    for incident in server.journal.recent(100):
        entries = server.journal.entries(incident.id)
        firsts = [e for e in entries if isinstance(e.event, AckDeadlineMissed) and e.event.level == 1]
        assert len(firsts) <= 1
        late += [(e.recorded_at - incident.opened_at).total_seconds() - 1 for e in firsts]
    return late


@pytest.mark.parametrize("stuck", [("slack", "runbook", "health", "postmortem"), ("pager",)], ids=["chat", "pager"])
def test_while_every_thread_of_a_courier_hangs_alerts_are_taken_in_and_the_others_work(
    servers: Cluster, stuck: tuple[str, ...]
) -> None:
    go_on, hanging = threading.Event(), threading.Semaphore(0)

    def act(server: str, effect: Effect, incident: Incident) -> None:
        if effect.courier in stuck:
            hanging.release()
            go_on.wait()

    servers.world.act = act
    server = servers.joins().start()
    try:
        server.fires(*(f"first-{number}" for number in range(8)))
        assert hanging.acquire(timeout=10)
        waits = []
        for number in range(12):
            began = time.monotonic()
            server.fires(f"later-{number}")
            waits.append(time.monotonic() - began)
        assert max(waits) < ANSWER_WITHIN_S
        works = "Page" if "pager" not in stuck else "OpenChannel"
        until(lambda: servers.world.kinds().count(works) == 20)
    finally:
        go_on.set()
    until(lambda: servers.world.kinds().count("Page") == 20)


def test_where_the_pager_hangs_and_who_stands_in_for_it_too_the_next_is_asked_for_every_incident(
    servers: Cluster,
) -> None:
    servers.policy = Policy(pagers=("PagerDuty", "bridge", "mail"), accept_within=timedelta(milliseconds=100))
    go_on = threading.Event()

    def act(server: str, effect: Effect, incident: Incident) -> None:
        if isinstance(effect, Page) and effect.pager != "mail":
            go_on.wait()

    servers.world.act = act
    server = servers.joins().start()
    try:
        server.fires(*(f"model-{number}" for number in range(MORE_THAN_IS_LOOKED_AT)))
        until(lambda: servers.world.kinds().count("Page") == MORE_THAN_IS_LOOKED_AT)
    finally:
        go_on.set()


def test_a_page_waits_for_no_call_however_many_hang(servers: Cluster) -> None:
    go_on, hanging = threading.Event(), threading.Semaphore(0)

    def act(server: str, effect: Effect, incident: Incident) -> None:
        if isinstance(effect, CallSecond):
            hanging.release()
            go_on.wait()

    servers.world.act = act
    server = servers.joins().start()
    try:
        server.fires(*(f"first-{number}" for number in range(4)))
        until(lambda: servers.world.kinds().count("Page") == 4)
        firsts = [incident.id for incident in server.journal.live()]

        def call_for_each(txn: Txn) -> None:
            for first in firsts:
                txn.enqueue(first, [CallSecond(1, 1)])

        server.journal.write(call_for_each).result()
        server.engine.wake()
        assert all(hanging.acquire(timeout=30) for _ in range(WORKERS["pager"]))
        server.fires("later")
        until(lambda: servers.world.kinds().count("Page") == 5)
    finally:
        go_on.set()


def test_a_replica_comes_and_another_goes_and_no_deadline_is_missed_or_late(replicas: Cluster) -> None:
    replicas.policy = Policy(ack_within=timedelta(seconds=1))
    first, second = replicas.joins().start(), replicas.joins().start()
    first.fires(*(f"early-{number}" for number in range(6)))
    until(lambda: len(first.journal.live()) == 6)
    first.stop()
    third = replicas.joins().start()
    third.fires(*(f"late-{number}" for number in range(6)))
    second.stop()
    until(lambda: len(missed(third)) == 12)
    assert max(missed(third)) < LATE_AT_MOST_S
    assert replicas.world.kinds().count("Page") >= 12


def test_what_waits_does_not_rest_for_longer_because_the_clock_was_set_back_before_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.receive(house.alert("first"))
    house.drain()
    house.clock.after(minutes=30)
    ready = house.journal.ready_jobs(house.clock())
    put_off, asked_to_wait = (job for job in ready if isinstance(job.effect, Page | OpenChannel))
    for job, rest in ((put_off, timedelta(seconds=10)), (asked_to_wait, timedelta(seconds=LONGEST_WISH_S))):
        postponed_by(house, job, rest)
    house.receive(house.alert("second", labels={"service": "search"}, service="search"))
    house.drain()
    house.clock.after(minutes=-10)
    house.reopen()
    engine = LocalEngine(house.desk, Outbox(house.desk, {}))
    engine.take_over()
    pages = [job for job in house.journal.ready_jobs(house.clock()) if isinstance(job.effect, Page)]
    assert [job.id for job in pages if job.id != put_off.id], "it was written down in what is now the future"
    house.clock.after(seconds=LONGEST_REST.total_seconds())
    assert {put_off.id, asked_to_wait.id} <= {job.id for job in house.journal.ready_jobs(house.clock())}
    house.journal.close()


def test_what_was_asked_to_be_left_alone_is_left_alone_over_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.receive(house.alert("first"))
    house.drain()
    (page,) = (job for job in house.journal.ready_jobs(house.clock()) if isinstance(job.effect, Page))
    postponed_by(house, page, timedelta(seconds=LONGEST_WISH_S))
    house.reopen()
    LocalEngine(house.desk, Outbox(house.desk, {})).take_over()
    house.clock.after(seconds=LONGEST_WISH_S - 1)
    assert page.id not in [job.id for job in house.journal.ready_jobs(house.clock())]
    house.journal.close()


def postponed_by(house: House, waiting: Job, rest: timedelta) -> None:
    def put_off(txn: Txn) -> None:
        job = txn.claim(waiting.id, txn.now + LEASE)
        assert job is not None
        assert txn.postpone(job, txn.now + rest, "429", warned=False)

    house.journal.write(put_off).result()
