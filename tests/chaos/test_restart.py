"""The real server is killed, again and again, in the middle of its work, and nothing is lost and nothing is doubled.

SIGKILL ends the process, not the machine: what a power failure does to the disk is not tested here. The outside is the
workbench's Slack and PagerDuty, in this process, with faults of every kind on top.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import Connection, text

from bot.app import open_journal
from bot.config import load
from bot.integrations.pagerduty import dedup_key
from bot.journal import Journal
from bot.journal.database import open_engine
from bot.workbench.children import Child
from bot.workbench.launch import Options, Workbench
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import Message
from tests.chaos.servers import Servers, one_on_sqlite, three_on_postgresql
from tests.doors.house import alert, webhook
from tests.story.night import ANY_PORTS, INTAKE, MAYA

MODELS: Final = tuple(f"model-{number}" for number in range(6))
PAUSE_S: Final = 0.1
"""Between two webhooks of the storm, one alert each, over the models in turn."""
READY_S: Final = 20.0
SETTLED_S: Final = 90.0
"""Longer than what a dead server had claimed stays its own."""
SEED: Final = 20261121


def eventually(holds: Callable[[], object], within: float, what: str, every: float = 0.005) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(every)


class Storm:
    """An Alertmanager that repeats each webhook until it is taken, as the real one does after a 5xx or no answer."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()
        self._ebbing = threading.Event()
        self._thread = threading.Thread(target=self._blow, daemon=True)
        self._thread.start()

    def ebb(self) -> None:
        """Ends with the webhook that is on its way, once it is taken."""
        self._ebbing.set()
        self._thread.join(SETTLED_S)
        assert not self._thread.is_alive(), "the last webhook was never taken"

    def _blow(self) -> None:
        while not self._ebbing.is_set():
            number = len(self.accepted)
            model = MODELS[number % len(MODELS)]
            labels = {"alertname": "LLMErrorRatioHigh", "severity": "critical", "model_name": model}
            notes = {"summary": f"{model} answers with errors"}
            body = json.dumps(webhook([alert(f"f{number:03d}", labels=labels, annotations=notes)])).encode()
            while self._send(body) != 200:
                time.sleep(PAUSE_S)
            self.accepted.append(f"f{number:03d}")
            time.sleep(PAUSE_S)

    def _send(self, body: bytes) -> int:
        headers = {"Authorization": f"Bearer {self._bench.secrets.alertmanager_token}"}
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._bench.ports.doors, timeout=10)) as connection:
                connection.request("POST", "/hooks/alertmanager", body, headers)
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        self.answers[status] += 1
        return status


class Site:
    """The outside as a killer sees it: when something new has just come to be there."""

    def __init__(self, bench: Workbench, storm: Storm) -> None:
        self.bench = bench
        self.storm = storm

    def webhooks(self) -> int:
        return len(self.storm.accepted)

    def pages(self) -> int:
        return len(self.bench.pagerduty.incidents)

    def channels(self) -> int:
        return len(self.bench.workspace.state.channels)

    def messages(self) -> int:
        with self.bench.workspace.state.lock:
            return sum(len(channel.messages) for channel in self.bench.workspace.state.channels.values())

    def calls(self) -> int:
        return len(self.bench.workspace.calls)


KILLS: Final = (
    ("webhooks", Fault.LOST_ANSWER, "none"),
    ("messages", None, "none"),
    ("pages", Fault.RATELIMITED, "500-after"),
    ("channels", Fault.DONE_DROP, "none"),
    ("messages", Fault.LOST_ANSWER, "429"),
    ("calls", Fault.SERVER_ERROR, "500"),
    ("channels", Fault.LOST_ANSWER, "500-after"),
    ("messages", Fault.DONE_DROP, "none"),
    ("webhooks", None, "500-after"),
    ("pages", None, "none"),
    ("calls", Fault.DROP, "none"),
    ("messages", Fault.RATELIMITED, "429"),
    ("calls", Fault.LOST_ANSWER, "none"),
    ("webhooks", Fault.DONE_DROP, "500"),
)
"""What must have just come to be outside when the process is killed, and how Slack and PagerDuty fail till then."""
CRASHES: Final = (4, 9)
"""The kills after which PostgreSQL crashes too."""
METHODS: Final = ("chat.postMessage", "conversations.create", "chat.update", "*")


