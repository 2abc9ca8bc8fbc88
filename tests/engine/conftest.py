"""Databases for engines, and servers on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.journal.database import sqlite_url
from tests.databases import PostgreSQL
from tests.engine.pair import servers_of
from tests.engine.replica import Cluster, cluster
from tests.journal.conftest import House


@pytest.fixture
def queued(postgres: PostgreSQL) -> Iterator[Cluster]:
    """Servers on PostgreSQL with its queue."""
    with cluster(postgres.new(), queue=True) as servers:
        yield servers


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cluster]:
    """A server on SQLite, which has nobody beside it."""
    with cluster(sqlite_url(tmp_path), queue=False) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", "queue"])
def servers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Servers with each engine: what is said of one must be true of the other."""
    on_file = request.param == "sqlite"
    url = sqlite_url(tmp_path) if on_file else request.getfixturevalue("postgres").new()
    with cluster(url, queue=request.param == "queue") as servers:
        yield servers


@pytest.fixture(params=["postgresql", "queue"])
def replicas(postgres: PostgreSQL, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Servers that share a database, with each engine."""
    with cluster(postgres.new(), queue=request.param == "queue") as servers:
        yield servers


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[House, House]]:
    """Two servers on each database, with a clock that stands: what is said of one must be true of the other."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    with servers_of(tmp_path, url) as pair:
        yield pair
