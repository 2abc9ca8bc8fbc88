"""A headless Chromium before a real workbench, with a small bot of the tests' own behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any
from urllib.parse import parse_qsl

import pytest
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workbench.launch import Options, Workbench
from bot.workbench.server import Servers, Site, bind
from bot.workbench.settings import Ports
from tests.clocked import patient_slack

Json = dict[str, Any]
PATIENCE_MS = 30_000
PICTURES = Path(__file__).parents[3] / "artifacts" / "page"


@dataclass
class Bot:
    """Hears what the workspace sends; `replies` answer a command, an action_id or a callback_id."""

    replies: dict[str, Callable[[Json], Json | None]] = field(default_factory=dict)
    heard: Queue[Json] = field(default_factory=Queue)

    async def __call__(self, request: Request) -> Response:
        if request.headers["content-type"] == "application/json":
            return Response()  # an event; the page is not concerned
        body = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        said: Json = json.loads(body["payload"]) if "payload" in body else body
        reply = self.replies.get(_name(said))
        answer = await run_in_threadpool(reply, said) if reply else None
        self.heard.put(said)
        return JSONResponse(answer) if answer else Response()

    def next(self) -> Json:
        """What it heard next; raises queue.Empty when that does not come."""
        return self.heard.get(timeout=PATIENCE_MS / 1000)


def _name(said: Json) -> str:
    if "command" in said:
        return str(said["command"])
    if said["type"] == "block_actions":
        return str(said["actions"][0]["action_id"])
    return str(said["view"]["callback_id"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A whole workbench on free ports, without a bot and without Prometheus."""
    options = Options(
        ports=Ports(**dict.fromkeys(Ports.__dataclass_fields__, 0)),
        directory=tmp_path,
        bot=False,
        monitoring=False,
        paced=False,
        manifest=Path(__file__).with_name("manifest.yaml"),
    )
    with patient_slack(), Workbench(options) as running:
        yield running


@pytest.fixture
def bot(bench: Workbench) -> Iterator[Bot]:
    """The bot, where the workbench looks for it."""
    heard = Bot()
    routes = [Route("/slack", heard.__call__, methods=["POST"])]
    servers = Servers([Site(Starlette(routes=routes), bind(bench.ports.doors, "--doors-port"))])
    servers.start()
    yield heard
    servers.stop()


@dataclass
class Desk:
    """A person's browser."""

    page: Page
    bench: Workbench

    def open(self, channel: str = "C0INCIDENTS", as_: str = "U0MAYA") -> Page:
        """The page at a channel, as a person."""
        self.page.goto(f"{self.bench.ports.url('page')}/#/{channel}?as={as_}")
        self.page.locator(".who-name").filter(has_text=self.name(as_)).wait_for()
        self.page.locator(".intro").wait_for()
        return self.page

    def name(self, user: str) -> str:
        """How the page calls a person."""
        return self.bench.workspace.user(user).real_name

    def post(self, text: str, *, channel: str = "C0INCIDENTS", **more: Any) -> str:
        """Post as the bot; returns the message's ts."""
        reply = self.bench.workspace.api("chat.postMessage", {"channel": channel, "text": text, **more})
        assert reply.body["ok"], reply.body
        return str(reply.body["ts"])

    def picture(self, name: str) -> None:
        """Keep a picture for a person to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


@pytest.fixture
def new_desk(browser: Browser, bench: Workbench) -> Iterator[Callable[..., Desk]]:
    """Makes desks; a page that logs an error, a refused resource included, fails its test at the end."""
    faults: list[str] = []
    contexts = []

    def make(width: int = 1440, height: int = 900, **options: Any) -> Desk:
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        return Desk(page, bench)

    yield make
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    """One person's browser."""
    return new_desk()


@pytest.fixture
def gate() -> Iterator[Event]:
    """A gate that a reply of the bot may wait at; it opens at the end in any case."""
    waiting = Event()
    yield waiting
    waiting.set()
