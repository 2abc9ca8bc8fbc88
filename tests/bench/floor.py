"""The floor: what checking, and what keeping, cost at least on this machine: `python -m tests.bench.floor PORT WHERE`.

Without a WHERE, `/slack/events` checks the signature and answers, and `/hooks/alertmanager` checks an HMAC and answers:
nothing is kept, and Bolt has no part in it. With one, a file of SQLite or the URL of PostgreSQL, the command goes
through Bolt, on a pool of threads as in the product, to a listener that does nothing but acknowledge; a webhook is
parsed, every alert upserted, and answered after a commit on disk that it shares with whoever else is waiting. No
groups, no history, no outbox.
"""

import asyncio
import hashlib
import hmac
import json
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg
import uvicorn
from slack_bolt import Ack, App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.bench.traffic import ALERT_TOKEN, SLACK_SECRET, TEAM

MOST_TOGETHER: Final = 512
TABLE: Final = (
    "CREATE TABLE alert (fingerprint TEXT PRIMARY KEY, status TEXT, first REAL, last REAL, times INT, body TEXT)"
)
UPSERT: Final = (
    "INSERT INTO alert VALUES (?, ?, ?, ?, 1, ?) "
    "ON CONFLICT (fingerprint) DO UPDATE SET status = excluded.status, last = excluded.last, times = times + 1"
)
PG_TABLE: Final = (
    "CREATE TABLE alert (fingerprint text PRIMARY KEY, status text, first float8, last float8, times int, body jsonb)"
)
PG_UPSERT: Final = (
    "INSERT INTO alert SELECT f, s, a, b, 1, j FROM unnest(%s::text[], %s::text[], %s::float8[], %s::float8[], "
    "%s::jsonb[]) AS given (f, s, a, b, j) "
    "ON CONFLICT (fingerprint) DO UPDATE SET status = excluded.status, last = excluded.last, times = alert.times + 1"
)
Door = Callable[[Request], Awaitable[Response]]
Row = tuple[str, str, float, float, str]
Waiting = tuple[list[Row], "asyncio.Future[None]"]


class Keeper:
    """One thread that commits whatever has come in meanwhile."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._waiting: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def keep(self, rows: list[Row]) -> None:
        """Returns when the rows are on disk."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._work, args=(self._loop,), daemon=True).start()
        done = self._loop.create_future()
        self._waiting.put((rows, done))
        await done

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        commit = _postgresql(self._where) if self._where.startswith("postgresql") else _sqlite(self._where)
        while True:
            batch = self._take()
            commit([row for rows, _ in batch for row in rows])
            loop.call_soon_threadsafe(_tell, [done for _, done in batch])

    def _take(self) -> list[Waiting]:
        batch = [self._waiting.get()]
        while len(batch) < MOST_TOGETHER:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch


def _sqlite(file: str) -> Callable[[list[Row]], None]:
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", TABLE):
        connection.execute(statement)

    def commit(rows: list[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(UPSERT, rows)
        connection.execute("COMMIT")

    return commit


def _postgresql(url: str) -> Callable[[list[Row]], None]:
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    connection.execute(PG_TABLE)

    def commit(rows: list[Row]) -> None:
        last = {row[0]: row for row in rows}  # one statement may touch a row only once
        connection.execute(PG_UPSERT, [list(column) for column in zip(*last.values(), strict=True)])

    return commit


def _tell(waiting: list["asyncio.Future[None]"]) -> None:
    for done in waiting:
        done.set_result(None)


def _sealed(body: bytes, secret: str, prefix: bytes = b"") -> str:
    return hmac.new(secret.encode(), prefix + body, hashlib.sha256).hexdigest()


def _checked(body: bytes, headers: Headers) -> bool:
    stamp = headers["x-slack-request-timestamp"].encode()
    wanted = f"v0={_sealed(body, SLACK_SECRET, b'v0:' + stamp + b':')}"
    return hmac.compare_digest(wanted, headers["x-slack-signature"])


def bare() -> Starlette:
    """A door for each that checks and answers."""

    async def slack(request: Request) -> Response:
        return Response(status_code=200 if _checked(await request.body(), request.headers) else 401)

    async def intake(request: Request) -> Response:
        hmac.compare_digest(_sealed(await request.body(), ALERT_TOKEN), "0" * 64)
        return Response()

    return _served(slack, intake)


def keeping(keeper: Keeper) -> Starlette:
    """A Bolt listener that does nothing, beside an intake that only keeps."""
    bolt = App(
        authorize=lambda: AuthorizeResult(
            enterprise_id=None, team_id=TEAM, bot_user_id="U0BOT", bot_token="xoxb-bench"
        ),
        signing_secret=SLACK_SECRET,
        process_before_response=True,
        token_verification_enabled=False,
    )
    bolt.command("/incident")(_nothing)
    pool = ThreadPoolExecutor(8)

    async def slack(request: Request) -> Response:
        asked = BoltRequest(body=(await request.body()).decode(), headers=dict(request.headers))
        answer = await asyncio.wrap_future(pool.submit(bolt.dispatch, asked))
        return Response(answer.body, answer.status)

    async def intake(request: Request) -> Response:
        body = await request.body()
        hmac.compare_digest(_sealed(body, ALERT_TOKEN), "0" * 64)
        now = time.time()
        alerts: list[dict[str, Any]] = json.loads(body)["alerts"]
        await keeper.keep([(item["fingerprint"], item["status"], now, now, json.dumps(item)) for item in alerts])
        return Response()

    return _served(slack, intake)


def _nothing(ack: Ack) -> None:
    ack()


def _served(slack: Door, intake: Door) -> Starlette:
    return Starlette(
        routes=[
            Route("/slack/events", slack, methods=["POST"]),
            Route("/hooks/alertmanager", intake, methods=["POST"]),
        ]
    )


if __name__ == "__main__":
    port, *where = sys.argv[1:]
    uvicorn.run(
        keeping(Keeper(*where)) if where else bare(),
        port=int(port),
        http="httptools",
        timeout_keep_alive=75,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
