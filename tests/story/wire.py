"""What goes between the bot and the world, kept: what the outside sent and how it was answered, and a Prometheus."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workbench.slack.deliver import Poster
from bot.workbench.slack.workspace import Workspace


@dataclass(frozen=True)
class Heard:
    """One request to the bot. `calls` is how many Web API calls the bot made before it answered."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer: bytes
    calls: int

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


@dataclass
class Wire:
    """Carries requests to the bot and keeps them; keeps, too, how the bot's answers at response_urls were taken."""

    post: Poster
    heard: list[Heard] = field(default_factory=list)
    responses: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    workspace: Workspace | None = None

    def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        before = self._calls()
        status, out, answer = self.post(url, headers, body, timeout)
        self.heard.append(Heard(url, headers, body, status, answer, self._calls() - before))
        return status, out, answer

    def last(self, words: str) -> Heard:
        """The latest request in whose body these words stand."""
        return next(heard for heard in reversed(self.heard) if words.encode() in heard.body)

    def watch(self, workspace: Workspace) -> None:
        """Listen in on this workspace's response_urls too."""
        self.workspace, respond = workspace, workspace.respond

        def kept(token: str, body: bytes) -> tuple[int, dict[str, Any]]:
            answer = respond(token, body)
            self.responses.append(answer)
            return answer

        workspace.respond = kept  # type: ignore[method-assign]

    def _calls(self) -> int:
        return len(self.workspace.web_api.calls) if self.workspace else 0


class Numbers:
    """Prometheus' query API: a query that holds one of the words gets its number as a vector, any other none."""

    def __init__(self, numbers: MutableMapping[str, float]) -> None:
        self._numbers = numbers
        routes = [
            Route("/api/v1/query", self._query, methods=["GET", "POST"]),
            Route("/api/v1/query_range", self._range, methods=["GET", "POST"]),
        ]
        self.app = Starlette(routes=routes, exception_handlers={ClientDisconnect: _gone})

    async def _query(self, request: Request) -> JSONResponse:
        query = (await _asked(request)).get("query", "")
        found = [{"metric": {}, "value": [0, str(number)]} for word, number in self._numbers.items() if word in query]
        return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": found[:1]}})

    async def _range(self, request: Request) -> JSONResponse:
        """The same number for all of the time asked about."""
        asked = await _asked(request)
        times = range(int(asked["start"]), int(asked["end"]) + 1, int(asked["step"]))
        found = [
            {"metric": {}, "values": [[at, str(number)] for at in times]}
            for word, number in self._numbers.items()
            if word in asked["query"]
        ]
        return JSONResponse({"status": "success", "data": {"resultType": "matrix", "result": found[:1]}})


async def _asked(request: Request) -> Mapping[str, str]:
    """What stands in the URL, or in a form."""
    return dict(request.query_params) | dict(parse_qsl((await request.body()).decode()))


async def _gone(request: Request, exception: Exception) -> Response:
    """Whoever asked was killed meanwhile."""
    return Response(status_code=499)