@pytest.fixture(scope="module", params=["one_on_sqlite", "three_on_postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    options = Options(
        ports=ANY_PORTS, directory=tmp_path_factory.mktemp(request.param), bot=False, monitoring=False, paced=False
    )
    with Workbench(options) as bench:
        yield bench


@pytest.fixture(scope="module")
def servers(bench: Workbench, request: pytest.FixtureRequest) -> Iterator[Servers]:
    if bench.directory.name.startswith("one"):
        yield one_on_sqlite(bench)
        return
    with three_on_postgresql(bench, request.getfixturevalue("postgres")) as servers:
        yield servers


@pytest.fixture(scope="module")
def storm(servers: Servers) -> Storm:
    """The storm after all kills: who was killed has been started once more, and all have come to rest."""
    bench, dice = servers.bench, random.Random(SEED)
    servers.start()
    storm = Storm(bench)
    site = Site(bench, storm)
    start_a_run(servers)
    for number, kill in enumerate(KILLS):
        dead = live_and_die(servers, site, dice, *kill)
        if number in CRASHES:
            servers.crash_database()
        resolve_one_in_pagerduty(bench, dice)
        dead.start()
        dead.wait_ready(READY_S)
    bench.workspace.faults.clear()
    bench.pagerduty.outage = "none"
    storm.ebb()
    eventually(lambda: all_told(bench), SETTLED_S, "PagerDuty has told all it had to tell", every=0.05)
    eventually(lambda: at_rest(servers.database), SETTLED_S, "everything is delivered", every=0.2)
    servers.stop()
    return storm


def live_and_die(
    servers: Servers, site: Site, dice: random.Random, what: str, fault: Fault | None, outage: Any
) -> Child:
    """Lets the bot work until something new is seen outside, a moment longer, and kills a server."""
    if fault is not None:
        site.bench.workspace.faults.plan(fault, dice.choice(METHODS), times=dice.randint(1, 3))
    site.bench.pagerduty.outage = outage
    seen: Callable[[], int] = getattr(site, what)
    before, deadline = seen(), time.monotonic() + 1.0
    while seen() == before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(dice.choice((dice.uniform(0.0, 0.03), dice.uniform(0.1, 0.8))))
    dead = servers.kill_one(dice)
    site.bench.workspace.faults.clear()
    site.bench.pagerduty.outage = "none"
    return dead


def start_a_run(servers: Servers) -> None:
    """Maya starts a runbook on the first incident; each of its steps has one message for its whole life."""
    bench = servers.bench
    eventually(lambda: marked(bench, "surface", "incident"), READY_S, "the first incident has a card in its channel")
    bench.workspace.command(MAYA, marked(bench, "surface", "incident")[0], "/incident run rollback-model-deploy")
    eventually(lambda: bench.workspace.open_views(MAYA), READY_S, "the form is open")
    (form,) = bench.workspace.open_views(MAYA)
    bench.workspace.submit(MAYA, form.id, {"runbook": "rollback-model-deploy", "param.model": "llama-70b"})
    eventually(lambda: begun(servers.database), READY_S, "the run has begun")


def resolve_one_in_pagerduty(bench: Workbench, dice: random.Random) -> None:
    """While the bot is dead somebody resolves a page; PagerDuty tells us again and again until we answer."""
    burning = [incident.id for incident in bench.pagerduty.incidents if incident.status != "resolved"]
    if burning and dice.random() < 0.3:
        bench.pagerduty.act(MAYA, dice.choice(burning), "resolve")


def named(bench: Workbench, prefix: str) -> list[str]:
    with bench.workspace.state.lock:
        return [c.id for c in bench.workspace.state.channels.values() if c.name.startswith(prefix)]


def all_told(bench: Workbench) -> bool:
    """PagerDuty waits longer after each failure; here somebody presses "retry now"."""
    subscription = bench.pagerduty.subscription
    with subscription.lock:
        for queue in subscription.queues.values():
            for delivery in queue:
                delivery.due_at = 0.0
        return not any(subscription.queues.values())


def at_rest(url: str) -> bool:
    """Whether nothing is left to do. Killed attempts count as attempts, so a pause may last a minute by now; all but
    pages need not wait it out here."""
    with opened(url) as database:
        database.execute(
            text(
                "UPDATE outbox SET due_at = created_at WHERE state = 'waiting' AND claim IS NULL AND courier <> 'pager'"
            )
        )
        waiting = database.execute(text("SELECT count(*) FROM outbox WHERE state = 'waiting'")).scalar_one()
        news = database.execute(text("SELECT count(*) FROM inbox WHERE drained_at IS NULL")).scalar_one()
    return not waiting and not news


def begun(url: str) -> bool:
    with opened(url) as database:
        runs: int = database.execute(text("SELECT count(*) FROM event WHERE kind = 'run.started'")).scalar_one()
    return runs > 0


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    engine = open_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def journal(servers: Servers, storm: Storm) -> Iterator[Journal]:
    environment = {**servers.bench.secrets.bot_environment(), "FIXFIRST_DATABASE": servers.database}
    config, faults = load(servers.bench.bot_config, environment.get)
    assert config is not None, faults
    journal = open_journal(config)
    yield journal
    journal.close()


def ours(bench: Workbench) -> list[tuple[str, Message, dict[str, str]]]:
    """Every message of the bot's, with its channel and the mark it carries."""
    with bench.workspace.state.lock:
        return [
            (channel.id, message, dict(message.metadata["event_payload"]))
            for channel in bench.workspace.state.channels.values()
            for message in channel.messages
            if message.metadata and message.metadata["event_type"] == "fixfirst"
        ]


def marked(bench: Workbench, key: str, value: str = "") -> list[str]:
    """The channels of the messages with this mark."""
    return [where for where, _, mark in ours(bench) if mark.get(key) and value in ("", mark[key])]


def test_the_storm_was_one(storm: Storm) -> None:
    assert len(storm.accepted) > len(KILLS)
    assert set(storm.answers) <= {200, 503}, storm.answers


def test_every_webhook_that_was_answered_2xx_is_in_the_journal(servers: Servers, storm: Storm) -> None:
    with opened(servers.database) as database:
        rows = database.execute(text("SELECT fingerprint FROM alert WHERE source = 'alertmanager'"))
        kept = set(rows.scalars())
    assert kept == set(storm.accepted)


def test_each_round_of_each_incident_woke_somebody_once(bench: Workbench, journal: Journal) -> None:
    incidents = journal.recent(1_000)
    rounds = {dedup_key(one, number) for one in incidents for number in range(1, one.generation + 1)}
    paged = Counter(incident.key for incident in bench.pagerduty.incidents)
    assert set(paged) == rounds
    assert set(paged.values()) == {1}


def test_what_was_resolved_in_pagerduty_stays_resolved_there(bench: Workbench, journal: Journal) -> None:
    status = {incident.key: incident.status for incident in bench.pagerduty.incidents}
    for one in journal.recent(1_000):
        assert (status[dedup_key(one, one.generation)] == "resolved") == (not one.is_live)


def test_each_incident_has_one_channel_and_one_card_in_it_and_one_in_the_intake(
    bench: Workbench, journal: Journal
) -> None:
    incidents = journal.recent(1_000)
    assert len(incidents) >= len(MODELS)
    cards = Counter((mark["incident"], mark["surface"], where) for where, _, mark in ours(bench) if "surface" in mark)
    assert set(cards.values()) == {1}
    for one in incidents:
        assert named(bench, f"inc-{one.number}-") == [one.channel]
        assert (one.id, "intake", bench.workspace.channel(INTAKE).id) in cards
        assert (one.id, "incident", one.channel) in cards


def test_no_message_and_no_step_is_there_twice(bench: Workbench, journal: Journal) -> None:
    told = Counter(mark["entry"] for _, _, mark in ours(bench) if "entry" in mark)
    steps = Counter((mark["run"], mark["step"]) for _, _, mark in ours(bench) if "step" in mark)
    assert {entry: times for entry, times in told.items() if times > 1} == {}
    assert steps, "a run was started"
    assert set(steps.values()) == {1}


def test_nothing_was_given_up(journal: Journal) -> None:
    assert set(journal.numbers()["outbox"]["states"]) == {"done"}


def test_every_chain_of_hashes_holds(journal: Journal) -> None:
    assert [one.ref for one in journal.recent(1_000) if journal.verify(one.id) is not None] == []


def test_no_bug_was_logged(servers: Servers, storm: Storm) -> None:
    assert [line for line in servers.logged() if "_bug" in line or "Traceback" in line] == []
