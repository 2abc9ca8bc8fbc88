"""What servers and schedulers do when left alone, and that ours do not: turn callers away, and drop what is late."""

import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from bot.engine.local import Chore, LocalEngine
from bot.web.listen import bind
from tests.doors.house import open_house

CALLERS = 24
EVERY = timedelta(hours=2)


def admitted(address: tuple[str, int]) -> int:
    """How many of the callers get a connection within half a second, while nobody has time to take one."""
    with ExitStack() as connections:
        count = 0
        for _ in range(CALLERS):
            caller = connections.enter_context(socket.socket())
            caller.settimeout(0.5 if count else 5.0)
            try:
                caller.connect(address)
            except TimeoutError:
                return count
            count += 1
        return count


def test_python_s_own_server_keeps_six_waiting_and_ours_a_thousand() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        assert admitted(("127.0.0.1", server.server_port)) < 16
    with bind("doors", "127.0.0.1", 0) as listener:
        assert admitted(listener.getsockname()) == CALLERS


def what_became_of_it(scheduler: BackgroundScheduler) -> str:
    """Whether a job whose time came a minute ago, since when everything stood still, is done or dropped."""
    told: SimpleQueue[str] = SimpleQueue()
    scheduler.start(paused=True)
    (job,) = (job for job in scheduler.get_jobs() if job.trigger.interval == EVERY)

    def listen(event: JobExecutionEvent) -> None:
        if event.job_id == job.id:
            told.put("dropped" if event.code == EVENT_JOB_MISSED else "done")

    scheduler.add_listener(listen, EVENT_JOB_MISSED | EVENT_JOB_EXECUTED)
    job.modify(next_run_time=datetime.now(UTC) - timedelta(minutes=1))
    scheduler.resume()
    try:
        return told.get(timeout=10)
    finally:
        scheduler.shutdown()


def test_what_is_a_minute_late_is_dropped_by_the_scheduler_and_done_by_ours(tmp_path: Path) -> None:
    done: list[str] = []

    def audit() -> None:
        done.append("audit")

    plain = BackgroundScheduler(timezone="UTC")
    plain.add_job(audit, "interval", seconds=EVERY.total_seconds())
    assert (what_became_of_it(plain), done) == ("dropped", [])
    with open_house(tmp_path) as house:
        engine = LocalEngine(house.app.desk, house.app.outbox, [Chore(audit, EVERY.total_seconds())])
        assert (what_became_of_it(engine._scheduler), done) == ("done", ["audit"])
