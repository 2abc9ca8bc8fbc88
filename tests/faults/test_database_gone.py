"""PostgreSQL is away for a while, stopped or standing still: the same process says so, loses nothing, and goes on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bot.journal.database import VANISHED_AFTER_S, conninfo
from bot.journal.servers import LEASE
from bot.web.doors import Doors
from tests.databases import PostgreSQL
from tests.doors.house import alert, webhook
from tests.faults.process import Process, eventually, started
from tests.story.night import MAYA, told

WHOLE = os.environ.get("CHAOS") == "all"
AWAY_S = 60.0 if WHOLE else 12.0
SLACK_GIVES_UP_AFTER_S = 3.0
AFTER_A_LEASE_S = 10.0
NOT_YET = "The journal does not answer yet"
PAGES_DONE = 'fixfirst_outbox_effects{courier="pager",state="done"}'
DEADLINE = '\n[deadlines]\nacknowledge = "8s"\n'


@contextmanager
def standing_still(postgres: PostgreSQL) -> Iterator[None]:
    """It keeps its connections and answers nothing, as on a disk that does not answer."""
    family = postgres.processes()
    for process in family:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            os.kill(process, signal.SIGCONT)


AWAY = {"stopped": PostgreSQL.gone, "standing still": standing_still}


def sends(bot: Process, name: str) -> int:
    labels = {"alertname": name, "severity": "critical", "service": name}
    answer = bot.street.alerts(webhook([alert(name, labels=labels, annotations={"summary": name})]))
    assert answer.status == 200 or int(answer.headers["retry-after"]) > 0
    return answer.status


def said(bot: Process) -> str:
    channels = bot.bench.workspace.state.channels.values()
    return "\n".join(told(message) for channel in channels for message in channel.messages)


@pytest.mark.parametrize("how", AWAY if WHOLE else ["stopped"])
def test_while_the_database_is_away_nothing_is_promised_and_afterwards_everything_goes_on(
    tmp_path: Path, postgres: PostgreSQL, how: str
) -> None:
    with started(tmp_path, environment={"FIXFIRST_DATABASE": postgres.new()}, more=DEADLINE) as bot:
        assert sends(bot, "before") == 200
        eventually(lambda: bot.paged() == {"before"})
        pid = bot.pid
        eventually(lambda: bot.health("/health/engine")[0] == 200)

        with AWAY[how](postgres):
            began = time.monotonic()
            assert sends(bot, "meanwhile") == 503
            if how == "stopped":
                answer = bot.types(MAYA, "/incident ack INC-1")
                assert "nothing was recorded; please try again" in answer or NOT_YET in answer
            assert bot.health("/health/live")[0] == 200
            assert bot.health("/health/ready")[0] == 503
            eventually(lambda: bot.health("/health/engine")[0] == 503)
            if how == "stopped":
                eventually(lambda: bot.counted('fixfirst_audit_findings{check="engine"}') == 1)
                assert bot.counted("fixfirst_journal_readable") == 0
                assert time.time() - bot.counted("fixfirst_engine_last_turn_timestamp_seconds") > 10
                status, page = bot.looks_up("/")
                assert (status, "The journal cannot be read right now" in page.decode()) == (503, True)
            while time.monotonic() - began < AWAY_S:
                assert sends(bot, "meanwhile") == 503
                time.sleep(0.5)

        back = time.monotonic()
        eventually(lambda: sends(bot, "meanwhile") == 200)
        eventually(lambda: bot.paged() == {"before", "meanwhile"})
        assert time.monotonic() - back < LEASE.total_seconds(), "nobody waits for a claim to run out"
        eventually(lambda: "Nobody has INC-1" in said(bot))
        eventually(lambda: bot.health("/health/engine")[0] == 200)
        assert bot.health("/health/ready")[0] == 200
        assert bot.counted("fixfirst_journal_readable") == 1
        assert "INC-1" in bot.types(MAYA, "/incident ack INC-1")
        assert len(bot.bench.pagerduty.incidents) == 2
        assert (bot.child.running, bot.pid) == (True, pid)
        assert not bot.logged("engine_bug", "courier_bug", "slack_listener_bug")


def in_hand(url: str) -> bool:
    """Whether somebody is paging in this moment."""
    with psycopg.connect(conninfo(url)) as connection:
        claimed = "SELECT count(*) FROM outbox WHERE courier = 'pager' AND state = 'waiting' AND claim IS NOT NULL"
        return connection.execute(claimed).fetchall() == [(1,)]


if WHOLE:  # it waits for the end of a lease, 45 s; a skip would be a failure on a build machine

    def test_a_page_that_was_in_hand_when_the_database_went_is_sent_again_when_its_lease_is_over(
        tmp_path: Path, postgres: PostgreSQL
    ) -> None:
        url = postgres.new()
        with started(tmp_path, environment={"FIXFIRST_DATABASE": url}) as bot:
            bot.bench.pagerduty.outage = "down"
            assert sends(bot, "burning") == 200
            eventually(lambda: in_hand(url))
            with postgres.gone():
                bot.bench.pagerduty.outage = "none"
                eventually(lambda: bot.paged() == {"burning"})  # it is taken, and nobody can write that down
            back = time.monotonic()
            eventually(lambda: bot.counted(PAGES_DONE) == 1, within_s=LEASE.total_seconds() + AFTER_A_LEASE_S)
            assert time.monotonic() - back > 1, "the hard case: the answer was lost"
            assert len(bot.bench.pagerduty.incidents) == 1
            assert not bot.logged("engine_bug", "courier_bug")


def test_a_click_while_the_database_stands_still_is_answered_before_slack_gives_up_and_told_of_later(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    assert Doors.SLACK_WITHIN_S < SLACK_GIVES_UP_AFTER_S
    with started(tmp_path, environment={"FIXFIRST_DATABASE": postgres.new()}) as bot:
        assert sends(bot, "before") == 200
        eventually(lambda: bot.paged() == {"before"})
        assert "INC-1" in bot.types(MAYA, "/incident list")
        with standing_still(postgres):
            assert NOT_YET in bot.types(MAYA, "/incident ack INC-1")
        eventually(lambda: len(bot.bench.workspace.ephemerals(MAYA)) > 2)
        assert "INC-1" in told(bot.bench.workspace.ephemerals(MAYA)[-1])
        assert not bot.logged("slack_door_bug", "slack_listener_bug")


def test_a_server_that_vanishes_without_a_word_is_given_up_in_seconds() -> None:
    """The kernel keeps these limits; libpq refuses a name that it does not know."""
    limits = conninfo_to_dict(conninfo("postgresql+psycopg://somewhere/fixfirst"))
    assert int(str(limits["tcp_user_timeout"])) == VANISHED_AFTER_S * 1000
    assert int(str(limits["keepalives_idle"])) + 2 * int(str(limits["keepalives_interval"])) <= VANISHED_AFTER_S
