"""The composition root: the one place that knows all the rooms and puts them together."""

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.audit import crier
from bot.audit.auditor import LOOK_EVERY_S as AUDIT_LOOK_EVERY_S
from bot.audit.auditor import Auditor
from bot.audit.heartbeat import Heartbeat
from bot.audit.herald import LOOK_EVERY_S, Herald
from bot.audit.pressure import LOOK_EVERY_S as PRESSURE_EVERY_S
from bot.audit.pressure import Pressure, disk_of
from bot.audit.reconcile import Reconciler
from bot.config import Config
from bot.contracts import Check, Courier, Permanent
from bot.desk import Desk
from bot.drills import TIDY_EVERY_S, Drills
from bot.engine import Engine
from bot.engine.local import Chore, LocalEngine
from bot.hands import Hands
from bot.health.freeze import PICTURE
from bot.incident.change import Change, merged
from bot.incident.effects import pager_named
from bot.incident.run import Reading
from bot.incident.state import Incident
from bot.integrations import ACTS, CHECKS, WEIGHING_ACTS, alertmanager, pagerduty, prometheus
from bot.integrations.fallback import Fallback, Voice
from bot.journal import evidence
from bot.journal.audit import is_at_rest, try_out
from bot.journal.clock import SteadyClock, wall_clock
from bot.journal.database import conninfo, folder_of, reaching
from bot.opening import alone, open_journal
from bot.outbox import Outbox
from bot.postmortem.courier import Courier as PostmortemCourier
from bot.postmortem.shelf import Shelf
from bot.runbook.breaker import Breakers
from bot.runbook.courier import Courier as RunbookCourier
from bot.runbook.library import Library
from bot.runbook.preview import Parts
from bot.runbook.shelf import survey
from bot.sight import sight_of
from bot.slack import cards
from bot.slack.census import told
from bot.slack.client import connect
from bot.slack.courier import Courier as SlackCourier
from bot.slack.directory import Directory
from bot.slack.door import SlackDoor
from bot.slack.listeners import Listeners
from bot.slack.settings import Settings as SlackSettings
from bot.slack.side import SlackSide
from bot.slack.verbs import Verbs
from bot.tracing import TracedDesk, Tracing
from bot.web.doors import Doors, Limits
from bot.web.health import WRITE_WITHIN_S, Vitals
from bot.web.listen import bind, listen, server
from bot.web.metrics import Held, Numbers
from bot.web.pages import pages_app
from bot.web.patience import Watch
from bot.web.runbooks import Runbooks

if TYPE_CHECKING:
    from bot.canaries import Canaries

log = structlog.get_logger()

Clock = Callable[[], datetime]

SWITCH_INTERVAL_S: Final = 0.001
"""A click passes through four threads; by Python's default each may keep the next waiting for 5 ms."""
DOORS_CONNECTIONS, PAGES_CONNECTIONS = 512, 128
"""Together well below the 1,024 files that a process may have open where nobody has allowed it more."""
MIND_CLOCK_EVERY_S: Final = 10.0
DIRECTORY_EVERY_S: Final = 45.0
"""Under the 60 s that rights may be old, so that a click seldom has to wait for a look-up."""


