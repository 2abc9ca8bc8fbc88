"""Starts the whole workbench on loopback, in order, and ends it in the opposite order."""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bot.workbench.children import Child, StartFailed, is_up
from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.monitoring import APT_LINE, Monitoring, MonitoringConfig
from bot.workbench.pagerduty import PagerDuty, pagerduty_app
from bot.workbench.panel import BotView, Panel, Service
from bot.workbench.pipeline import Pipeline
from bot.workbench.server import LOOPBACK, PortTaken, Servers, Site, bind, bind_for_later
from bot.workbench.settings import FLAGS, PORT_OPTIONS, Ports, Secrets, write_bot_files
from bot.workbench.slack.app import slack_app
from bot.workbench.slack.config import WorkspaceConfig
from bot.workbench.slack.deliver import Poster, http_post
from bot.workbench.slack.manifest import ManifestError, load_manifest
from bot.workbench.slack.workspace import Workspace

PAGE = Path(__file__).parent / "page"
# A file of the bot's, read as its author would paste it into Slack; nothing of the bot is imported.
MANIFEST = Path(__file__).parents[1] / "slack" / "manifest.yaml"
OURS = ("page", "pagerduty", "fleet")  # the rest are ports of children
BOT_READY_S = 30.0
BOT_PROBE_S = 2.0
PUMP_S = 0.1


@dataclass(frozen=True)
class Options:
    """What a run is asked for. `directory` None: a fresh temporary one. `bot`, `monitoring`: start those
    too. `paced`: keep Slack's rate limits. `live` False: events, webhooks and escalations leave when the caller
    says `workspace.deliver_events()` and `pagerduty.advance()`, not by themselves. `socket_mode`: the bot opens a
    WebSocket to Slack instead of listening for its requests."""

    ports: Ports = field(default_factory=Ports)
    directory: Path | None = None
    bot: bool = True
    monitoring: bool = True
    paced: bool = True
    live: bool = True
    socket_mode: bool = False
    manifest: Path = MANIFEST
    clock: Callable[[], float] = time.time
    post: Poster = http_post


