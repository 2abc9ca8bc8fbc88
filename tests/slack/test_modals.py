"""The forms: valid for Slack whatever stands in them, and read back by field name."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.incident import commands as cmd
from bot.incident.events import Role, Severity
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.slack import modals
from bot.slack.actions import Do, StepRef, more_value, read_more_value, read_step_value, step_value
from bot.workbench.slack.blockkit import view_problems, view_too_large
from tests.core.case import Case
from tests.slack import stories
from tests.slack.stories import HOSTILE, STORIES, harmless, words

View = dict[str, Any]
TITLES = {"rollback-model-deploy": "Roll back a model deploy", "scale-out": "Scale out"}


def resolve(incident: Incident) -> View:
    return modals.resolve(incident, Policy())


FORMS: tuple[Callable[[Incident], View], ...] = (
    modals.severity, modals.role, modals.impact, modals.note, modals.update, modals.mitigated, resolve,
)  # fmt: skip
TEXTS = st.text(max_size=400) | st.sampled_from([HOSTILE, HOSTILE * 60, "&" * 4000, "<" * 4000, "\n" * 50, "\u200b"])


def sound(view: View) -> View:
    assert view_problems(view) == []
    assert not view_too_large(view)
    for block in view["blocks"]:
        if block["type"] == "input":
            assert block["element"]["action_id"] == block["block_id"], "errors and values find each other"
    return view


def fields(view: View) -> dict[str, View]:
    return {block["block_id"]: block for block in view["blocks"] if block["type"] == "input"}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_fits_every_state(form: Callable[[Incident], View], story: Callable[[], Case]) -> None:
    incident = story().inc
    view = sound(form(incident))
    assert view["private_metadata"] == incident.id
    assert view["callback_id"].startswith("modal.")
    assert modals.read_meta(view["private_metadata"]) == (incident.id, "")


def test_declaring_needs_nothing_but_a_title() -> None:
    view = sound(modals.declare("llama-70b answers 500"))
    assert view["callback_id"] == "modal.declare"
    assert view["private_metadata"] == ""
    assert list(fields(view)) == ["title", "severity", "impact", "service", "model"]
    assert [name for name, block in fields(view).items() if block["optional"]] == ["impact", "service", "model"]
    assert fields(view)["title"]["element"]["initial_value"] == "llama-70b answers 500"
    assert fields(view)["severity"]["element"]["initial_option"]["value"] == Severity.SEV2


def test_a_field_keeps_what_was_written_as_it_was_written() -> None:
    assert fields(modals.declare("p99 > 2 s & rising"))["title"]["element"]["initial_value"] == "p99 > 2 s & rising"


def test_the_first_free_seat_is_proposed() -> None:
    case = stories.taken()
    assert fields(modals.role(case.inc))["role"]["element"]["initial_option"]["value"] == Role.COMMANDER
    case.do(cmd.AssignRole, role=Role.COMMANDER, user="U0MAYA")
    assert fields(modals.role(case.inc))["role"]["element"]["initial_option"]["value"] == Role.COMMUNICATIONS


def test_what_telemetry_saw_of_the_impact_is_there_to_edit() -> None:
    assert fields(modals.impact(stories.taken().inc))["text"]["element"]["initial_value"] == "31.0% of requests fail"


def test_an_update_starts_from_the_last_one() -> None:
    assert "Nobody has been told yet" in words(modals.update(stories.taken().inc)["blocks"])
    assert "One in three fails. Rolled back." in words(modals.update(stories.mitigated().inc)["blocks"])


def test_resolving_under_fire_warns_with_numbers_and_asks() -> None:
    view = modals.resolve(stories.taken().inc, Policy())
    text = words(view["blocks"])
    assert "*37 alerts are still firing*, 963 recovered." in text
    assert "quiet for 30 min;" in text
    # Not required by the form itself: a false alarm is cancelled without it, so the server asks for it.
    assert fields(view)["confirm"]["optional"]


def test_resolving_when_all_is_quiet_asks_only_for_the_reason() -> None:
    view = modals.resolve(stories.recovered().inc, Policy())
    assert list(fields(view)) == ["reason", "cancel"]
    assert ":warning:" not in words(view["blocks"])


def test_choosing_a_runbook_is_sent_at_once_and_brings_its_parameters() -> None:
    incident = stories.taken().inc
    bare = sound(modals.run(incident, TITLES))
    assert fields(bare)["runbook"]["dispatch_action"] is True
    assert list(fields(bare)) == ["runbook"]
    params = {"model": "llama-70b", "to_revision": ""}
    chosen = sound(modals.run(incident, TITLES, "rollback-model-deploy", params))
    assert list(fields(chosen)) == ["runbook", "param.model", "param.to_revision"]
    assert fields(chosen)["param.model"]["element"]["initial_value"] == "llama-70b"
    assert fields(chosen)["param.to_revision"]["label"]["text"] == "To revision"
    assert modals.read_meta(chosen["private_metadata"]) == ("i1", "rollback-model-deploy")


def test_of_too_many_runbooks_the_one_to_offer_is_never_left_out() -> None:
    titles = {f"other-{number}": f"Other {number}" for number in range(150)} | TITLES
    options = fields(sound(modals.run(stories.taken().inc, titles)))["runbook"]["element"]["options"]
    assert len(options) == 100
    assert options[0]["value"] == "rollback-model-deploy"


def test_a_form_that_is_not_ready_or_failed_has_nothing_to_submit() -> None:
    for view in (modals.loading("Mitigate INC-42"), modals.failed("The journal is busy.")):
        assert "submit" not in sound(view)
    assert "The journal is busy." in words(modals.failed("The journal is busy.")["blocks"])


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ({"type": "plain_text_input", "value": "hello"}, "hello"),
        ({"type": "plain_text_input", "value": None}, ""),
        ({"type": "static_select", "selected_option": {"value": "SEV1"}}, "SEV1"),
        ({"type": "static_select", "selected_option": None}, ""),
        ({"type": "users_select", "selected_user": "U0MAYA"}, "U0MAYA"),
        ({"type": "multi_users_select", "selected_users": ["U0MAYA", "U0JONAS"]}, "U0MAYA,U0JONAS"),
        ({"type": "checkboxes", "selected_options": [{"value": "a"}, {"value": "b"}]}, "a,b"),
        ({"type": "checkboxes", "selected_options": []}, ""),
        ({"type": "datetimepicker", "selected_date_time": 1795230000}, "1795230000"),
        ({"type": "timepicker", "selected_time": "03:00"}, "03:00"),
    ],
)
def test_every_kind_of_answer_is_read_by_its_name(element: Mapping[str, Any], value: str) -> None:
    assert modals.values({"values": {"text": {"text": element}}}) == {"text": value}


def test_no_answers_are_no_values() -> None:
    assert modals.values({}) == {}


def test_buttons_bring_back_what_they_were_given() -> None:
    assert read_step_value(step_value("i1", "r1", "roll back", "d1")) == StepRef("i1", "r1", "roll back", "d1")
    assert read_more_value(more_value(Do.NOTE, "i1")) == (Do.NOTE, "i1")
    with pytest.raises(ValueError, match="too long"):
        step_value("i1", "r1", "s" * 2000)


@given(st.text() | st.sampled_from(["[]", '["a","b","c",1]', "{}", "null", "[" * 100_000]))
def test_junk_in_a_button_is_refused_as_such(junk: str) -> None:
    with pytest.raises(ValueError, match="not ours"):
        read_step_value(junk)


@given(TEXTS, TEXTS)
def test_no_text_can_break_a_form_or_speak_through_it(one: str, two: str) -> None:
    case = Case().alerts(firing=2, new=2, title=one).do(cmd.Acknowledge)
    case.do(cmd.StateImpact, text=f"x{one}").do(cmd.PostUpdate, text=f"x{two}")
    views = [form(case.inc) for form in FORMS]
    views += [modals.declare(one), modals.failed(one), modals.loading(two)]
    views += [modals.run(case.inc, {"r": one, "s": two}, "r", {"model": one, "node": two})]
    for view in views:
        sound(view)
        harmless(view["blocks"])
        harmless(view["title"])


def test_the_run_forms_metadata_is_json_and_others_are_bare_ids() -> None:
    assert json.loads(modals.meta("i1", "scale-out")) == {"incident": "i1", "runbook": "scale-out"}
    assert modals.read_meta("0193-i1") == ("0193-i1", "")
    assert modals.read_meta("12") == ("12", "")
