"""What servers cost that have nothing to do."""

import threading

from tests.databases import PostgreSQL
from tests.engine.replica import Cluster, until

WATCHED_S = 8.0
STATEMENTS_A_SECOND = 20.0
CONNECTIONS_OF_A_SERVER = 30


def test_three_idle_servers_ask_postgresql_less_than_twenty_things_a_second(
    replicas: Cluster, postgres: PostgreSQL
) -> None:
    servers = [replicas.joins().start() for _ in range(3)]
    servers[0].fires("chat")
    until(lambda: {"Page", "Tell"} <= set(replicas.world.kinds()))
    with postgres.statements() as count:
        threading.Event().wait(WATCHED_S)
        assert 0 < count() / WATCHED_S < STATEMENTS_A_SECOND
    assert postgres.connections(replicas.url) <= 3 * CONNECTIONS_OF_A_SERVER
