"""`fixfirst serve` on the least that could stand in for a queue: NOTIFY in each commit, LISTEN on a thread.

    python -m tests.bench.notified serve ...

Nobody ships this: it is what decision 14 measures the queue against.
"""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg

import bot.engine.postgres
import bot.opening
from bot.cli import main
from bot.engine.local import LocalEngine
from bot.journal.direct import Direct
from bot.journal.errands import Errand

CHANNEL = "fixfirst_bench"


class Notifying:
    """Tells all servers that there is something to do, but not what."""

    def __init__(self, _workspace: str) -> None:
        """The bench has one workspace."""

    def __call__(self, direct: Direct, errands: Sequence[Errand]) -> None:
        direct.raw(f"SELECT pg_notify('{CHANNEL}', '')::text", {})


class Listening(LocalEngine):
    """Looks at everything when it is told, wherever that was committed."""

    def __init__(self, desk: Any, outbox: Any, conninfo: str, chores: Any = ()) -> None:
        super().__init__(desk, outbox, chores)
        self._conninfo = conninfo

    def start(self) -> None:
        super().start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            for _ in connection.notifies():
                self.wake()


if __name__ == "__main__":
    bot.opening.Leaving = Notifying  # type: ignore[attr-defined,assignment]
    bot.engine.postgres.PostgresEngine = Listening  # type: ignore[misc,assignment]
    main()
