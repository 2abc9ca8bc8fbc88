"""A runbook in people's hands: shown before it acts, done once, measured, taken back, and honest about doubt."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.run import Run, RunStatus, StepStatus
from bot.incident.state import Status
from bot.slack.actions import StepDo
from bot.workbench.slack.model import Message
from tests.story.night import JONAS, MAYA, SAM, Night, action_ids, measuring, told

ROLLBACK, CACHE = "rollback-model-deploy", "serve-from-cache"
LLAMA = "llama-70b"
ERRORS, CACHED = "http_requests_total", "gateway_requests_total"


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def deploys(night: Night, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the fleet was asked to deploy, in order."""
    asked: list[tuple[str, str]] = []
    real = night.bench.fleet.deploy

    def deploy(name: str, revision: str) -> object:
        asked.append((name, revision))
        return real(name, revision)

    monkeypatch.setattr(night.bench.fleet, "deploy", deploy)
    return asked


@pytest.fixture
def numbers(night: Night) -> Iterator[dict[str, float]]:
    """A Prometheus that says that three in ten requests fail."""
    with measuring(night, {ERRORS: 0.3, CACHED: 0.3}) as kept:
        yield kept


def starts(night: Night, runbook: str) -> None:
    """A bad deploy, an incident that Maya has, and a runbook begun."""
    night.bench.fleet.set_fault("bad-deploy", True)
    night.burns()
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.types(MAYA, f"/incident run {runbook}", night.incident.channel)
    assert night.fills_in(MAYA, **{"runbook": runbook, "param.model": LLAMA}).ok


def run(night: Night) -> Run:
    """The latest run."""
    return list(night.incident.runs.values())[-1]


def step(night: Night, number: int) -> StepStatus:
    return run(night).steps[number - 1].status


def shown(night: Night, number: int) -> Message:
    """The one message in which a step is shown."""
    return next(m for m in night.messages() if m.ts == run(night).steps[number - 1].ts)


def answers(night: Night, number: int, do: StepDo, user: str = MAYA) -> str:
    """Presses a button of a step's message; what the person was told."""
    return night.clicks(user, shown(night, number), do, night.incident.channel)


def skips(night: Night, number: int, user: str = MAYA, reason: str = "the revision before was bad too") -> None:
    """Leaves a step out, and says why."""
    answers(night, number, StepDo.SKIP, user)
    assert night.fills_in(user, reason=reason).ok


def at_the_preview(night: Night) -> None:
    starts(night, ROLLBACK)
    answers(night, 2, StepDo.APPROVE)
    assert step(night, 3) is StepStatus.ASKING


