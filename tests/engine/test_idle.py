"""What servers cost that have nothing to do."""

import threading
from pathlib import Path

import pytest

from bot.workbench.launch import Options, Workbench
from tests.chaos.servers import several_on_postgresql
from tests.databases import PostgreSQL
from tests.story.night import ANY_PORTS

pytestmark = pytest.mark.alone

SERVERS = 3
SETTLED_S = 4.0
WATCHED_S = 12.0
WATCHES = 3
"""At most: on a slow machine the first is still of their start."""
STATEMENTS_A_SECOND = 20.0
CONNECTIONS_OF_A_SERVER = 30


def test_three_idle_servers_ask_postgresql_less_than_twenty_things_a_second(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    options = Options(ports=ANY_PORTS, directory=tmp_path, bot=False, monitoring=False, paced=False)
    with Workbench(options) as bench, several_on_postgresql(bench, postgres, SERVERS) as servers:
        servers.start()
        threading.Event().wait(SETTLED_S)
        for _ in range(WATCHES):
            with postgres.statements() as asked:
                threading.Event().wait(WATCHED_S)
                what = asked()
            if 0 < what.total() / WATCHED_S < STATEMENTS_A_SECOND:
                break
        else:
            pytest.fail(f"more each time, the last: {what.most_common(12)}")
        assert postgres.connections(servers.database) <= SERVERS * CONNECTIONS_OF_A_SERVER
