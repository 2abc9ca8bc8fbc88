"""Procrastinate's part: jobs are born with what they are about, keep the order of a lane, and may all be lost."""

import asyncio
import gc
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import procrastinate
import pytest
from alembic import command
from procrastinate import App
from procrastinate.manager import JobManager
from structlog.testing import capture_logs

from bot.engine.leaving import queue_of
from bot.engine.postgres import Jobs
from bot.engine.work import Work
from bot.incident import commands as cmd
from bot.incident.effects import Effect, Tell
from bot.incident.state import Incident
from bot.journal import Txn
from bot.journal.database import _alembic, conninfo, open_engine
from tests.databases import PostgreSQL
from tests.engine.replica import PATIENCE_S, WORKSPACE, Cluster, Replica, until
from tests.journal.conftest import MAYA


def updated(server: Replica, incident: Incident, number: int) -> None:
    server.desk.handle(update(server, incident, f"update {number}"), 30)


def update(server: Replica, incident: Incident, text: str) -> cmd.PostUpdate:
    return cmd.PostUpdate(incident=incident.id, by=MAYA, at=server.journal.clock(), key=text, source="slack", text=text)


def opened(server: Replica) -> Incident:
    server.fires("chat")
    for group in server.journal.waiting_groups():
        server.desk.drain(group).result()
    (incident,) = server.journal.live()
    return incident


def test_a_job_is_committed_with_what_it_is_about(queued: Cluster) -> None:
    server = queued.joins()
    server.fires("chat")
    ((news,),) = queued.sql("SELECT id FROM inbox")
    assert queued.jobs("queue_name, task_name, args") == [(queue_of(WORKSPACE), "drain", {"row": news})]


def test_what_is_rolled_back_leaves_no_job(queued: Cluster) -> None:
    server = queued.joins()
    incident = opened(server)
    queued.sql("DELETE FROM procrastinate_jobs")
    told = update(server, incident, "We are rolling back.")

    def writes_and_fails(txn: Txn) -> None:
        server.desk.execute(txn, told)
        txn.hand_on()
        assert txn.direct.raw("SELECT count(*) FROM procrastinate_jobs", {}) > 0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        server.journal.write(writes_and_fails).result()
    assert queued.jobs() == []
    server.desk.handle(told)
    assert [task for task, _ in queued.jobs()] != []


def test_each_effect_leaves_one_job_in_its_lane_and_pages_come_first(queued: Cluster) -> None:
    server = queued.joins()
    incident = opened(server)
    rows = queued.sql("SELECT id, incident || ':' || courier || ':' || lane, courier FROM outbox ORDER BY position")
    jobs = queued.jobs("args ->> 'row', lock, task_name")
    assert [job for job in jobs if job[2] == "deliver"] == [(row, lane, "deliver") for row, lane, _ in rows]
    first = queued.sql("SELECT args ->> 'row' FROM procrastinate_jobs ORDER BY priority DESC, id LIMIT 1")
    assert first == [(row,) for row, _, courier in rows if courier == "pager"]
    assert incident.number == 1


def test_a_storm_over_one_group_leaves_one_job(queued: Cluster) -> None:
    server = queued.joins()
    for _ in range(20):
        server.fires("chat")
        queued.sql("UPDATE alert SET status = 'resolved'")
    assert len(queued.sql("SELECT id FROM inbox")) > 1
    assert len(queued.jobs()) == 1