class App:
    """The bot, put together: journal, desk, outbox, engine, and what listens.

    `direct` carries out what a click still needs from Slack after its acknowledgement; a small pool when None.
    """

    def __init__(self, config: Config, clock: Clock | None = None, direct: Executor | None = None) -> None:
        self.config = config
        self._direct = direct
        outside = clock or wall_clock  # what others sign and mean is told by the machine's own
        self._breakers = Breakers(time.monotonic if clock is None else lambda: outside().timestamp())
        self.journal = open_journal(config, clock)
        clock = self.journal.clock
        self._began = clock()
        self.tracing = Tracing(config.tracing, config.workspace, version("fixfirst")) if config.tracing else None
        work = (self.journal, config.policy, config.reading, self._wake)
        self.desk = TracedDesk(self.tracing, *work) if self.tracing else Desk(*work)
        self.books, faults = survey(config.runbooks_dir, targets=config.targets)
        for fault in [*faults, *(fault for book in self.books for fault in book.faults)]:
            log.error("runbook_fault", fault=str(fault))
        self.runbooks = {book.runbook.id: book.runbook for book in self.books if not book.faults}
        self.library = Library(self.runbooks, config.targets)
        self.sight = sight_of(config, self.journal, self.desk)
        self.shelf = Shelf(config.postmortems_dir)
        self.drills = Drills(self.desk, config.drills)
        self.slack = self._slack(config.slack, clock, outside) if config.slack else None
        self.pager = pagerduty.Courier(config.pagerduty, self.link) if config.pagerduty else None
        self.outbox = Outbox(self.desk, self._couriers())
        self.heartbeat = Heartbeat(config.heartbeat) if config.heartbeat else None
        folder = folder_of(config.database)
        disk = partial(disk_of, folder) if folder else None
        self.pressure = Pressure(self.journal, lambda: self.engine.last_turn, disk)
        self.auditor = Auditor(
            self.journal, config.policy, lambda: self.engine.last_turn, self.heartbeat, self.pressure.findings
        )
        chores = [Chore(self.slack.learn, DIRECTORY_EVERY_S)] if self.slack else []
        chores.append(Chore(self.auditor.look, AUDIT_LOOK_EVERY_S))
        chores.append(Chore(self.pressure.look, PRESSURE_EVERY_S))
        self.canaries = self._canaries()
        if self.canaries:
            chores.append(Chore(self.canaries.look, self.canaries.every_s))
        if config.drills:
            chores.append(Chore(self.drills.tidy, TIDY_EVERY_S))
        if isinstance(clock, SteadyClock):
            chores.append(Chore(partial(self._mind, clock), MIND_CLOCK_EVERY_S))
        self.herald = Herald(self.journal, self.slack.say if self.slack else None)
        chores.append(Chore(self.herald.publish, LOOK_EVERY_S))
        self.crier = crier.Crier(
            self.journal, self.slack.announce if self.slack else None, self._stand_ins(), self._reconciler()
        )
        chores.append(Chore(self.crier.look, crier.LOOK_EVERY_S))
        self.engine = self._engine(chores)
        self.doors = Doors(
            self.desk,
            tokens=config.tokens,
            pagerduty_settings=config.pagerduty,
            slack=self.slack.door if self.slack and not self.slack.settings.socket_mode else None,
            limits=Limits(alerts=config.largest_body),
            turns_away=lambda wakes: self.pressure.turns_away(wakes=wakes),
            extra=[Route("/healthz", lambda _: JSONResponse({"ok": True}))],
        )
        doors = self.doors
        self.front = self.tracing.door(doors.app, doors.traffic.doors) if self.tracing else doors.app
        """What is served at the doors' address."""
        self.watches = (Watch("doors", DOORS_CONNECTIONS), Watch("pages", PAGES_CONNECTIONS))
        self.pages = self._pages(clock)
        self._hang_up: Callable[[], None] | None = None

    def _engine(self, chores: Sequence[Chore]) -> Engine:
        if not self.config.queue:
            return LocalEngine(self.desk, self.outbox, chores)
        from bot.engine.postgres import PostgresEngine

        return PostgresEngine(self.desk, self.outbox, conninfo(self.config.database), chores)

    def _canaries(self) -> "Canaries | None":
        if not self.config.canaries:
            return None
        from bot.canaries import Canaries

        return Canaries(self.journal, self.config.canaries)

    def _wake(self) -> None:
        self.engine.wake()

    def _mind(self, clock: SteadyClock) -> None:
        """Lets the journal's clock follow the machine's again when nothing is running that it would disturb."""
        if clock.apart and is_at_rest(self.journal):
            clock.follow()

    def start(self) -> None:
        """Takes up the work that waits in the journal, and begins to listen to Slack."""
        self.engine.start()
        if self.slack:
            threading.Thread(target=self.slack.learn, name="slack-learn", daemon=True).start()
            self._hang_up = self.slack.listen()

    def stop(self) -> None:
        """Finishes what is in hand; what waits stays in the journal."""
        if self._hang_up:
            self._hang_up()
        if self.canaries:
            self.canaries.stop()
        self.engine.stop()
        self.close()

    def close(self) -> None:
        """Lets go of threads, connections and the journal."""
        self.doors.close()
        if self.slack:
            self.slack.listeners.close()
        if self.pager:
            self.pager.close()
        self.journal.close()
        if self.tracing:
            self.tracing.close()

    def latest_changes(self, whose: str) -> tuple[Sequence[Change], str]:
        """What was changed of late about a model or service, or all of it, the newest first; and who was not asked."""
        told = self.desk.changes(whose)
        if self.sight is None:
            return told, ""
        seen = self.sight.rollouts(whose, self.journal.clock())
        return merged([*told, *seen.changes]), seen.missing

    def picture(self, incident: str, name: str) -> bytes | None:
        """The PNG kept with an evidence, by the ids of both; None when there is none (any more)."""
        kept = self.journal.ask(lambda direct, whose: evidence.find(direct, whose, incident, name))
        part = kept.part(PICTURE) if kept else None
        return part.content if part else None

    def link(self, incident: Incident) -> str:
        """The incident's page."""
        return f"{self.config.pages_url}/incidents/{incident.ref}"

    def _slack(self, settings: SlackSettings, clock: Clock, outside: Clock) -> SlackSide:
        client = connect(settings)
        directory = Directory(client, settings, clock)
        context = cards.Context(self.config.policy, self.config.pages_url, self.library.titles(), self.config.links)
        sight = self.sight
        survey = (lambda word: sight.survey_of(word).to_dict()) if sight else None
        verbs = Verbs(self.desk, self.library, survey, context, self.drills, latest=self.latest_changes)
        listeners = Listeners(client, settings, self.desk, directory, verbs, self._direct)
        return SlackSide(
            settings=settings,
            whoami=client.auth_test,
            directory=directory,
            listeners=listeners,
            door=SlackDoor(listeners.app, settings.signing_secret, outside),
            courier=SlackCourier(client, settings, context, self.config.oncall, self.journal, picture=self.picture),
            post=client.chat_postMessage,
            ours=partial(told, client),
        )

    def _couriers(self) -> Mapping[str, Courier]:
        config = self.config
        couriers: dict[str, Courier] = {
            "postmortem": PostmortemCourier(
                self.shelf, self.journal.entries, config.pages_url, self.picture, config.links
            )
        }
        if self.slack:
            couriers["slack"] = self.slack.courier
        if self.pager:
            couriers["pager"] = self.pager
        for name, voice in config.fallbacks.items():
            couriers[pager_named(name)] = Fallback(name, voice, self.link)
        if self.sight:
            couriers |= self.sight.couriers(frozenset(self.runbooks))
        parts = runbook_parts(config)
        couriers["runbook"] = RunbookCourier(parts.acts, parts.checks, parts.measure, self._breakers)
        if self.tracing:
            return {name: self.tracing.courier(name, courier) for name, courier in couriers.items()}
        return couriers

    def _stand_ins(self) -> list[Voice]:
        """Who is told while chat is down what concerns no incident: the fallbacks, and the first pager after them."""
        first = self.config.pagerduty
        return [*self.config.fallbacks.values(), *([pagerduty.Integration.first(first)] if first else [])]

    def _reconciler(self) -> Reconciler:
        asking = self.config.alertmanager
        return Reconciler(
            self.desk,
            firing=partial(alertmanager.firing, asking, self.config.reading) if asking else None,
            pages=self.pager.known if self.pager else None,
            told=self.slack.told if self.slack else None,
        )

    def _pages(self, clock: Clock) -> Starlette:
        config = self.config
        hosts = {config.pages.host, urlsplit(config.pages_url).hostname or config.pages.host, "localhost", "127.0.0.1"}
        return pages_app(
            self.journal,
            self.shelf,
            Runbooks(self.books, config.targets),
            clock,
            policy=config.policy,
            links=config.links,
            hosts=sorted(hosts),
            hands=Hands(self.desk),
            vitals=Vitals(
                self.numbers,
                partial(try_out, self.journal, WRITE_WITHIN_S),
                self.auditor.findings,
                partial(self.pressure.turns_away, wakes=True),
                self.canaries.text if self.canaries else str,
            ),
        )

    def numbers(self) -> Numbers:
        """Figures for health and metrics."""
        beats = self.heartbeat
        return Numbers(
            started_at=self._began,
            unopened=self.desk.unopened,
            held=Held.of(self.journal, self.config.policy),
            deliveries=self.outbox.results(),
            findings=Counter(finding.check.value for finding in self.auditor.findings()),
            turned_at=self.engine.last_turn,
            audited_at=self.auditor.last.at if self.auditor.last else None,
            refused={(watch.listener, why): n for watch in self.watches for why, n in watch.counts.items()},
            heartbeats={"sent": beats.sent, "missed": beats.missed} if beats else {},
            traffic=self.doors.traffic,
        )


