"""Real servers are killed, again and again, in the middle of their work, and nothing is lost and nothing is doubled.

SIGKILL ends the process, not the machine: what a power failure does to the disk is not tested here. The outside is the
workbench's Slack and PagerDuty and a plant of machines, in this process; one in five calls to any of them fails.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Final

import pytest

from bot.config import load
from bot.incident import events as ev
from bot.opening import open_journal
from bot.workbench.launch import Options, Workbench
from bot.workbench.pagerduty.service import CALLS_KEPT
from bot.workbench.server import Servers, Site, bind
from tests.chaos.campaign import DEADLINES, Plan, fight
from tests.chaos.plant import MEASURED, Plant, served, settings
from tests.chaos.reckoning import Reckoning
from tests.chaos.rules import AT_ONCE
from tests.chaos.servers import one_on_sqlite, several_on_postgresql
from tests.chaos.traffic import Echo
from tests.story.night import ANY_PORTS
from tests.story.wire import Numbers

pytestmark = pytest.mark.alone

WHOLE: Final = os.environ.get("CHAOS") == "all"
SEED: Final = int(os.environ.get("CHAOS_SEED", "20261121"))
ECHOES: Final = 0.3
"""The share of what Slack and PagerDuty send that comes once more."""
KILLS: Final = int(os.environ.get("CHAOS_KILLS", "200" if WHOLE else "12"))
HANGS, CRASHES = max(2, KILLS // 10), max(2, KILLS // 20)
PLANS: Final = {
    "one on SQLite": Plan(KILLS, SEED, hangs=HANGS),
    "three on PostgreSQL": Plan(KILLS, SEED, servers=3, hangs=HANGS, crashes=CRASHES, long_every=10 if WHOLE else 0),
}
if WHOLE:
    PLANS["six on PostgreSQL, of which four hang"] = Plan(
        KILLS // 4, SEED, servers=6, hangs=100, hanging=4, models_every=30
    )


@pytest.fixture(scope="module", params=PLANS)
def night(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, report: list[str]
) -> Iterator[Reckoning]:
    """The morning after a night under fire."""
    plan = PLANS[request.param]
    echo = Echo(random.Random(plan.seed), ECHOES)
    options = Options(
        ports=ANY_PORTS,
        directory=tmp_path_factory.mktemp("night"),
        bot=False,
        monitoring=False,
        paced=False,
        post=echo,
    )
    with ExitStack() as stack:
        bench = stack.enter_context(Workbench(options))
        plant = Plant()
        # The numbers of these nights prove nothing, and whoever waits for a proof never comes to rest.
        toml = (
            bench.bot_config.read_text(encoding="utf-8").replace("[proof]\n", "[proof]\nrequired = false\n") + DEADLINES
        )
        for old, new in settings(bench.directory / "runbooks", stack.enter_context(served(plant))).items():
            toml = toml.replace(old, new)
        bench.bot_config.write_text(toml, encoding="utf-8")
        prometheus = Servers([Site(Numbers(MEASURED).app, bind(bench.ports.prometheus, "--prometheus-port"))])
        prometheus.start()
        stack.callback(prometheus.stop)
        if plan.servers:
            postgres = request.getfixturevalue("postgres")
            servers = stack.enter_context(several_on_postgresql(bench, postgres, plan.servers))
        else:
            servers = one_on_sqlite(bench)
        fought = fight(servers, plant, echo, plan)
        environment = {**bench.secrets.bot_environment(), "FIXFIRST_DATABASE": servers.database}
        config, faults = load(bench.bot_config, environment.get)
        assert config is not None, faults
        journal = open_journal(config)
        stack.callback(journal.close)
        reckoning = Reckoning(fought, journal, config.policy)
        report += [f"{request.param}: {line}" if number == 0 else line for number, line in enumerate(reckoning.lines())]
        yield reckoning


def test_there_was_work_and_there_was_fire(night: Reckoning) -> None:
    fought = night.fought
    plan = fought.plan
    assert fought.kills >= plan.kills
    assert (fought.hangs, fought.crashes) == (plan.hangs, plan.crashes)
    assert fought.monitor.accepted > fought.kills
    assert set(fought.monitor.answers) <= {200, 503}
    assert fought.echo.again
    assert fought.failed("Slack") > 0.1 * fought.met["Slack"].total()
    assert night.events(ev.RunStarted)
    assert fought.plant.destroyed()
    assert night.late


@pytest.mark.parametrize("whom", ["Slack", "PagerDuty", "plant"])
def test_each_of_the_outside_failed_in_all_four_ways(night: Reckoning, whom: str) -> None:
    ways = set(night.fought.met[whom]) - {None}
    assert len(ways) == 4 or (whom == "plant" and not WHOLE), ways


def test_all_calls_of_pagerduty_are_remembered(night: Reckoning) -> None:
    """What the other tests look for among them would else be missed."""
    assert len(night.bench.pagerduty.calls) < CALLS_KEPT


def test_nothing_that_was_answered_2xx_is_lost(night: Reckoning) -> None:
    assert night.lost == []


def test_what_was_done_in_pagerduty_or_said_to_be_done_in_slack_is_so(night: Reckoning) -> None:
    assert night.unheeded == []


def test_nothing_happens_twice(night: Reckoning) -> None:
    assert night.doubled == []


def test_each_round_of_each_incident_wakes_somebody_once(night: Reckoning) -> None:
    assert night.unpaged == []
    assert night.paged_again == []


def test_what_is_over_in_pagerduty_is_over_here(night: Reckoning) -> None:
    assert night.out_of_step == []


def test_each_incident_has_one_channel_and_one_card_in_it_and_one_in_the_intake(night: Reckoning) -> None:
    assert night.misplaced == []


def test_no_message_is_there_twice(night: Reckoning) -> None:
    """Nobody can tell whether a server that is stopped in the middle of a call has made it: one in a hundred may."""
    assert len(night.said_twice) <= night.fought.hangs // 100, night.said_twice


def test_a_deadline_is_noticed_even_while_servers_die(night: Reckoning) -> None:
    assert night.late[0] >= timedelta(0)
    assert night.late[-1] <= AT_ONCE
    assert night.unnoticed == []


def test_what_cannot_be_taken_back_is_done_once_for_each_go(night: Reckoning) -> None:
    assert night.repeated == []
    assert night.afterwards == []


def test_people_are_asked_once_about_what_nobody_knows(night: Reckoning) -> None:
    assert night.asked == []


def test_nothing_was_given_up(night: Reckoning) -> None:
    assert set(night.journal.numbers()["outbox"]["states"]) == {"done"}


def test_every_chain_of_hashes_holds(night: Reckoning) -> None:
    assert [one.ref for one in night.incidents if night.journal.verify(one.id) is not None] == []


def test_no_bug_was_logged(night: Reckoning) -> None:
    assert [line for line in night.fought.servers.logged() if "_bug" in line or "Traceback" in line] == []
