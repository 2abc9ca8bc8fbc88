"""A secret of every kind goes in by every way there is, and is found nowhere: on no disk, in no log, not outside."""

import json
from collections.abc import Iterator

import pytest

from bot.incident import events as ev
from bot.incident.run import StepStatus
from bot.slack.actions import Do, StepDo
from bot.workbench.fleet import Refusal
from tests.core.planted import Planted, planted
from tests.story.night import MAYA, SAM, Night, alert, measuring
from tests.story.test_pagerduty import acts, born_there
from tests.story.test_runbooks import ERRORS, LLAMA, ROLLBACK, answers, starts, step

KINDS = planted()


@pytest.fixture
def searched(night: Night) -> Iterator[Night]:
    """The night, looked through for every canary when the story ends."""
    yield night
    assert leaks(night, KINDS) == []


def leaks(night: Night, canaries: list[Planted]) -> list[str]:
    """Where which kind of secret was found."""
    return [
        f"{canary.kind} ({canary.heart}) in {place}"
        for place, content in traces(night).items()
        for canary in canaries
        if canary.heart in content
    ]


def traces(night: Night) -> dict[str, str]:
    """All that the bot leaves behind: its folders, its log, what it told Slack and PagerDuty, and what it answered."""
    people = night.bench.workspace.state.users
    folders = (night.config.data_dir, night.config.postmortems_dir)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {
        "the disk": "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files),
        "the log": "\n".join(json.dumps(line, default=str) for line in night.logs),
        "Slack": "\n".join(json.dumps(dict(call.args), default=str) for call in night.bench.workspace.calls),
        "whispers": "\n".join(word for user in people for word in night.whispers(user)),
        "PagerDuty": "\n".join(json.dumps(call.body, default=str) for call in night.bench.pagerduty.calls),
        "answers": "\n".join(heard.answer.decode() for heard in night.wire.heard),
    }


def test_a_secret_in_an_alert_s_labels_and_annotations(searched: Night) -> None:
    for nth, canary in enumerate(KINDS):
        sent = alert(f"f{nth}", detail=canary.text, instance=f"gpu-node-{nth}")
        searched.alerts({**sent, "annotations": {"summary": canary.text, "description": canary.text}})
    token = next(canary for canary in KINDS if canary.kind == "Slack token")
    searched.alerts(alert("own", service=token.text, model_name=token.text, alertname=token.text, db_password="tulip"))
    assert len(searched.app.journal.recent()) == 2
    assert "tulip" not in "".join(traces(searched).values())


def test_a_secret_in_what_people_write_in_slack(searched: Night) -> None:
    searched.burns()
    here = searched.incident.channel
    for canary in KINDS:
        searched.types(MAYA, f"/incident note we saw {canary.text}", here)
        searched.types(MAYA, f"/incident update we saw {canary.text}", here)
        searched.presses(MAYA, Do.IMPACT)
        assert searched.fills_in(MAYA, text=f"they see {canary.text}").ok
    searched.types(MAYA, f"/incident resolve {KINDS[0].text}", here)
    assert len(searched.events(ev.NoteAdded)) == len(searched.events(ev.UpdatePosted)) == len(KINDS)
    assert len(searched.events(ev.ImpactStated)) == len(KINDS)


def test_a_secret_in_a_declared_title(searched: Night) -> None:
    for canary in KINDS[:3]:
        searched.types(SAM, f"/incident declare {canary.text}")
    searched.settle()


def test_a_secret_in_what_comes_from_pagerduty(searched: Night) -> None:
    searched.burns()
    for canary in KINDS:
        acts(searched, "note", text=f"we saw {canary.text}", nth=0)
    born_there(searched, title=KINDS[0].text)
    assert len(searched.events(ev.NoteAdded, searched.app.journal.find("INC-1"))) == len(KINDS)


def test_a_secret_in_what_a_service_answers_to_a_runbook(searched: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(KINDS)

    def refuses(_: str) -> object:
        raise Refusal(422, "broken", f"it broke: {next(said).text}", "")

    with measuring(searched, {ERRORS: 0.3}):
        starts(searched, ROLLBACK)
        monkeypatch.setattr(searched.bench.fleet, "model", refuses)
        answers(searched, 2, StepDo.APPROVE)
        for _ in KINDS[1:]:
            assert step(searched, 3) is StepStatus.FAILED
            answers(searched, 3, StepDo.RETRY)
    assert next(said, None) is None, "each was said"
    assert "it broke" in traces(searched)["Slack"]


def test_a_secret_in_an_answer_that_is_waited_out(searched: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_away(_: str) -> object:
        raise Refusal(503, "away", f"cannot log in: {KINDS[0].text}", "")

    with measuring(searched, {ERRORS: 0.3}):
        starts(searched, ROLLBACK)
        monkeypatch.setattr(searched.bench.fleet, "model", is_away)
        answers(searched, 2, StepDo.APPROVE)
    assert "cannot log in" in traces(searched)["the log"]
    assert "cannot log in" in traces(searched)["the disk"]


def test_the_search_finds_what_is_there(night: Night) -> None:
    night.burns()
    found = leaks(night, [Planted("the model's name", LLAMA, LLAMA)])
    assert {where.split(" in ")[1] for where in found} >= {"the disk", "Slack", "PagerDuty"}
