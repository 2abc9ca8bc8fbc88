"""Somebody stops all runbooks: at once, for all incidents, from chat or a terminal, until somebody lets them go."""

from collections.abc import Iterator

import pytest

from bot.incident import events as ev
from bot.incident.run import StepStatus
from bot.slack.actions import Do, StepDo
from tests.failover.look import looks
from tests.story.night import INTAKE, JONAS, MAYA, SAM, Night, action_ids, measuring, told
from tests.story.test_runbooks import CACHED, ERRORS, LLAMA, answers, at_the_preview, run, shown, step


@pytest.fixture(autouse=True)
def numbers(night: Night) -> Iterator[dict[str, float]]:
    with measuring(night, {ERRORS: 0.3, CACHED: 0.3}) as kept:
        yield kept


def test_a_stop_reaches_what_is_approved_already_and_what_is_asked_for_next(night: Night) -> None:
    at_the_preview(night)
    assert "All runbooks are stopped" in night.types(JONAS, "/incident runbooks stop it drains the wrong nodes")
    looks(night)
    (said,) = [m for m in night.messages(INTAKE) if "stopped all runbooks" in told(m)]
    assert "Jonas Weber stopped all runbooks: it drains the wrong nodes" in told(said)
    refusal = answers(night, 3, StepDo.APPROVE)
    assert "by Jonas Weber: it drains the wrong nodes" in refusal
    assert step(night, 3) is StepStatus.ASKING
    assert night.bench.fleet.model(LLAMA)["rolling_to"] is None


def test_what_is_on_its_way_waits_and_goes_on_when_it_may(night: Night) -> None:
    at_the_preview(night)
    night.bench.workspace.click(MAYA, night.incident.channel, shown(night, 3).ts, StepDo.APPROVE)
    night.bench.workspace.command(JONAS, night.incident.channel, "/incident runbooks stop wait")
    night.settle()
    before = night.bench.fleet.model(LLAMA)["revision"]
    night.after(seconds=60)
    assert step(night, 3) is StepStatus.RUNNING
    assert night.bench.fleet.model(LLAMA)["revision"] == before
    assert "Runbooks act again" in night.types(MAYA, "/incident runbooks start")
    night.through(seconds=60)
    assert night.bench.fleet.model(LLAMA)["revision"] != before


def test_the_word_tells_what_is_under_way_and_the_buttons_let_it_go(night: Night) -> None:
    at_the_preview(night)
    channel = night.incident.channel
    assert "*Roll back a model deploy* on deploy/llama-70b" in night.types(MAYA, "/incident runbooks", channel)
    night.types(JONAS, "/incident runbooks stop wait")
    looks(night)
    (notice,) = [m for m in night.messages(INTAKE) if Do.RELEASE in action_ids(m)]
    assert "Runbooks act again" in night.clicks(MAYA, notice, Do.RELEASE)
    assert "They were not stopped" in night.clicks(MAYA, notice, Do.RELEASE)
    answers(night, 3, StepDo.APPROVE)
    assert night.events(ev.StepStarted) != []
    assert run(night).started_by == MAYA


def test_the_button_of_an_earlier_stop_lifts_no_later_one(night: Night) -> None:
    night.types(JONAS, "/incident runbooks stop wait")
    looks(night)
    (notice,) = [m for m in night.messages(INTAKE) if Do.RELEASE in action_ids(m)]
    night.types(JONAS, "/incident runbooks start")
    night.types(JONAS, "/incident runbooks stop it is back")
    assert "about an earlier stop" in night.clicks(MAYA, notice, Do.RELEASE)
    assert "it is back" in night.types(MAYA, "/incident runbooks")


def test_only_a_responder_may_stop_them(night: Night) -> None:
    assert "Only responders" in night.types(SAM, "/incident runbooks stop please")
    assert "No runbook is under way" in night.types(SAM, "/incident runbooks")


def test_a_word_that_is_none_says_what_there_is(night: Night) -> None:
    assert "/incident runbooks stop" in night.types(MAYA, "/incident runbooks halt")
