"""What the runbook of the night acts upon: machines that do each thing as often as they are asked, and count it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.workbench.server import Servers, Site, bind
from bot.workbench.weather import Weather

FAULTS: Final = ("429", "500", "500-after", "silent-after")
POLL_S: Final = 0.05
RUNBOOK: Final = "power-cycle"
MEASURED: Final = {"machine_up": 1.0}
"""What a Prometheus must say for the runbook's steps to count as done."""
DESTRUCTIVE: Final = frozenset({"cycle", "wipe"})
"""The acts that cannot be taken back. Whether a machine was cycled cannot be seen, whether its disk was wiped can."""


@dataclass
class Plant:
    """Some machines by name. `done` holds every act that was carried out, with when and the key it came under; `asked`
    counts the requests, whatever became of them. Nothing is recognised as said before: what comes twice is done twice.
    """

    weather: Weather[str] = field(default_factory=lambda: Weather(FAULTS))
    done: list[tuple[datetime, str, str]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    _cordoned: set[str] = field(default_factory=set)
    _wiped: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def destroyed(self) -> list[tuple[datetime, str]]:
        """When a destructive act was carried out, and its key: run, step and attempt."""
        with self._lock:
            return [(at, key) for at, act, key in self.done if act in DESTRUCTIVE]

    def routes(self) -> list[Route]:
        """GET /machines/NAME tells how it stands, POST /machines/NAME/{cordon, cycle, wipe} does it."""
        return [
            Route("/machines/{name}", self._look, methods=["GET"]),
            Route("/machines/{name}/{act}", self._act, methods=["POST"]),
        ]

    async def _look(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await self._in_this_weather(
            request, lambda: JSONResponse({"cordoned": name in self._cordoned, "wiped": name in self._wiped})
        )

    async def _act(self, request: Request) -> Response:
        name, act, key = request.path_params["name"], request.path_params["act"], request.headers["idempotency-key"]
        on = bool((await request.json()).get("on", True))
        with self._lock:
            self.asked[key] += 1

        def work() -> Response:
            with self._lock:
                self.done.append((datetime.now(UTC), act, key))
                if act == "cordon":
                    self._cordoned = self._cordoned | {name} if on else self._cordoned - {name}
                if act == "wipe":
                    self._wiped.add(name)
            return JSONResponse({"ok": True})

        return await self._in_this_weather(request, work)

    async def _in_this_weather(self, request: Request, work: Callable[[], Response]) -> Response:
        trouble = self.weather.strikes()
        if trouble == "429":
            return JSONResponse({"error": "slow down"}, 429, {"Retry-After": "1"})
        if trouble == "500":
            return JSONResponse({"error": "something broke"}, 500)
        answer = work()
        if trouble == "500-after":
            return JSONResponse({"error": "something broke"}, 500)
        while trouble == "silent-after" and not self.weather.is_fair and not await request.is_disconnected():
            await asyncio.sleep(POLL_S)
        return answer


@contextmanager
def served(plant: Plant) -> Iterator[str]:
    """The plant at an address."""
    listener = bind(0, "")
    servers = Servers([Site(Starlette(routes=plant.routes()), listener)])
    servers.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        plant.weather.turns(0.0, 0)
        servers.stop()


def settings(folder: Path, address: str) -> dict[str, str]:
    """Writes the runbook into the folder; what to replace in fixfirst.toml so that the bot finds it and the plant."""
    folder.mkdir()
    (folder / f"{RUNBOOK}.md").write_text(_RUNBOOK, encoding="utf-8")
    endpoints = _ENDPOINTS.replace("MACHINE", f"{address}/machines/{{machine}}")
    return {"\n[doors]\n": f'runbooks_dir = "{folder}"\n\n[doors]\n', "\n[alerts]\n": f"{endpoints}\n[alerts]\n"}


_ENDPOINTS: Final = """
[endpoints.cordon]
risk = "reversible"
method = "POST"
url = "MACHINE/cordon"
json = { on = true }
timeout = "2s"

[endpoints.cordon.observe]
url = "MACHINE"
done = { cordoned = true }

[endpoints.cordon.undo]
method = "POST"
url = "MACHINE/cordon"
json = { on = false }

[endpoints.cycle]
method = "POST"
url = "MACHINE/cycle"
json = { on = true }
timeout = "2s"

[endpoints.wipe]
method = "POST"
url = "MACHINE/wipe"
json = { on = true }
timeout = "2s"

[endpoints.wipe.observe]
url = "MACHINE"
done = { wiped = true }
"""
_STEP: Final = """
### {title}

```yaml step
id: {id}
do: http.request
with:
  endpoint: {id}
  machine: "{{{{ machine }}}}"
verify:
  query: machine_up
  expect: "> 0"
  within: 1m
undo: {undo}
on_fail: ask
```
"""
_RUNBOOK: Final = "\n".join(
    [
        """\
---
runbook: 1
id: power-cycle
title: Power-cycle a machine
owner: team-inference
alerts: [LLMErrorRatioHigh]
params:
  machine: {from: alert.labels.model_name, type: model_name, about: "The machine, as the plant calls it"}
lock: machine/{{ machine }}
---

# Power-cycle a machine

When a machine hangs and nothing else helps.

## Steps
""",
        _STEP.format(title="1. Cordon it", id="cordon", undo="auto"),
        _STEP.format(title="2. Switch it off and on", id="cycle", undo="{none: what ran on it is gone}"),
        _STEP.format(title="3. Wipe its disk", id="wipe", undo="{none: what was on it is gone}"),
    ]
)
