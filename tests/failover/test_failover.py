"""A real primary dies with its last seconds unsent, and a real standby takes over under a bot in the middle of a night.

What was lost then is not known to anybody: people are still woken, and nothing acts on the world until one has looked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.audit.crier import LOOK_EVERY_S
from bot.incident.run import StepStatus
from bot.incident.state import Status
from bot.journal import logbook
from bot.journal.database import CONNECT_TIMEOUT_S
from bot.journal.writer import Busy
from bot.slack.actions import StepDo
from bot.workbench.server import Servers, Site, bind
from tests.failover.cluster import Cluster, Mould, eventually, mould
from tests.failover.look import is_frozen, looks, notices, presses_confirm
from tests.story.night import JONAS, MAYA, Night, action_ids, alert, measuring, open_night, told
from tests.story.test_runbooks import CACHED, ERRORS, LLAMA, answers, at_the_preview, shown, step

SEEN_WITHIN_S = 20.0
"""On a busy machine; an idle one takes two or three."""


@pytest.fixture(scope="module")
def form() -> Iterator[Mould]:
    with mould() as form:
        yield form


@pytest.fixture
def pair(form: Mould) -> Iterator[Cluster]:
    with form.cast() as pair:
        yield pair


@pytest.fixture
def night(tmp_path: Path, pair: Cluster) -> Iterator[Night]:
    with open_night(tmp_path, secrets={"FIXFIRST_DATABASE": pair.url}) as night:
        night.app.crier.look()
        with measuring(night, {ERRORS: 0.3, CACHED: 0.3}):
            yield night


@pytest.fixture
def deploys(night: Night, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The revisions that the fleet was asked to deploy."""
    asked: list[str] = []
    real = night.bench.fleet.deploy

    def deploy(name: str, revision: str) -> object:
        asked.append(revision)
        return real(name, revision)

    monkeypatch.setattr(night.bench.fleet, "deploy", deploy)
    return asked


def fails_over(night: Night, pair: Cluster) -> None:
    """The standby takes over, the bot finds it and looks."""
    pair.fail_over()
    eventually(lambda: answers_again(night), "the bot has found the new primary")
    looks(night)


def answers_again(night: Night) -> bool:
    try:
        night.app.journal.live()
        night.app.journal.write(lambda txn: txn.now).result(5)
    except Busy:
        return False
    return True


def test_an_approval_that_was_lost_with_the_primary_is_not_given_twice(
    night: Night, pair: Cluster, deploys: list[str]
) -> None:
    at_the_preview(night)
    pair.cut_the_feed()
    answers(night, 3, StepDo.APPROVE)
    assert deploys == ["r41"], "carried out, and the standby knows nothing of it"
    fails_over(night, pair)
    assert step(night, 3) is StepStatus.ASKING, "as far as the standby knows, nobody has approved"
    assert StepDo.APPROVE in action_ids(shown(night, 3)), "the step's message shows it as the record has it"
    assert "the database failed over" in answers(night, 3, StepDo.APPROVE)
    assert "Confirmed" in presses_confirm(night, MAYA)
    night.after(seconds=1)
    assert "nothing was done" in answers(night, 3, StepDo.APPROVE), "the preview from before counts no more"
    assert deploys == ["r41"]
    assert "rolling_to: r41" in told(shown(night, 3)), "the new one shows the world as it is: under way already"


def test_an_act_that_waited_is_looked_for_before_it_is_done(night: Night, pair: Cluster, deploys: list[str]) -> None:
    at_the_preview(night)
    night.bench.workspace.click(MAYA, night.incident.channel, shown(night, 3).ts, StepDo.APPROVE, None)
    pair.cut_the_feed()  # the approval is on both, nothing has been carried out
    night.settle()
    assert deploys == ["r41"]
    fails_over(night, pair)
    for _ in range(5):
        night.after(seconds=10)
    assert deploys == ["r41"], "frozen"
    presses_confirm(night, JONAS)
    night.after(seconds=30)
    assert deploys == ["r41"], "found done"
    assert step(night, 3) in (StepStatus.VERIFYING, StepStatus.INTERRUPTED)


def test_a_server_that_runs_notices_within_seconds_and_says_so_in_chat(night: Night, pair: Cluster) -> None:
    night.app.engine.start()
    try:
        pair.fail_over()
        took = eventually(lambda: "failed over" in notices(night), "the intake channel is told")
    finally:
        night.app.engine.stop()
    assert took < SEEN_WITHIN_S
    assert LOOK_EVERY_S + CONNECT_TIMEOUT_S < SEEN_WITHIN_S / 2


def test_what_was_lost_is_brought_in_or_said(night: Night, pair: Cluster) -> None:
    night.foretold |= {"name_taken", "already_in_channel"}  # of the channel that the lost incident had
    kept = night.burns()
    pair.cut_the_feed()
    night.types(MAYA, "/incident ack", kept.channel)
    night.after(seconds=40)  # later than an incident that would share the announcement of the first
    lost = night.burns("f2", model_name="qwen-32b")
    assert lost.number == 2
    pages = {incident.key: incident for incident in night.bench.pagerduty.incidents}
    with burning_in_alertmanager(night, "f1", "f2"):
        fails_over(night, pair)
    told_in_chat = notices(night)
    assert "PagerDuty: INC-1 is acknowledged there; now here too." in told_in_chat
    again = night.app.journal.incident(kept.id)
    assert again is not None
    assert again.status is Status.ACKNOWLEDGED
    assert "Alertmanager: alerts of 1 group burn that were missing here" in told_in_chat
    night.after(seconds=2)
    found = night.incident
    assert (found.number, found.model) == (2, "qwen-32b")
    assert found.id != lost.id
    assert {incident.key for incident in night.bench.pagerduty.incidents} - set(pages) == {found.page_key(1)}
    assert pages[lost.page_key(1)].status == "triggered"
    assert "belongs to nothing that is open here; resolve it there" in told_in_chat
    assert "something about an incident this record has lost" in told_in_chat
    assert f"in #{kept.channel_name}, something this record has lost" in told_in_chat, "that Maya took it"
    before = night.app.journal.ask(logbook.records)
    night.app.crier.look()
    assert night.app.journal.ask(logbook.records) == before, "once is enough"


@contextmanager
def burning_in_alertmanager(night: Night, *fingerprints: str) -> Iterator[None]:
    """An Alertmanager in whose own list these alerts burn, and one for somebody else."""
    models = {"f1": "llama-70b", "f2": "qwen-32b"}

    def alerts(_: Request) -> JSONResponse:
        listed = [
            {
                **alert(fingerprint, model_name=models[fingerprint]),
                "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
                "startsAt": night.began[fingerprint],
                "receivers": [{"name": "fixfirst"}],
            }
            for fingerprint in fingerprints
        ]
        return JSONResponse([*listed, {**alert("f9"), "receivers": [{"name": "somebody-else"}]}])

    site = Starlette(routes=[Route("/api/v2/alerts", alerts)])
    server = Servers([Site(site, bind(night.bench.ports.alertmanager, "--alertmanager-port"))])
    server.start()
    try:
        yield
    finally:
        server.stop()


def test_with_a_synchronous_standby_nothing_is_lost_and_it_freezes_all_the_same(night: Night, pair: Cluster) -> None:
    pair.synchronous()
    before = night.burns()
    night.types(MAYA, "/incident ack", night.incident.channel)
    entries = [entry.id for entry in night.app.journal.entries(before.id)]
    fails_over(night, pair)
    assert [entry.id for entry in night.app.journal.entries(before.id)][: len(entries)] == entries
    assert is_frozen(night)
    assert LLAMA in night.incident.title