class Workbench:
    """One run of everything: `with Workbench(options) as bench:` starts it and ends it.

    After the start, `ports` holds the real ports, `fleet`, `pagerduty` and `workspace` are the doors for tests.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        manifest = self._manifest()
        self.directory = self._directory()
        self.secrets = Secrets.kept_in(self.directory)
        self.ports, sockets = _take_ports(self.options.ports)
        clock, ports = self.options.clock, self.ports
        self.fleet = Fleet(clock, flags=self.directory / FLAGS)
        self.pagerduty = PagerDuty(self.secrets.pagerduty(ports), clock, self.options.post)
        told = f"{ports.url('doors')}/hooks/change"
        self.pipeline = Pipeline(self.fleet, told, self.secrets.change_token, clock, self.options.post)
        self.workspace = Workspace(self._workspace_config(manifest), clock=clock, post=self.options.post)
        self.monitoring = Monitoring(
            MonitoringConfig(
                directory=self.directory / "monitoring",
                fleet=f"{LOOPBACK}:{ports.fleet}",
                bot=f"{LOOPBACK}:{ports.pages}",
                webhook_url=f"{ports.url('doors')}/hooks/alertmanager",
                webhook_token=self.secrets.alertmanager_token,
                prometheus=f"{LOOPBACK}:{ports.prometheus}",
                alertmanager=f"{LOOPBACK}:{ports.alertmanager}",
            )
        )
        self.bot_config = write_bot_files(self.directory, ports, self.secrets, socket_mode=self.options.socket_mode)
        self.bot = Child(
            "The bot",
            [sys.executable, "-m", "bot.cli", "serve", "--config", str(self.bot_config)],
            log=self.directory / "bot.log",
            ready_url=f"{ports.url('doors')}/healthz",
            env=self.secrets.bot_environment(),
        )
        self.panel = Panel(
            fleet=self.fleet,
            pagerduty=self.pagerduty,
            services=self.services,
            bot=self._bot_view,
            publish=self.workspace.publish,
        )
        self._servers = Servers(
            [
                Site(Starlette(routes=self._page_routes()), sockets["page"]),
                Site(Starlette(routes=pagerduty_app(self.pagerduty)), sockets["pagerduty"]),
                Site(Starlette(routes=fleet_app(self.fleet, self.secrets.fleet_token)), sockets["fleet"]),
            ]
        )
        self._bot_up, self._asked_at = False, float("-inf")
        self._ending = threading.Event()
        self._pumps = [
            threading.Thread(target=self._pump, args=(self.pagerduty.advance,), name="pagerduty", daemon=True),
            threading.Thread(target=self._pump, args=(self._tick_panel,), name="panel", daemon=True),
            threading.Thread(target=self._pump, args=(self.pipeline.look,), name="pipeline", daemon=True),
        ]

    def __enter__(self) -> Workbench:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the servers, then monitoring, then the bot; on a failure everything started is ended again."""
        try:
            self._servers.start()
            if self.options.live:
                self.workspace.start()
                for pump in self._pumps:
                    pump.start()
            if self.options.monitoring:
                self.monitoring.start()
            if self.options.bot:
                self.bot.start()
                self.bot.wait_ready(BOT_READY_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything this run started, the bot first so that it can still say goodbye to the others."""
        self.bot.stop()
        self.monitoring.stop()
        self._ending.set()
        for pump in self._pumps:
            if pump.is_alive():
                pump.join(6.0)  # a webhook on its way takes at most 5 s
        self.workspace.stop()
        self._servers.stop()

    def services(self) -> list[Service]:
        """Everything that runs, for the panel."""
        monitored = [
            Service(
                name,
                self.ports.url(key),
                self.monitoring.state(key),
                f"Not installed: {APT_LINE}" if self.monitoring.state(key) == "missing" else None,
            )
            for name, key in (("Prometheus", "prometheus"), ("Alertmanager", "alertmanager"))
        ]
        return [
            Service("Chat", self.ports.url("page"), "up"),
            Service("PagerDuty", self.ports.url("pagerduty"), "down" if self.pagerduty.outage == "down" else "up"),
            Service("Fleet", f"{self.ports.url('fleet')}/metrics", "up"),
            *monitored,
        ]

    def _bot_view(self) -> BotView:
        return BotView(self.ports.url("doors"), self.ports.url("pages"), "up" if self._bot_up else "down")

    def _tick_panel(self) -> None:
        if time.monotonic() - self._asked_at >= BOT_PROBE_S:
            self._asked_at = time.monotonic()
            self._bot_up = is_up(self.bot.ready_url)
        self.panel.tick(time.monotonic())

    def _pump(self, work: Callable[[], None]) -> None:
        while not self._ending.wait(PUMP_S):
            work()

    def _manifest(self) -> dict[str, Any]:
        try:
            return load_manifest(self.options.manifest)
        except (OSError, ManifestError) as error:
            raise StartFailed(f"The app manifest {self.options.manifest} cannot be used: {error}") from error

    def _directory(self) -> Path:
        if self.options.directory is None:
            return Path(tempfile.mkdtemp(prefix="fixfirst-workbench-"))
        directory = self.options.directory.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _workspace_config(self, manifest: dict[str, Any]) -> WorkspaceConfig:
        return WorkspaceConfig(
            signing_secret=self.secrets.slack_signing_secret,
            bot_token=self.secrets.slack_bot_token,
            app_token=self.secrets.slack_app_token if self.options.socket_mode else None,
            manifest=manifest,
            bot_url=self.ports.url("doors"),
            public_url=self.ports.url("page"),
            paced=self.options.paced,
        )

    def _page_routes(self) -> list[Route | Mount]:
        async def index(_: Request) -> Response:
            return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

        return [
            Route("/", index),
            Mount("/static", StaticFiles(directory=PAGE)),
            *self.panel.routes(),
            *slack_app(self.workspace),
        ]


def _take_ports(wanted: Ports) -> tuple[Ports, dict[str, socket.socket]]:
    """Bind our own listeners and find ports for the children; PortTaken when one is in use.

    A child binds its port itself, so ours is let go just before, once all are chosen: somebody else could take it in
    between, and then the child says so in its log.
    """
    sockets: dict[str, socket.socket] = {}
    try:
        for name, option in PORT_OPTIONS.items():
            port = getattr(wanted, name)
            sockets[name] = bind(port, option) if port or name in OURS else bind_for_later(option)
    except PortTaken:
        for listener in sockets.values():
            listener.close()
        raise
    taken = {name: int(listener.getsockname()[1]) for name, listener in sockets.items()}
    for name in set(sockets) - set(OURS):
        sockets.pop(name).close()
    return Ports(**taken), sockets
