"""The outside world in one small process: Slack, PagerDuty and Prometheus that say yes. `... outside PORT`.

`GET /posted` tells when each card came in, and `GET /paged` each page, by the number in its incident's service, in
seconds of the machine's monotonic clock.
"""

import itertools
import re
import sys
import time
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.bench.traffic import CHANNEL, GROUP, PERSON, TEAM

LONE: Final = re.compile(rb"lone-(\d+)")


def app() -> Starlette:
    """Everything that the bot calls."""
    numbers = itertools.count(1)
    posted: dict[str, float] = {}
    paged: dict[str, float] = {}

    async def slack(request: Request) -> Response:
        now, body, number = time.monotonic(), await request.body(), next(numbers)
        method = request.path_params["method"]
        answer: dict[str, object] = {"ok": True}
        match method:
            case "auth.test":
                answer |= {"user_id": "U0BOT", "team_id": TEAM}
            case "usergroups.users.list":
                answer |= {"users": [PERSON]}
            case "users.info":
                answer |= {"user": {"id": PERSON, "team_id": TEAM, "real_name": "Bench", "profile": {}}}
            case "conversations.create":
                answer |= {"channel": {"id": f"C{number:08d}"}}
            case "chat.postMessage" | "chat.update":
                answer |= {"channel": CHANNEL, "ts": f"1700000000.{number:06d}"}
                if found := LONE.search(body):
                    posted.setdefault(found[1].decode(), now)
        return JSONResponse(answer)

    async def page(request: Request) -> Response:
        if found := LONE.search(await request.body()):
            paged.setdefault(found[1].decode(), time.monotonic())
        return JSONResponse({"status": "success", "message": "Event processed", "dedup_key": GROUP}, 202)

    async def query(_: Request) -> Response:
        return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": []}})

    async def when_posted(_: Request) -> Response:
        return JSONResponse(posted)

    async def when_paged(_: Request) -> Response:
        return JSONResponse(paged)

    return Starlette(
        routes=[
            Route("/api/v1/{_:path}", query, methods=["GET", "POST"]),
            Route("/api/{method}", slack, methods=["POST", "GET"]),
            Route("/v2/enqueue", page, methods=["POST"]),
            Route("/posted", when_posted),
            Route("/paged", when_paged),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app(), port=int(sys.argv[1]), http="httptools", lifespan="off", access_log=False, log_level="warning")
