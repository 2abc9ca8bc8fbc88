"""The composition root: the one place that knows all the rooms and puts them together."""

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from bot import health
from bot.config import Config, Listener
from bot.contracts import Courier
from bot.desk import Desk
from bot.engine.local import LocalEngine
from bot.health.courier import Courier as HealthCourier
from bot.incident.due import next_due_at
from bot.incident.state import Incident
from bot.integrations import http, pagerduty, prometheus
from bot.journal import Journal
from bot.journal.database import migrate, open_engine
from bot.outbox import Outbox
from bot.postmortem.courier import Courier as PostmortemCourier
from bot.runbook.courier import Courier as RunbookCourier
from bot.runbook.library import Library
from bot.runbook.shelf import load as load_runbooks
from bot.web.doors import Doors, Limits

log = structlog.get_logger()

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class AlreadyRunning(Exception):
    """Another process serves this data folder."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds the data folder, so that no second server takes over claims that are in use. Raises AlreadyRunning."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another fixfirst serve already works on {folder}") from error
        yield


def open_journal(config: Config, clock: Clock = wall_clock) -> Journal:
    """The journal with its schema up to date."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(config.database)
    migrate(engine)
    return Journal(engine, config.workspace, clock, lambda incident: next_due_at(incident, config.policy))


def telemetry_of(config: Config) -> health.Telemetry | None:
    """The telemetry, when a Prometheus is configured."""
    settings = config.prometheus
    if settings is None:
        return None
    token = settings.token
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else None
    return health.Telemetry(settings.url, timeout=settings.timeout, headers=headers, settings=config.health)
