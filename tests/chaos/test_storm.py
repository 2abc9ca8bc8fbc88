"""A storm of alerts over a hundred services: all are kept, each wakes somebody once, and the channels stay readable.

The real server as a process of its own, the workbench's Slack with its rate limits as the outside. `CHAOS=all` makes it
ten thousand alerts in a minute; without it the pace is the same, for a tenth of the time.
"""

import asyncio
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from bot.journal.database import open_engine
from bot.workbench.launch import Options, Workbench
from tests.bench.load import Result, Stream, paced
from tests.bench.traffic import post
from tests.chaos.servers import one_on_sqlite
from tests.doors.house import alert, webhook
from tests.story.night import ANY_PORTS

pytestmark = pytest.mark.alone

SECONDS: Final = 60 if os.environ.get("CHAOS") == "all" else 6
A_SECOND: Final = 167
ALERTS: Final = SECONDS * A_SECOND
GROUPS: Final = 100
MINUTE_S: Final = 60.0
SETTLED_S: Final = 60.0
MB: Final = 1_000_000


@dataclass(frozen=True)
class Past:
    """What the storm left behind."""

    answers: Result
    largest: int
    """Bytes of resident memory that the server had at most."""
    kept: Counter[str]
    """Alerts in the ledger, by status."""
    incidents: int
    paged: Counter[str]
    """PagerDuty's incidents by key."""
    posted: dict[str, list[float]]
    """When a message of the bot's came into each channel, by the channel's name; Slack's clock."""
    log: str


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("storm")
    options = Options(ports=ANY_PORTS, directory=folder, bot=False, monitoring=False, paced=True)
    with Workbench(options) as bench:
        servers = one_on_sqlite(bench)
        servers.start()
        pid = servers.children[0].pid
        assert pid is not None
        answers, largest = asyncio.run(_blow(bench, pid))
        _settle(servers.database, bench)
        with open_engine(servers.database).connect() as database:
            kept: Counter[str] = Counter(database.execute(text("SELECT status FROM alert")).scalars().all())
            incidents = database.execute(text("SELECT count(*) FROM incident")).scalar_one()
        servers.stop()
        yield Past(
            answers=answers,
            largest=largest,
            kept=kept,
            incidents=incidents,
            paged=Counter(incident.key for incident in bench.pagerduty.incidents),
            posted=_posted(bench),
            log=servers.children[0].log.read_text(encoding="utf-8"),
        )


async def _blow(bench: Workbench, pid: int) -> tuple[Result, int]:
    """The alerts at a steady pace, and the most memory the server had meanwhile."""
    largest = 0

    async def watch() -> None:
        nonlocal largest
        while True:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            largest = max(largest, pages * os.sysconf("SC_PAGE_SIZE"))
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    stream = Stream(_requests(bench), A_SECOND)
    (answers,) = await paced(bench.ports.doors, [stream], float(SECONDS))
    watching.cancel()
    return answers, largest


def _requests(bench: Workbench) -> Iterator[bytes]:
    for number in range(ALERTS):
        labels = {
            "alertname": "LLMErrorRatioHigh",
            "severity": "critical",
            "model_name": f"model-{number % GROUPS:02d}",
            "pod": f"vllm-{number}",
        }
        notes = {"summary": f"model-{number % GROUPS:02d} answers with errors"}
        body = json.dumps(webhook([alert(f"f{number:05d}", labels=labels, annotations=notes)])).encode()
        token = f"Authorization: Bearer {bench.secrets.alertmanager_token}"
        yield post("/hooks/alertmanager", body, "application/json", token)


def _settle(url: str, bench: Workbench) -> None:
    """Until every page is out and no news of alerts wait; what Slack's limits hold back may take longer."""
    engine = open_engine(url)
    deadline = time.monotonic() + SETTLED_S
    query = text(
        "SELECT (SELECT count(*) FROM inbox WHERE drained_at IS NULL)"
        " + (SELECT count(*) FROM outbox WHERE state = 'waiting' AND courier = 'pager')"
    )
    while True:
        with engine.connect() as database:
            waiting = database.execute(query).scalar_one()
        if not waiting and len(bench.pagerduty.incidents) >= GROUPS:
            return
        assert time.monotonic() < deadline, f"{waiting} still wait, {len(bench.pagerduty.incidents)} were paged"
        time.sleep(0.2)


def _posted(bench: Workbench) -> dict[str, list[float]]:
    """When we spoke in each channel; a reply in a thread rings nobody."""
    posted: dict[str, list[float]] = defaultdict(list)
    with bench.workspace.state.lock:
        for channel in bench.workspace.state.channels.values():
            for message in channel.messages:
                if message.thread_ts is None and message.metadata and message.metadata["event_type"] == "fixfirst":
                    posted[channel.name].append(float(message.ts))
    return posted


def _most_in_a_minute(times: list[float]) -> int:
    return max(sum(at <= other < at + MINUTE_S for other in times) for at in times)


def test_every_alert_was_accepted_within_a_second_and_is_kept(past: Past) -> None:
    assert len(past.answers.latencies) == ALERTS
    assert past.answers.quantile(0.99) < 1.0
    assert past.kept == {"firing": ALERTS}


def test_each_group_is_one_incident_and_woke_somebody_once(past: Past) -> None:
    assert past.incidents == GROUPS
    assert len(past.paged) == GROUPS
    assert set(past.paged.values()) == {1}


def test_no_channel_got_more_than_two_messages_a_minute(past: Past) -> None:
    assert {name: most for name, times in past.posted.items() if (most := _most_in_a_minute(times)) > 2} == {}


def test_the_memory_stays_small(past: Past) -> None:
    assert past.largest < 300 * MB


def test_no_bug_was_logged(past: Past) -> None:
    assert [line for line in past.log.splitlines() if "_bug" in line or "Traceback" in line] == []
