"""The service outside that waits for our heartbeat, over HTTP on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.workbench.server import Servers, Site, bind

SECRET = "0f8fad5b-d9cb-469f-a165"


@dataclass
class Service:
    """Counts what it hears, and answers `status`."""

    url: str
    heard: list[str] = field(default_factory=list)
    status: int = 200

    async def ping(self, request: Request) -> Response:
        self.heard.append(f"{request.method} {request.url.path}")
        return PlainTextResponse("OK", self.status)


@contextmanager
def open_service() -> Iterator[Service]:
    listener = bind(0, "--heartbeat-port")
    service = Service(f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}")
    server = Servers([Site(Starlette(routes=[Route("/{check}", service.ping)]), listener)])
    server.start()
    try:
        yield service
    finally:
        server.stop()
