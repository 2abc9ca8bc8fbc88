"""A workspace with a hand-driven clock, an app whose answers a test writes, and a server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from slack_sdk import WebClient
from slack_sdk.signature import Clock as SdkClock
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette

from bot.workbench.slack.app import slack_app
from bot.workbench.slack.config import WorkspaceConfig
from bot.workbench.slack.workspace import Workspace
from tests.servers import asgi_server

SECRET = "test-signing-secret"
TOKEN = "xoxb-test"
BOT_URL = "http://bot.test/slack/events"
MANIFEST: dict[str, Any] = {
    "display_information": {"name": "FixFirst", "description": "Fix first."},
    "features": {
        "bot_user": {"display_name": "FixFirst"},
        "app_home": {"home_tab_enabled": True},
        "slash_commands": [
            {"command": "/incident", "description": "Work on incidents", "url": BOT_URL, "should_escape": True},
            {"command": "/raw", "description": "As typed", "url": BOT_URL},
        ],
    },
    "oauth_config": {
        "scopes": {
            "bot": [
                *("app_mentions:read", "bookmarks:read", "bookmarks:write", "channels:history", "channels:join"),
                *("channels:manage", "channels:read", "chat:write", "commands", "groups:history", "groups:read"),
                *("files:write", "groups:write", "im:history", "im:read", "im:write", "pins:read", "pins:write"),
                *("reactions:read", "reactions:write", "team:read", "usergroups:read", "users:read"),
                "users:read.email",
            ]
        }
    },
    "settings": {
        "event_subscriptions": {
            "request_url": BOT_URL,
            "bot_events": [
                *("app_home_opened", "app_mention", "channel_archive", "channel_rename", "member_joined_channel"),
                *("message.channels", "message.groups", "message.im", "pin_added", "reaction_added"),
            ],
        },
        "interactivity": {"is_enabled": True, "request_url": BOT_URL},
    },
}


class HandClock:
    """Time that only a test moves (Unix seconds)."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds


@dataclass
class Heard:
    """One request the app got, read the way an app reads it."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def command(self) -> dict[str, str]:
        """The form fields of a slash command."""
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of an interaction."""
        return dict(json.loads(self.command["payload"]))

    @property
    def event(self) -> dict[str, Any]:
        """An event with its envelope."""
        return dict(json.loads(self.body))


Answer = tuple[int, Mapping[str, str], bytes]


class ScriptedApp:
    """An app at the other end of `post`: it checks each signature, keeps what it heard, answers as told."""

    def __init__(self, clock: HandClock) -> None:
        self._verifier = SignatureVerifier(SECRET, clock=_ClockForSdk(clock))
        self.heard: list[Heard] = []
        self.events: list[dict[str, Any]] = []
        self.answer: Callable[[Heard], Answer] = lambda heard: (200, {}, b"")
        self.answer_events: Callable[[Heard], Answer] = lambda heard: (200, {}, b"")

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        assert url == BOT_URL
        assert timeout == 3.0
        assert self._verifier.is_valid_request(body, dict(headers)), "the signature must be Slack's"
        heard = Heard(headers, body)
        if headers["Content-Type"] == "application/json":
            self.events.append(heard.event.get("event", heard.event))
            return self.answer_events(heard)
        self.heard.append(heard)
        return self.answer(heard)

    def says(self, said: Mapping[str, Any] | str, status: int = 200) -> None:
        """Answer every interaction so from now on."""
        body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        kind = "text/plain" if isinstance(said, str) else "application/json"
        self.answer = lambda heard: (status, {"content-type": kind}, body)

    def fails(self, error: Exception) -> None:
        """Answer no interaction from now on."""

        def answer(heard: Heard) -> Answer:
            raise error

        self.answer = answer

    @property
    def last(self) -> Heard:
        """The latest command or interaction."""
        return self.heard[-1]


class _ClockForSdk(SdkClock):
    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def app(clock: HandClock) -> ScriptedApp:
    return ScriptedApp(clock)


@pytest.fixture
def config() -> WorkspaceConfig:
    return WorkspaceConfig(signing_secret=SECRET, bot_token=TOKEN, manifest=MANIFEST)


@pytest.fixture
def workspace(config: WorkspaceConfig, clock: HandClock, app: ScriptedApp) -> Workspace:
    return Workspace(config, clock=clock, post=app)


@dataclass
class Called:
    """Calls Web API methods in this process and hands back the answer's body."""

    workspace: Workspace
    made: list[str] = field(default_factory=list)

    def __call__(self, method: str, /, **args: Any) -> dict[str, Any]:
        self.made.append(method)
        return self.workspace.api(method, args).body

    def fine(self, method: str, /, **args: Any) -> dict[str, Any]:
        """A call that must succeed."""
        body = self(method, **args)
        assert body["ok"], body
        return body

    def error(self, method: str, /, **args: Any) -> str:
        """The error of a call that must fail."""
        body = self(method, **args)
        assert not body["ok"], body
        return str(body["error"])


@pytest.fixture
def api(workspace: Workspace) -> Called:
    return Called(workspace)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until another thread has made something true, half a minute at most."""
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not become true")


@dataclass(frozen=True)
class Served:
    """A workspace on a loopback port."""

    workspace: Workspace
    port: int

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> WebClient:
        """Slack's own client, pointed here, without its retries."""
        return WebClient(token=TOKEN, base_url=f"{self.url}/api/", retry_handlers=[], timeout=5)


@pytest.fixture
def served(workspace: Workspace) -> Iterator[Served]:
    with asgi_server(Starlette(routes=slack_app(workspace))) as port:
        workspace.state.public_url = f"http://127.0.0.1:{port}"
        yield Served(workspace, port)
        workspace.stop()