def runbook_parts(config: Config) -> Parts:
    """What runbooks are carried out by, over the targets that are configured."""
    measuring = prometheus.Prometheus(config.prometheus) if config.prometheus else None
    value = measuring.value if measuring else None
    acts = {kind: make(config.targets[table]) for kind, (table, make) in ACTS.items()}
    acts |= {kind: make(config.targets[table], value) for kind, (table, make) in WEIGHING_ACTS.items()}
    checks: dict[str, Check] = {kind: make(config.targets[table]) for kind, (table, make) in CHECKS.items()}
    if measuring:
        checks |= {"promql.assert": measuring, "promql.wait": measuring}
    return Parts(acts, checks, measuring.measure if measuring else _unmeasured)


def _unmeasured(query: str, expect: str) -> Reading:
    """What stands in for measuring when no Prometheus is connected: a run then asks a person."""
    raise Permanent(f"no Prometheus is connected to measure {query} {expect}")


def _started(config: Config) -> App:
    with reaching(config.database):
        app = App(config)
        # What is there at the start stays: to look through it for garbage stops everything for 40 ms, again and again.
        gc.collect()
        gc.freeze()
        app.start()
    return app


def serve(config: Config) -> None:
    """Runs the bot until it is told to end. Raises AlreadyRunning, PortTaken, NewerSchema, Unreachable."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with (
        alone(config.data_dir, config.database),
        bind("doors", config.doors.host, config.doors.port) as doors,
        bind("pages", config.pages.host, config.pages.port) as pages,
    ):
        app = _started(config)
        log.info(
            "serving",
            doors=":".join(str(part) for part in doors.getsockname()[:2]),
            pages=config.pages_url,
            runbooks=len(app.runbooks),
        )
        try:
            at_doors, at_pages = app.watches
            asyncio.run(listen({doors: server(app.front, at_doors), pages: server(app.pages, at_pages)}))
        finally:
            app.stop()
