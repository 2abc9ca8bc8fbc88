"""A storm of alerts over a hundred services: all are kept, each wakes somebody once, and the channels stay readable.

The real server as a process of its own, the workbench's Slack with its rate limits as the outside. `CHAOS=all` makes it
ten thousand alerts of a hundred services in a minute; without it the pace is the same, for a tenth of the time and a
fifth of the services: Slack lets an app open twenty channels a minute, and it is looked at until all has been said.
"""

import asyncio
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from bot.workbench.launch import Options, Workbench
from tests.bench.load import Result, Stream, paced
from tests.bench.traffic import post
from tests.chaos.campaign import eventually, opened
from tests.chaos.people import mark
from tests.chaos.servers import one_on_sqlite
from tests.doors.house import alert, webhook
from tests.story.night import ANY_PORTS

pytestmark = pytest.mark.alone

WHOLE: Final = os.environ.get("CHAOS") == "all"
SECONDS: Final = 60 if WHOLE else 6
A_SECOND: Final = 167
ALERTS: Final = SECONDS * A_SECOND
GROUPS: Final = 100 if WHOLE else 20
MINUTE_S: Final = 60.0 if WHOLE else 50.0
"""A short one: a message that a busy machine delays comes closer to the next."""
TAKES: Final = 1.1 if WHOLE else 2.0
ACCEPTED_S: Final = 1.0 if WHOLE else 5.0
"""Gates so slack that a crowded machine keeps them; a sender gives up after ten seconds. `make chaos` is stricter."""
PAGED_S: Final = 60.0
SAID_S: Final = 900.0
"""A channel for each of a hundred services takes Slack's limits five minutes alone."""
MB: Final = 1_000_000


@dataclass(frozen=True)
class Past:
    """What the storm left behind."""

    answers: Result
    largest: int
    """Bytes of resident memory that the server had at most, until it was at rest."""
    kept: Counter[str]
    """Alerts in the ledger, by status."""
    incidents: int
    paged: Counter[str]
    """PagerDuty's incidents by key."""
    posted: dict[str, list[float]]
    """When a message of the bot's came into each channel, by the channel's name; Slack's clock. Replies in threads,
    which ring nobody, are not among them, nor is the next person's call when nobody has acknowledged in time."""
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
        answers = asyncio.run(_blow(bench))
        _settle(servers.database, bench)
        largest = _most_memory(pid)
        with opened(servers.database) as database:
            kept: Counter[str] = Counter(database.execute(text("SELECT status FROM alert")).scalars().all())
            incidents = database.execute(text("SELECT count(*) FROM incident")).scalar_one()
            missed = text("SELECT id FROM event WHERE kind = 'incident.ack_deadline_missed'")
            escalations = frozenset(database.execute(missed).scalars())
        servers.stop()
        yield Past(
            answers=answers,
            largest=largest,
            kept=kept,
            incidents=incidents,
            paged=Counter(incident.key for incident in bench.pagerduty.incidents),
            posted=_posted(bench, escalations),
            log=servers.children[0].log.read_text(encoding="utf-8"),
        )


async def _blow(bench: Workbench) -> Result:
    """The alerts at a steady pace."""
    (answers,) = await paced(bench.ports.doors, [Stream(_requests(bench), A_SECOND)], float(SECONDS))
    return answers


def _most_memory(pid: int) -> int:
    """The most resident memory that a process ever had, in bytes; the kernel keeps count (proc_pid_status(5))."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


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
    """Until every page is out and no news of alerts wait; and then until all has been said that Slack's limits hold
    back."""
    news = "SELECT count(*) FROM inbox WHERE drained_at IS NULL"
    waiting = "SELECT count(*) FROM outbox WHERE state = 'waiting'"

    def none(*questions: str) -> bool:
        with opened(url) as database:
            return not any(database.execute(text(question)).scalar_one() for question in questions)

    def paged() -> bool:
        return len(bench.pagerduty.incidents) >= GROUPS and none(news, f"{waiting} AND courier = 'pager'")

    eventually(paged, PAGED_S, "everybody is paged", every=0.2)
    eventually(lambda: none(news, waiting), SAID_S, "all is said", every=0.5)


def _posted(bench: Workbench, escalations: Collection[str]) -> dict[str, list[float]]:
    """When we spoke in each channel, but for replies and for the entries that these messages are about."""
    posted: dict[str, list[float]] = defaultdict(list)
    with bench.workspace.state.lock:
        for channel in bench.workspace.state.channels.values():
            for message in channel.messages:
                of = mark(message)
                if of and message.thread_ts is None and of.get("entry") not in escalations:
                    posted[channel.name].append(float(message.ts))
    return posted


def _most_in_a_minute(times: list[float]) -> int:
    return max(sum(at <= other < at + MINUTE_S for other in times) for at in times)


def test_every_alert_was_accepted_soon_and_is_kept(past: Past) -> None:
    assert len(past.answers.latencies) == ALERTS
    assert past.answers.took < TAKES * SECONDS
    assert past.answers.quantile(0.99) < ACCEPTED_S
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