def test_lanes_are_carried_out_in_order_and_one_at_a_time_by_whichever_server(queued: Cluster) -> None:
    servers = [queued.joins() for _ in range(3)]
    incident = opened(servers[0])
    at_work: dict[str, int] = defaultdict(int)
    crowded: list[str] = []
    guard = threading.Lock()

    def act(server: str, effect: Effect, incident: Incident) -> None:
        lane = f"{effect.courier}:{effect.queue()}"
        with guard:
            at_work[lane] += 1
            crowded.extend([lane] if at_work[lane] > 1 else [])
        threading.Event().wait(0.005)
        with guard:
            at_work[lane] -= 1

    queued.world.act = act
    for server in servers:
        server.start()
    numbers = itertools.count()

    def all_took_part() -> bool:
        number = next(numbers)
        updated(servers[number % 3], incident, number)
        return number >= 30 and {name for name, _, _ in queued.world.done} == {server.name for server in servers}

    until(all_took_part)
    until(lambda: servers[0].journal.numbers()["outbox"]["states"].get("waiting", 0) == 0)
    assert crowded == []
    told = [effect.entry for _, effect, _ in queued.world.done if isinstance(effect, Tell)]
    entries = [entry.id for entry in servers[0].journal.entries(incident.id)]
    assert len(told) > 30
    assert told == [entry for entry in entries if entry in told]


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that nobody is told of are found soon, and so are those that nobody is at."""
    monkeypatch.setattr("bot.engine.postgres.POLL_EVERY_S", 0.1)
    monkeypatch.setattr("bot.engine.postgres.STALLED_EVERY_S", 0.1)


NOTIFYING = "procrastinate_jobs_notify_queue_job_inserted_v1"
LOSSES = {
    "the notification": f"ALTER TABLE procrastinate_jobs DISABLE TRIGGER {NOTIFYING}",
    "every job": "CREATE RULE gone AS ON INSERT TO procrastinate_jobs DO INSTEAD NOTHING",
    "the queue": "DROP TABLE procrastinate_jobs CASCADE",
    "its functions": "DROP FUNCTION procrastinate_fetch_job_v2, procrastinate_defer_jobs_v1",
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_whatever_is_lost_of_the_queue_the_sweep_does_the_work(
    queued: Cluster, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.engine.postgres.POLL_EVERY_S", 600.0)
    server = queued.joins().start()
    with capture_logs() as lines:
        queued.sql(loss)
        server.fires("chat")
        until(lambda: {"Page", "Tell"} <= set(queued.world.kinds()))
    assert [line for line in lines if "bug" in line["event"]] == []
    assert len([line for line in lines if line["event"] == "queue_broken"]) <= 1


@pytest.mark.usefixtures("looking_often")
def test_a_worker_whose_connections_are_cut_begins_anew(queued: Cluster) -> None:
    server = queued.joins().start()
    queued.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    server.fires("chat")
    until(lambda: {"Page", "Tell"} <= set(queued.world.kinds()))
    until(lambda: queued.sql("SELECT count(*) FROM procrastinate_jobs") == [(0,)], within_s=60)


def freed(queued: Cluster, server: Replica, at: Callable[[App], object] = lambda _: None) -> int:
    """How many lanes another server frees, of whose app `at` is told just before."""

    async def look() -> int:
        jobs = Jobs(Work(server.desk, server.outbox), conninfo(queued.url), lambda: None)
        app = jobs.app()
        await app.open_async()
        try:
            at(app)
            return await jobs.free_lanes(app)
        finally:
            await app.close_async()

    return asyncio.run(look())


def taken(queued: Cluster, last_heartbeat: str = "now()") -> int:
    """A worker, last heard of then, has fetched all jobs there are. Its number."""
    ((worker,),) = queued.sql(
        f"INSERT INTO procrastinate_workers (last_heartbeat) VALUES ({last_heartbeat}) RETURNING id"
    )
    queued.sql(f"UPDATE procrastinate_jobs SET status = 'doing', worker_id = {worker}")
    assert isinstance(worker, int)
    return worker


A_MINUTE_AGO = "now() - interval '1 minute'"


def test_jobs_of_a_dead_worker_come_back_one_by_one_and_one_that_ended_stops_no_other(
    queued: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = queued.joins()
    server.fires(*(f"chat-{number}" for number in range(3)))
    taken(queued, A_MINUTE_AGO)

    def first_of_them_ends(app: App) -> None:
        listed = app.job_manager.get_stalled_jobs

        async def then_one_ends(**which: Any) -> Any:
            found = list(await listed(**which))
            queued.sql("DELETE FROM procrastinate_jobs WHERE id = (SELECT min(id) FROM procrastinate_jobs)")
            return found

        monkeypatch.setattr(app.job_manager, "get_stalled_jobs", then_one_ends)

    assert freed(queued, server, first_of_them_ends) == 2
    assert queued.jobs("status") == [("todo",), ("todo",)]


def test_a_dead_workers_job_gives_way_to_the_same_job_left_anew(queued: Cluster) -> None:
    server = queued.joins()
    server.fires("chat")
    taken(queued, A_MINUTE_AGO)
    for group in server.journal.waiting_groups():
        server.desk.drain(group).result()  # as the sweep does, long before the job comes back
    queued.sql("DELETE FROM alert")
    queued.sql("DELETE FROM procrastinate_jobs WHERE task_name = 'deliver'")
    server.fires("chat")
    (_, (anew, status)) = queued.jobs("id, status")
    assert status == "todo", "and it can never be fetched, for its lane is the dead worker's"
    assert freed(queued, server) == 1
    assert queued.jobs("id, status") == [(anew, "todo")]


def test_jobs_of_a_worker_that_lives_are_left_to_it(queued: Cluster) -> None:
    server = queued.joins()
    server.fires("chat")
    taken(queued)
    assert freed(queued, server) == 0


@pytest.mark.usefixtures("looking_often")
def test_a_worker_gives_back_what_it_holds_only_by_the_database(queued: Cluster) -> None:
    """The connection was cut when it fetched the job, or when it told of its end."""
    queued.joins().start()
    queued.sql(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args, status, worker_id)"
        f" SELECT '{queue_of(WORKSPACE)}', 'drain', 'held', 'held', '{{\"row\": \"gone\"}}', 'doing', max(id)"
        " FROM procrastinate_workers"
    )
    with capture_logs() as lines:
        until(lambda: queued.jobs() == [])
    assert [line["count"] for line in lines if line["event"] == "lanes_freed"] == [1]


def test_a_worker_keeps_the_job_it_is_at_however_long_it_takes(
    queued: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.engine.postgres.STALLED_EVERY_S", 0.02)
    looks, enough = itertools.count(1), threading.Event()
    listed = JobManager.list_jobs_async

    async def counted(self: JobManager, **which: Any) -> Any:
        found = await listed(self, **which)
        if found and next(looks) == 5:
            enough.set()
        return found

    monkeypatch.setattr(JobManager, "list_jobs_async", counted)

    def act(_server: str, _effect: Effect, _incident: Incident) -> None:
        enough.wait(PATIENCE_S)

    queued.world.act = act
    server = queued.joins().start()
    with capture_logs() as lines:
        server.fires("chat")
        until(lambda: "Page" in queued.world.kinds())
    assert enough.is_set()
    assert [line for line in lines if line["event"] in ("lanes_freed", "job_not_freed")] == []


@pytest.mark.usefixtures("looking_often")
def test_nothing_is_left_of_jobs_that_were_done(queued: Cluster) -> None:
    server = queued.joins().start()
    server.fires("chat")
    until(lambda: "Tell" in queued.world.kinds())
    until(lambda: queued.sql("SELECT count(*) FROM procrastinate_jobs") == [(0,)])
    assert queued.sql("SELECT count(*) FROM procrastinate_events") == [(0,)]


def test_workspaces_that_share_a_database_do_not_fetch_each_others_jobs() -> None:
    assert queue_of("blue") != queue_of("green")
    assert len(f"procrastinate_queue_v1#{queue_of('a' * 40)}") < 64


def test_our_migration_makes_what_the_installed_procrastinate_works_with() -> None:
    """When this fails, procrastinate has changed its tables: a migration of ours has to bring its newer ones along."""
    ours = (files("bot.journal") / "migrations" / "procrastinate_3_10.sql").read_text(encoding="utf-8")
    theirs = (Path(procrastinate.__file__).parent / "sql" / "schema.sql").read_text(encoding="utf-8")
    assert ours.endswith(theirs)


def test_the_migration_goes_back_and_forth(postgres: PostgreSQL) -> None:
    engine = open_engine(postgres.new())
    config = _alembic(engine)
    for _ in range(2):
        command.downgrade(config, "0002")
        with engine.connect() as connection:
            left = connection.exec_driver_sql("SELECT count(*) FROM pg_proc WHERE proname ~ 'procrastinate|fixfirst'")
            assert left.scalar_one() == 0
        command.upgrade(config, "head")
    engine.dispose()


def test_a_job_that_another_server_took_over_and_ended_is_no_bug(
    queued: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    def act(_server: str, effect: Effect, _incident: Incident) -> None:
        queued.sql("DELETE FROM procrastinate_jobs WHERE status = 'doing'")

    server = queued.joins().start()
    queued.world.act = act
    with capture_logs() as lines:
        server.fires("chat")
        until(lambda: "queue_interrupted" in {line["event"] for line in lines})
        gc.collect()  # only then asyncio says that nobody asked what became of a task
    assert [line for line in lines if "bug" in line["event"]] == []
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    until(lambda: server.journal.numbers()["outbox"]["states"].get("waiting", 0) == 0)
