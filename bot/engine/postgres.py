"""The engine on PostgreSQL: procrastinate brings each errand to one of the servers, and the sweeper is the net below.

A job is the id of a row and nothing else. It is left in the transaction that made it necessary, told to all servers by
NOTIFY, and fetched by one; jobs of one incident and lane run one after the other. Whether there is anything to do is
asked of the journal again, so a job that is lost, late or doubled does no harm: within a second the sweep has found
what it was about.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.worker import Worker
from psycopg import AsyncConnection
from psycopg import Error as PsycopgError
from psycopg.conninfo import conninfo_to_dict

from bot.desk import Desk
from bot.engine.leaving import queue_of
from bot.engine.local import Chore, LocalEngine
from bot.engine.work import Work
from bot.journal import Busy, Unreadable
from bot.journal.errands import DELIVER, DRAIN
from bot.outbox import Outbox

log = structlog.get_logger()

T = TypeVar("T")

DRAINING: Final = 6
"""A server fetches a job for each thread of its couriers, and so many more: drains, for threads that write."""
ASKING: Final = 4
"""Threads that ask the journal what a job is about."""
CONNECTIONS: Final = 2
"""Of the worker, for all it does itself; one more listens."""
POLL_EVERY_S: Final = 10.0
"""What no notification told of is fetched at the latest then; the sweep is faster."""
BEAT_EVERY_S: Final = 5.0
STALLED_AFTER_S: Final = 15.0
STALLED_EVERY_S: Final = 10.0
"""What a dead worker was at, another server's sweep takes up long before its job comes back; these only free the lane
for the next job. Together they cost an idle server less than one statement a second."""
RECONNECT_AFTER_S: Final = 1.0
OPEN_WITHIN_S: Final = 5.0
CUT_OFF: Final = (ProcrastinateException, PsycopgError, OSError)
"""What a database that restarts, or a queue that somebody has changed, looks like from here."""
LET_FINISH_S: Final = 15.0
"""Longer than any courier may take."""


class Jobs:
    """Procrastinate's worker, on a thread and an event loop of its own; it is begun anew whatever ends it.

    `behind` is called when there is something to do that a job could not see to.
    """

    def __init__(self, work: Work, conninfo: str, behind: Callable[[], None]) -> None:
        self._work = work
        self._conninfo = conninfo
        self._queue = queue_of(work.journal.workspace)
        self._behind = behind
        self._waits = threading.Event()
        self._asking = ThreadPoolExecutor(ASKING, "errand")
        self._began = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)
        self._at: set[int | None] = set()
        self._doubted: set[int | None] = set()
        self.flowing = threading.Event()
        """Set while a worker fetches jobs here."""

    def start(self) -> None:
        """Begins to fetch."""
        self._thread.start()
        self._began.wait()

    def stop(self) -> None:
        """Finishes what was fetched."""
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._asking.shutdown()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError), asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(_unheard)
            self._task = self._loop.create_task(self._work_on())
            self._began.set()
            self._loop.run_until_complete(self._task)

    async def _work_on(self) -> None:
        while not self._task.cancelling():
            app = self.app()
            try:
                await self._open_and_fetch(app)
            except CUT_OFF as error:
                log.warning("queue_interrupted", reason=str(error) or type(error).__name__)
            except Exception as bug:
                log.exception("queue_bug", exc_info=bug)  # the sweeps go on, and so must this
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _open_and_fetch(self, app: App) -> None:
        try:
            await app.open_async()
            await self._fetch(app)
        finally:
            self.flowing.clear()
            self._behind()
            with contextlib.suppress(*CUT_OFF):  # a database that is gone cannot be taken leave of
                await app.close_async()

    async def _fetch(self, app: App) -> None:
        worker = Worker(
            app,
            queues=[self._queue],
            concurrency=self._work.threads + DRAINING,
            fetch_job_polling_interval=POLL_EVERY_S,
            delete_jobs="always",  # what happened is in the journal, and what went wrong in the log
            install_signal_handlers=False,
            update_heartbeat_interval=BEAT_EVERY_S,
            stalled_worker_timeout=STALLED_AFTER_S,
            shutdown_graceful_timeout=LET_FINISH_S,
            worker_middleware=[self._known],
        )
        rescue = asyncio.create_task(self._rescue(app, worker))
        self.flowing.set()
        try:
            await worker.run()  # type: ignore[no-untyped-call]
        finally:
            rescue.cancel()

    async def _known(self, job: Callable[[], Awaitable[None]], context: JobContext, _: Worker) -> None:
        self._at.add(context.job.id)
        try:
            await job()
        finally:
            self._at.discard(context.job.id)

    async def _rescue(self, app: App, worker: Worker) -> None:
        while True:
            await asyncio.sleep(STALLED_EVERY_S)
            with contextlib.suppress(*CUT_OFF):
                await self.free_lanes(app, worker.worker_id)

    async def free_lanes(self, app: App, worker: int | None = None) -> int:
        """Gives back, one by one, the jobs that keep a lane while nobody is at them: those of dead workers, and of
        `worker`, which is this one. How many lanes are free again."""
        freed = 0
        for job in [*await self._of_the_dead(app), *await self._forsaken(app, worker)]:
            try:
                await self._give_back(app, job)
            except ConnectorException as error:  # it ended meanwhile, and keeps no other from being freed
                log.info("job_not_freed", job=job.id, reason=str(error.__cause__ or error))
            else:
                freed += 1
        if freed:
            log.info("lanes_freed", count=freed)
        return freed

    async def _of_the_dead(self, app: App) -> Iterable[Job]:
        return await app.job_manager.get_stalled_jobs(queue=self._queue, seconds_since_heartbeat=STALLED_AFTER_S)

    async def _forsaken(self, app: App, worker: int | None) -> Iterable[Job]:
        """Jobs that are this worker's by the database, but were never begun, or have ended: the connection was cut
        when one of the two was said. One look is not enough, for it may be said just now."""
        if worker is None:
            return []
        mine = await app.job_manager.list_jobs_async(queue=self._queue, status="doing", worker_id=worker)
        idle = [job for job in mine if job.id not in self._at]
        forsaken = [job for job in idle if job.id in self._doubted]
        self._doubted = {job.id for job in idle}
        return forsaken

    async def _give_back(self, app: App, job: Job) -> None:
        try:
            await app.job_manager.retry_job(job)
        except UniqueViolation:  # the same was left anew meanwhile, and waits for this one's lane
            await app.job_manager.finish_job(job, Status.ABORTED, delete_job=True)

    def app(self) -> App:
        """A worker's app with a pool of its own, not yet open."""
        options = conninfo_to_dict(self._conninfo).get("options") or ""
        connector = PsycopgConnector(
            conninfo=self._conninfo,
            # A job that is lost when the machine dies does no harm, so no commit of this waits for the disk.
            kwargs={"options": f"{options} -c synchronous_commit=off"},
            configure=_alone,
            min_size=1,
            max_size=CONNECTIONS,
            num_workers=1,
            timeout=OPEN_WITHIN_S,
        )
        app = App(connector=connector)
        app.task(name=DRAIN)(self._drain)
        app.task(name=DELIVER)(self._deliver)
        return app

    async def _drain(self, row: str) -> None:
        await self._safely(self._drain_group(row))

    async def _deliver(self, row: str) -> None:
        await self._safely(self._deliver_lane(row))

    async def _safely(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Busy as busy:
            log.warning("journal_busy", reason=str(busy))
        except Unreadable:
            pass  # the audit names it, and the sweep tries again
        except Exception as bug:
            log.error("engine_bug", exc_info=bug)

    async def _drain_group(self, row: str) -> None:
        group = await self._ask(self._work.journal.group_of, row)
        if group is None:
            return
        if self._work.pace(group):
            self._behind()
            return
        await asyncio.wrap_future(self._work.desk.drain(group))

    async def _deliver_lane(self, row: str) -> None:
        """All that the lane holds: nobody is told of a job's end, and the next of its lane would wait for a poll."""
        while job := await self._ask(self._work.outbox.ready_in_lane_of, row):
            delivery = self._work.hand_out(job, self._landed, at_once=True)
            if delivery is None:
                self._waits.set()
                return
            try:
                await asyncio.wrap_future(delivery)
            except Exception:  # noqa: BLE001 - logged where it happened; the sweep takes it up again
                return

    def _landed(self) -> None:
        """A thread is free again; whoever found none is waited for by nobody else."""
        if self._waits.is_set():
            self._waits.clear()
            self._behind()

    async def _ask(self, question: Callable[[str], T], row: str) -> T:
        return await self._loop.run_in_executor(self._asking, question, row)


class PostgresEngine:
    """Jobs for what is done at once, and below them the local engine, which finds whatever no job brought."""

    def __init__(self, desk: Desk, outbox: Outbox, conninfo: str, chores: Sequence[Chore] = ()) -> None:
        self._net = LocalEngine(desk, outbox, chores)
        self._jobs = Jobs(self._net.work, conninfo, self._net.wake)
        _speak_for(logging.getLogger("procrastinate"))

    @property
    def last_turn(self) -> datetime | None:
        """When a sweep had last looked at everything without trouble."""
        return self._net.last_turn

    def start(self) -> None:
        """Takes over what an earlier process left behind, and begins."""
        self._net.start()
        self._jobs.start()

    def stop(self) -> None:
        """Finishes what is in hand; what is waiting stays in the journal for the others."""
        self._jobs.stop()
        self._net.stop()

    def wake(self) -> None:
        """What was committed here has left jobs behind, so there is nothing to look for, unless none are fetched."""
        if not self.fetching():
            self._net.wake()

    def fetching(self) -> bool:
        """Whether jobs are fetched here; where not, the sweeps do all the work."""
        return self._jobs.flowing.is_set()

    def take_over(self) -> None:
        """The first part of `start`."""
        self._net.take_over()

    def turn(self) -> int:
        """Looks once, on the caller's thread: how many things were done."""
        return self._net.turn()


def _unheard(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What ended a task that nobody waits for. A job whose end could not be written, because the database was away or
    another server had taken it over, does no harm; anything else is a bug."""
    error = context.get("exception")
    if isinstance(error, ConnectorException):
        log.warning("queue_interrupted", reason=str(error.__cause__ or error).strip())
    else:
        log.error("engine_bug", said=context["message"], exc_info=error)


async def _alone(connection: AsyncConnection[Any]) -> None:
    """Each statement by itself, in one round trip instead of three."""
    await connection.set_autocommit(True)


class _Spokesman(logging.Handler):
    """Procrastinate's own words in our log: what it calls an error is an interruption to us, and ends by itself."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("queue_says", said=record.getMessage())


def _speak_for(logger: logging.Logger) -> None:
    logger.propagate = False
    logger.handlers = [_Spokesman(logging.WARNING)]
