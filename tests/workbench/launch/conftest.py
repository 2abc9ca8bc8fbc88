"""A workbench on free ports, without a bot, for a test to press buttons in."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bot.workbench.launch import Options, Workbench
from bot.workbench.settings import Ports

ANY = Ports(page=0, pagerduty=0, fleet=0, prometheus=0, alertmanager=0, doors=0, pages=0)
MANIFEST = """\
display_information: {name: FixFirst}
features:
  bot_user: {display_name: fixfirst}
  slash_commands:
    - {command: /incident, url: "https://bot.example/slack/events", description: Run an incident}
oauth_config:
  scopes: {bot: [chat:write, commands]}
settings:
  interactivity: {is_enabled: true, request_url: "https://bot.example/slack/events"}
"""

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def bench(tmp_path: Path, manifest: Path) -> Iterator[Workbench]:
    options = Options(ports=ANY, directory=tmp_path / "state", bot=False, monitoring=False, manifest=manifest)
    with Workbench(options) as running:
        yield running


@pytest.fixture
def ask() -> Ask:
    """One HTTP request on loopback; returns status and parsed JSON (or text)."""

    def request(method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, parts.path, content, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        kind = answer.headers.get_content_type()
        return answer.status, json.loads(text) if kind == "application/json" else text

    return request


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], float], None]:
    """Wait until something holds, at most so many seconds: for programs that are not ours to clock."""

    def wait(holds: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"did not come true within {seconds} s"
            time.sleep(0.02)

    return wait