def test_a_rollback_is_previewed_approved_done_and_measured(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    starts(night, ROLLBACK)
    assert "measured 0.3 (want &gt; 0.01)" in told(shown(night, 1)), "what was measured, and what was wanted"
    assert "shortly before the errors began" in told(shown(night, 2)), "a person looks first"
    answers(night, 2, StepDo.APPROVE)
    preview = told(shown(night, 3))
    assert "r42" in preview
    assert "r41" in preview
    assert "New replicas load the weights first" in preview
    assert deploys == [], "nothing has happened yet"
    answers(night, 3, StepDo.APPROVE)
    assert deploys == [(LLAMA, "r41")]
    night.through(seconds=30)
    assert step(night, 3) is StepStatus.VERIFYING, "three in ten still fail"
    numbers[ERRORS] = 0.001
    night.through(seconds=30)
    assert run(night).status is RunStatus.DONE
    assert "0.001 (want &lt; 0.01), held for 15 s" in told(shown(night, 3))
    assert night.stands(Status.MITIGATED), "measured, so it counts"
    assert night.bench.fleet.model(LLAMA)["revision"] == "r41"
    assert len(night.said("step 3 of 3")) == 1, "one message for the step's whole life"


def test_without_an_answer_from_prometheus_a_person_is_asked(night: Night, deploys: list[tuple[str, str]]) -> None:
    starts(night, ROLLBACK)
    night.through(seconds=40)
    assert step(night, 1) is StepStatus.FAILED
    (failed,) = night.events(ev.StepFailed)
    assert failed.inconclusive, "no answer is no proof of anything"
    (said,) = night.said("could not be measured: tried 5 times")
    assert f"<@{MAYA}>" in told(said)
    assert run(night).status is RunStatus.RUNNING
    skips(night, 1)
    assert step(night, 2) is StepStatus.ASKING, "Maya knows better and goes on"
    answers(night, 2, StepDo.APPROVE)
    answers(night, 3, StepDo.APPROVE)
    night.through(minutes=6)
    assert deploys == [(LLAMA, "r41")]
    assert step(night, 3) is StepStatus.FAILED
    assert "not proven within 5 min" in told(shown(night, 3))
    assert night.stands(Status.ACKNOWLEDGED), "not measured, so nobody calls it mitigated"


def test_errors_that_are_not_there_stop_nobody_from_deciding(night: Night, numbers: dict[str, float]) -> None:
    numbers[ERRORS] = 0.0
    starts(night, ROLLBACK)
    assert step(night, 1) is StepStatus.FAILED
    assert "did not work" in told(night.said("Are the errors of llama-70b really up?")[-1])
    assert {StepDo.RETRY, StepDo.SKIP, StepDo.STOP} <= action_ids(shown(night, 1))


def test_pressed_twice_by_two_people_it_is_done_once(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    message, channel = shown(night, 3), night.incident.channel
    for user in (MAYA, MAYA, JONAS):
        night.bench.workspace.click(user, channel, message.ts, StepDo.APPROVE)
    night.settle()
    night.through(seconds=30)
    assert deploys == [(LLAMA, "r41")]
    assert len(night.events(ev.StepStarted)) == 1


def test_a_preview_older_than_a_quarter_of_an_hour_is_shown_anew_first(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    night.through(minutes=16)
    night.bench.fleet.deploy(LLAMA, "r40")
    night.through(minutes=1)
    assert "older than 15 minutes" in answers(night, 3, StepDo.APPROVE)
    assert deploys == [(LLAMA, "r40")], "somebody else's"
    assert "r40" in told(shown(night, 3)), "the new preview shows the world as it is now"
    answers(night, 3, StepDo.APPROVE)
    assert len(deploys) == 2


def test_somebody_elses_deploy_in_between_is_noticed_and_nothing_is_done(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    night.bench.fleet.deploy(LLAMA, "r40")
    night.after(seconds=60)
    answers(night, 3, StepDo.APPROVE)
    assert deploys == [(LLAMA, "r40")], "theirs, and not ours on top"
    assert step(night, 3) is StepStatus.FAILED
    assert "changed since the preview" in told(shown(night, 3))
    assert "preview again" in told(shown(night, 3))
    answers(night, 3, StepDo.RETRY)
    assert step(night, 3) is StepStatus.ASKING
    assert "r40" in told(shown(night, 3)), "the world as it is now"


def test_an_approval_of_a_plan_that_was_replaced_is_refused(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    stale = [block for block in shown(night, 3).blocks if block["type"] == "actions"]
    old = night.bench.workspace.api(
        "chat.postMessage", {"channel": night.incident.channel, "text": "x", "blocks": stale}
    )
    night.bench.fleet.deploy(LLAMA, "r40")
    night.after(seconds=60)
    answers(night, 3, StepDo.APPROVE)
    answers(night, 3, StepDo.RETRY)
    kept = next(message for message in night.messages() if message.ts == old.body["ts"])
    assert "plan has changed since that preview" in night.clicks(MAYA, kept, StepDo.APPROVE, night.incident.channel)
    assert deploys == [(LLAMA, "r40")]


def test_a_stopped_runbook_does_nothing_more_even_when_the_go_was_given(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    message, channel = shown(night, 3), night.incident.channel
    night.bench.workspace.click(MAYA, channel, message.ts, StepDo.APPROVE)
    night.bench.workspace.click(JONAS, channel, message.ts, StepDo.STOP)
    night.settle()
    assert deploys == []
    assert run(night).status is RunStatus.STOPPED
    (said,) = night.said("Runbook *Roll back a model deploy*: stopped")
    assert "Jonas Weber" in told(said)
    assert StepDo.APPROVE not in action_ids(shown(night, 3))


def test_a_stopped_runbook_can_be_begun_again_and_two_at_once_are_refused(
    night: Night, numbers: dict[str, float]
) -> None:
    at_the_preview(night)
    night.types(JONAS, f"/incident run {ROLLBACK}", night.incident.channel)
    outcome = night.fills_in(JONAS, **{"runbook": ROLLBACK, "param.model": LLAMA})
    assert "already running" in " ".join(outcome.errors.values())
    night.bench.workspace.close_view(JONAS, night.form(JONAS).id)
    answers(night, 3, StepDo.STOP)
    night.types(JONAS, f"/incident run {ROLLBACK}", night.incident.channel)
    assert night.fills_in(JONAS, **{"runbook": ROLLBACK, "param.model": LLAMA}).ok
    assert len(night.incident.runs) == 2


def test_a_skipped_step_is_not_done_and_says_who_skipped_it(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    skips(night, 3, JONAS)
    assert deploys == []
    assert run(night).status is RunStatus.DONE
    assert "skipped by Jonas Weber: the revision before was bad too" in night.types(
        MAYA, "/incident timeline", night.incident.channel
    )
    assert night.stands(Status.ACKNOWLEDGED), "a runbook of which nothing was done mitigates nothing"


def test_what_was_done_can_be_taken_back(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    answers(night, 3, StepDo.APPROVE)
    numbers[ERRORS] = 0.001
    night.through(minutes=2)
    answers(night, 3, StepDo.UNDO, JONAS)
    night.through(minutes=1)
    assert deploys == [(LLAMA, "r41"), (LLAMA, "r42")]
    assert step(night, 3) is StepStatus.UNDONE
    assert night.bench.fleet.model(LLAMA)["revision"] == "r42"


def test_what_somebody_else_changed_since_is_not_undone(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]]
) -> None:
    at_the_preview(night)
    answers(night, 3, StepDo.APPROVE)
    numbers[ERRORS] = 0.001
    night.through(minutes=2)
    night.bench.fleet.deploy(LLAMA, "r40")
    night.after(minutes=1)
    answers(night, 3, StepDo.UNDO)
    assert deploys == [(LLAMA, "r41"), (LLAMA, "r40")]
    assert "which this step did not set; look before undoing" in told(night.said("Could not undo")[0])


def on_loan(night: Night) -> None:
    starts(night, CACHE)
    answers(night, 2, StepDo.APPROVE)
    night.after(seconds=5)
    assert night.bench.fleet.model(LLAMA)["fallback"] == "cache"


def test_the_cache_is_only_lent_and_taken_back_after_an_hour(night: Night, numbers: dict[str, float]) -> None:
    on_loan(night)
    assert "then taken back" in told(shown(night, 2))
    night.after(minutes=59)
    assert night.bench.fleet.model(LLAMA)["fallback"] == "cache"
    night.after(minutes=2)
    assert night.bench.fleet.model(LLAMA)["fallback"] == "off"
    (said,) = night.said("nobody kept it on. Taking it back")
    assert f"<@{MAYA}>" in told(said)
    assert step(night, 2) is StepStatus.UNDONE


def test_whoever_renews_the_loan_keeps_it_for_another_hour(night: Night, numbers: dict[str, float]) -> None:
    on_loan(night)
    night.after(minutes=50)
    answers(night, 2, StepDo.RENEW, JONAS)
    night.after(minutes=50)
    assert night.bench.fleet.model(LLAMA)["fallback"] == "cache"
    night.after(minutes=11)
    assert night.bench.fleet.model(LLAMA)["fallback"] == "off"


def test_a_loan_ends_even_when_the_incident_is_over_and_the_bot_was_away(
    night: Night, numbers: dict[str, float]
) -> None:
    on_loan(night)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", night.incident.channel)
    night.clock.now = night.clock.now.replace(hour=night.clock.now.hour + 3)
    night.crash()
    night.settle()
    assert night.bench.fleet.model(LLAMA)["fallback"] == "off"


@pytest.mark.parametrize("do", [StepDo.APPROVE, StepDo.SKIP, StepDo.STOP])
def test_somebody_from_support_cannot_answer_a_step(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]], do: StepDo
) -> None:
    at_the_preview(night)
    assert "Only responders" in answers(night, 3, do, SAM)
    assert step(night, 3) is StepStatus.ASKING
    assert deploys == []


def approved(night: Night) -> None:
    """The go is given, and nothing has come of it yet."""
    at_the_preview(night)
    night.bench.workspace.click(MAYA, night.incident.channel, shown(night, 3).ts, StepDo.APPROVE)


def dies(night: Night, monkeypatch: pytest.MonkeyPatch, act: type[ef.Effect], *, after_the_act: bool) -> None:
    """The process dies just before, or just after, the fleet hears of the act."""
    outbox = night.app.outbox

    def die(*_: object) -> None:
        raise Died

    job = next(job for job in outbox.ready() if isinstance(job.effect, act))
    with monkeypatch.context() as fatal:
        if after_the_act:
            fatal.setattr(outbox, "_settle", die)
        else:
            fatal.setattr(night.app.journal, "incident", die)
        with pytest.raises(Died):
            outbox.deliver(job.id)


def test_a_crash_before_the_act_does_it_once(
    night: Night, numbers: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(night)
    dies(night, monkeypatch, ef.ApplyStep, after_the_act=False)
    assert night.bench.fleet.model(LLAMA)["rolling_to"] is None
    night.crash()
    night.through(seconds=30)
    assert night.bench.fleet.model(LLAMA)["revision"] == "r41"
    assert len(night.events(ev.StepStarted)) == 1
    assert night.events(ev.StepInterrupted) == []


@pytest.mark.parametrize("at_hand", [False, True])
def test_a_go_from_before_a_long_outage_is_asked_for_again(
    night: Night,
    numbers: dict[str, float],
    deploys: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    at_hand: bool,
) -> None:
    approved(night)
    if at_hand:
        dies(night, monkeypatch, ef.ApplyStep, after_the_act=False)
    night.clock.now += timedelta(minutes=20)
    night.crash()
    night.through(minutes=1)
    assert deploys == []
    assert step(night, 3) is StepStatus.FAILED
    assert "not carried out: its approval is too old by now" in told(shown(night, 3))
    answers(night, 3, StepDo.RETRY)
    answers(night, 3, StepDo.APPROVE)
    assert deploys == [(LLAMA, "r41")]


def test_a_crash_after_the_act_and_before_its_outcome_asks_a_person_once_and_acts_no_more(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(night)
    dies(night, monkeypatch, ef.ApplyStep, after_the_act=True)
    assert deploys == [(LLAMA, "r41")]
    night.crash()
    night.settle()
    assert step(night, 3) is StepStatus.INTERRUPTED, "the fleet is in the middle of something: was that us?"
    (said,) = night.said("unclear whether it happened. ")
    assert f"<@{MAYA}>" in told(said)
    night.crash()
    night.through(minutes=2)
    assert len(night.said("unclear whether it happened. ")) == 1
    assert deploys == [(LLAMA, "r41")], "the fleet got exactly one deploy"
    answers(night, 3, StepDo.RETRY)
    assert step(night, 3) in (StepStatus.ASKING, StepStatus.FAILED)
    assert deploys == [(LLAMA, "r41")]


def test_a_crash_after_the_act_that_is_looked_at_when_it_is_through_goes_on_to_measure(
    night: Night, numbers: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(night)
    dies(night, monkeypatch, ef.ApplyStep, after_the_act=True)
    night.clock.now = night.clock.now.replace(minute=night.clock.now.minute + 1)
    night.crash()
    numbers[ERRORS] = 0.001
    night.through(seconds=30)
    assert run(night).status is RunStatus.DONE
    assert night.events(ev.StepInterrupted) == []


@pytest.fixture
def waiting(night: Night, tmp_path: Path) -> None:
    """The rollback begins by waiting, for four minutes, until errors are up."""
    shipped = (night.config.runbooks_dir / f"{ROLLBACK}.md").read_text(encoding="utf-8")
    folder = tmp_path / "runbooks"
    folder.mkdir()
    changed = shipped.replace("do: promql.assert", "do: promql.wait\ntimeout: 4m")
    assert changed != shipped
    (folder / f"{ROLLBACK}.md").write_text(changed, encoding="utf-8")
    night.config = replace(night.config, runbooks_dir=folder)
    night.crash()


@pytest.mark.usefixtures("waiting")
def test_a_step_that_waits_goes_on_as_soon_as_it_holds_also_over_a_restart(
    night: Night, numbers: dict[str, float]
) -> None:
    numbers[ERRORS] = 0.0
    starts(night, ROLLBACK)
    night.through(minutes=2)
    night.crash()
    night.through(minutes=1)
    assert step(night, 1) is StepStatus.WAITING
    numbers[ERRORS] = 0.3
    night.through(seconds=16)
    assert step(night, 1) is StepStatus.DONE
    assert night.events(ev.StepFailed) == []


@pytest.mark.usefixtures("waiting")
def test_a_step_that_waits_in_vain_says_so_when_its_time_is_over(night: Night, numbers: dict[str, float]) -> None:
    numbers[ERRORS] = 0.0
    starts(night, ROLLBACK)
    night.through(minutes=3)
    assert step(night, 1) is StepStatus.WAITING
    night.through(minutes=2)
    (failed,) = night.events(ev.StepFailed)
    assert failed.text.startswith("waited 4 min: 0 (want ")


FORWARD = """### 4. Go forward again

```yaml step
id: go-forward
do: http.request
with:
  endpoint: model-deploy
  model: "{{ model }}"
verify: {query: up, expect: "> 0", within: 1m}
undo: {none: this is the way back}
```

## What good looks like"""


@pytest.fixture
def way_back_by_a_step(night: Night, tmp_path: Path) -> None:
    """The rollback is undone by a step of its own, which goes to whatever revision was there before."""
    shipped = (night.config.runbooks_dir / f"{ROLLBACK}.md").read_text(encoding="utf-8")
    folder = tmp_path / "runbooks"
    folder.mkdir()
    changed = shipped.replace("undo: auto", "undo: go-forward").replace("## What good looks like", FORWARD)
    (folder / f"{ROLLBACK}.md").write_text(changed, encoding="utf-8")
    night.config = replace(night.config, runbooks_dir=folder)
    night.crash()


@pytest.mark.usefixtures("way_back_by_a_step")
def test_a_crash_while_a_step_is_taken_back_by_another_asks_a_person_and_takes_nothing_back_twice(
    night: Night, numbers: dict[str, float], deploys: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_preview(night)
    answers(night, 3, StepDo.APPROVE)
    numbers[ERRORS] = 0.001
    night.through(minutes=2)
    night.bench.workspace.click(JONAS, night.incident.channel, shown(night, 3).ts, StepDo.UNDO)
    dies(night, monkeypatch, ef.UndoStep, after_the_act=True)
    back_and_forth = [(LLAMA, "r41"), (LLAMA, "r42")]
    assert deploys == back_and_forth
    night.clock.now += timedelta(minutes=1)
    night.crash()
    night.through(minutes=2)
    assert deploys == back_and_forth, "once more would be r41 again"
    (said,) = night.said("Nobody knows whether it is in force")
    assert "*Unclear whether Roll back llama-70b was undone*" in told(said)
    assert "Look, then take it back by hand" in told(said)
    assert "cut off while it was being undone; please look" in told(said)
    assert f"<@{MAYA}>" in told(said)
