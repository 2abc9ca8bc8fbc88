"""What is said in the incident's channel, entry by entry."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.policy import Policy
from bot.slack.actions import Do, StepDo, read_step_value
from bot.slack.blocks import Message
from bot.slack.cards import Context
from bot.slack.messages import render, step_message
from bot.workbench.slack.blockkit import interactive
from tests.core.case import JONAS, Case, act, ask
from tests.slack import stories
from tests.slack.stories import EVIDENCE, HOSTILE, PLAN, STORIES, harmless, labels, sound, words

TEXTS = st.text(max_size=400) | st.sampled_from([HOSTILE, HOSTILE * 60, "&" * 4000, "\n" * 50, "\u200b"])


def about(case: Case, kind: type[ev.Event], context: Context, mention: str = "") -> Message:
    """The message about the latest entry of that kind, as rendered when it came about."""
    entry = next(entry for entry in reversed(case.entries) if isinstance(entry.event, kind))
    return sound(render(entry, case.inc, context, mention))


def step(case: Case, step_id: str = "rollback") -> Message:
    """The one message of a runbook step, as it stands."""
    return sound(step_message(case.inc, "r1", step_id))


def everything(case: Case) -> list[Entry]:
    return [entry for entry in case.entries if not isinstance(entry.event, ev.CardPosted | ev.StepApplied)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_every_entry_of_every_story_is_a_message_that_slack_takes(story: Callable[[], Case], context: Context) -> None:
    case = story()
    for entry in case.entries:
        for mention in ("", "<@U0MAYA> <!subteam^S0ONCALL>"):
            message = sound(render(entry, case.inc, context, mention))
            assert message.text.startswith(mention)
            assert case.inc.ref in message.text
            assert message.blocks


def test_a_page_starts_with_the_person_and_ends_with_one_button(context: Context) -> None:
    message = about(stories.burning(), ev.IncidentOpened, context, "<@U0MAYA>")
    assert message.text == "<@U0MAYA> INC-42: SEV1 llama-70b fails"
    assert message.blocks[0]["text"]["text"].startswith("<@U0MAYA> :rotating_light: *SEV1")
    assert labels(message) == ["Acknowledge"]
    button = next(interactive(message.blocks))
    assert (button["action_id"], button["value"]) == (Do.ACK, "i1")


def test_acknowledge_is_not_offered_once_somebody_has_it(context: Context) -> None:
    assert labels(about(stories.taken(), ev.IncidentOpened, context)) == []


def test_the_next_person_reads_why_they_are_called(context: Context) -> None:
    message = about(stories.everybody_called(), ev.AckDeadlineMissed, context, "<@U0JONAS>")
    assert message.text == "<@U0JONAS> INC-42: SEV1 llama-70b fails: nobody has it yet"
    assert labels(message) == ["Acknowledge"]


def test_evidence_offers_its_runbook_when_we_have_it(context: Context) -> None:
    message = about(stories.taken(), ev.EvidenceCollected, context)
    text = words(message.blocks)
    assert text.startswith("[OUTAGE] llama-70b: 31.0% of requests fail"), "the verdict first, in words"
    assert message.text == "INC-42: [OUTAGE] llama-70b: 31.0% of requests fail", "what a phone shows"
    assert "(4 of 5 signals)" in text
    assert labels(message) == ["Run: Roll back a model deploy"]
    assert "Nothing happens yet" in str(next(interactive(message.blocks))["confirm"])
    without = Context(Policy(), context.pages_url, {})
    assert labels(about(stories.taken(), ev.EvidenceCollected, without)) == []


def test_a_run_begins_with_its_numbered_steps(context: Context) -> None:
    text = words(about(stories.running(), ev.RunStarted, context).blocks)
    assert "*Roll back a model deploy* on model/llama-70b, started by Maya" in text
    assert "1. Are errors up?\n2. Look at the change\n3. Roll back" in text


def test_a_preview_shows_what_it_does_what_it_costs_and_how_it_is_proven() -> None:
    message = step(stories.previewed())
    text = words(message.blocks)
    for said in (
        "step 1 of 1: Roll back",
        "• llama-70b: r42 -&gt; r41",
        "Goes back to the revision before.",
        ":warning: In-flight requests are dropped.",
        ":warning: r41 is 9 days old",
        "undo: back to r42",
        "kept for 60 min, then taken back unless renewed",
        "Done when `errors &lt; 0.01` holds for 15 s, within 5 min.",
    ):
        assert said in text
    assert labels(message) == ["Run it", "Skip", "Call a second person", "Stop the runbook"]
    assert read_step_value(next(interactive(message.blocks))["value"]).digest == "d1"


def test_what_cannot_be_taken_back_says_so_and_asks_twice() -> None:
    message = step(stories.destructive())
    go = next(interactive(message.blocks))
    assert go["style"] == "danger"
    assert "confirm" in go
    assert "*Cannot be taken back* · no undo: requests are lost" in words(message.blocks)


def test_an_answered_step_leaves_no_button_behind() -> None:
    assert labels(step(stories.previewed())) != []
    assert labels(step(stories.applied())) == ["Undo"]
    stopped = stories.previewed().do(cmd.StopRun, run="r1")
    assert labels(step(stopped)) == []


def test_a_step_for_people_shows_its_checklist() -> None:
    case = stories.running().receipt(ev.StepSucceeded("r1", "check", "0.31 (want > 0.01)"))
    message = step(case, "look")
    assert "Ask in #deploys" in words(message.blocks)
    assert labels(message) == ["Done, go on", "Skip", "Stop the runbook"]


def test_after_a_failure_one_may_try_again_skip_undo_or_stop() -> None:
    wanted = ["Preview again", "Skip", "Undo", "Call a second person", "Stop the runbook"]
    assert labels(step(stories.failed())) == wanted
    assert labels(step(stories.interrupted())) == wanted


def test_nothing_is_undone_that_never_happened() -> None:
    case = stories.running(stories.ROLLBACK).receipt(ev.StepFailed("r1", "rollback", "404: no such deployment"))
    assert labels(step(case)) == ["Preview again", "Skip", "Call a second person", "Stop the runbook"]


def test_a_leased_act_can_be_kept_or_taken_back() -> None:
    message = step(stories.nagged())
    assert labels(message) == ["Keep it on longer", "Undo"]
    assert "0.002 (want &lt; 0.01)" in words(message.blocks)
    undo = list(interactive(message.blocks))[1]
    assert undo["action_id"] == StepDo.UNDO
    assert undo["confirm"]["text"]["text"] == "back to r42"


def two_in_force() -> Case:
    case = stories.running(act("shed"), act("shift"))
    for name in ("shed", "shift"):
        case.receipt(ev.StepPlanned("r1", name, {**PLAN, "undo": f"{name} back to 0 %"}, "d1"))
        case.do(cmd.ApproveStep, by=JONAS, run="r1", step=name, digest="d1")
        case.receipt(ev.StepApplied("r1", name, 1, None), ev.StepSucceeded("r1", name, "ok"))
    return case


def test_under_the_latest_of_several_acts_all_can_be_undone_and_the_order_is_said_first() -> None:
    case = two_in_force()
    assert labels(step(case, "shed")) == ["Undo"]
    latest = step(case, "shift")
    assert labels(latest) == ["Undo", "Undo all"]
    every = list(interactive(latest.blocks))[1]
    assert every["action_id"] == StepDo.UNDO_ALL
    assert every["confirm"]["text"]["text"] == "1. shift back to 0 %\n2. shed back to 0 %"


def test_who_is_alone_with_what_takes_two_calls_somebody_and_may_go_on_with_a_reason() -> None:
    assert labels(step(stories.destructive())) == ["Run it", "Skip", "Call a second person", "Stop the runbook"]
    assert labels(step(stories.second_called()))[2] == "Nobody came: go on alone"
    assert "Call a second person" in labels(step(stories.previewed()))
    assert "Call a second person" in labels(step(stories.failed()))


def test_a_second_person_is_called_by_name_and_told_what_for(context: Context) -> None:
    message = about(stories.second_called(), ev.SecondCalled, context, "<@U0JONAS>")
    assert message.text.startswith("<@U0JONAS> INC-42: ")
    assert "*A second person, please:* Roll back" in words(message.blocks)


def test_what_takes_its_time_says_how_far_it_is_and_can_be_stopped() -> None:
    going, waiting = step(stories.going()), step(stories.waiting(), "check")
    assert "*Now:* 3 of 5 pods moved, 2 wait for the budget &lt;chat&gt;" in words(going.blocks)
    assert labels(going) == ["Stop the runbook"]
    assert "*Now:* 12 (want &lt; 5)" in words(waiting.blocks)
    assert labels(waiting) == ["Skip", "Stop the runbook"]


def test_a_runbook_speaks_in_its_own_words_and_calls_nobody_by_them(context: Context) -> None:
    text = words(about(stories.said(), ev.StepSaid, context).blocks)
    assert "llama-70b answers from its cache &lt;!channel&gt;" in text


def test_what_is_on_loan_is_not_forgotten(context: Context) -> None:
    message = about(stories.nagged(), ev.FallbackReminded, context, "<@U0MAYA>")
    assert message.text.startswith("<@U0MAYA> ")
    assert "*Roll back* is still on, until <!date^1795233780^{time}|04:03 UTC>." in words(message.blocks)


def test_a_failed_undo_is_loud(context: Context) -> None:
    message = about(stories.lease_ran_out(), ev.UndoFailed, context, "<@U0MAYA>")
    assert "*Could not undo Roll back*" in words(message.blocks)
    assert "still in force" in words(message.blocks)
    assert "Undo" in labels(step(stories.lease_ran_out()))


def test_an_undo_of_which_nobody_knows_whether_it_got_through_does_not_say_what_is_in_force(context: Context) -> None:
    lost = stories.nagged().after(hours=1).clock_strikes()
    lost.receipt(ev.UndoFailed("r1", "rollback", "tried 5 times: no answer", unclear=True))
    text = words(about(lost, ev.UndoFailed, context, "<@U0MAYA>").blocks)
    assert "*Unclear whether Roll back was undone*" in text
    assert "Nobody knows whether it is in force. Look" in text
    assert "still in force" not in text
    shown = step(lost)
    assert "*Unclear how it stands.* unclear whether it was undone: tried 5 times" in words(shown.blocks)
    assert "Undo" in labels(shown)


def test_an_update_is_quoted_line_by_line(context: Context) -> None:
    text = words(about(stories.mitigated(), ev.UpdatePosted, context).blocks)
    assert ">One in three fails.\n>Rolled back." in text


def test_the_end_says_why_and_how_long_it_took(context: Context) -> None:
    text = words(about(stories.resolved(), ev.Resolved, context).blocks)
    assert "*INC-42 is resolved* by Jonas\nErrors are at 0.2 %" in text
    assert "resolved after 15 min" in text
    link = next(interactive(about(stories.resolved(), ev.PostmortemDrafted, context).blocks))
    assert link["url"] == "https://fixfirst.example/postmortems/2026-11-21-inc-42.md"


def test_small_things_are_one_line_of_small_print(context: Context) -> None:
    for kind in (ev.Acknowledged, ev.RoleAssigned, ev.SeverityChanged, ev.ImpactStated):
        message = about(stories.staffed(), kind, context)
        assert [block["type"] for block in message.blocks] == ["context"]


@given(TEXTS, TEXTS)
def test_no_text_can_break_a_message_or_speak_through_it(one: str, two: str) -> None:
    context = Context(Policy(), "https://fixfirst.example", {"rollback-model-deploy": one, two: one})
    spec = act(title=one, prose=two, warning=one, checklist=(one, two) * 30, no_undo=two)
    plan = {**PLAN, "lines": [one, two] * 50, "undo": two, "warnings": [one, two] * 9}
    case = Case().alerts(firing=2, new=2, title=one, service=two, model=two)
    evidence = ev.EvidenceCollected(one, two, one, two, {**EVIDENCE.report, "not_advised": [one, two]})
    case.receipt(evidence, ev.EvidenceFailed(one), ev.PageAccepted(one, 1, two), ev.DeliveryFailed(one, two, one))
    case.do(cmd.Acknowledge).do(cmd.AssignRole, role=ev.Role.SCRIBE, user=two or "x")
    case.do(cmd.PinMessage, text=f"x{one}", author=two).do(cmd.PostUpdate, text=f"x{two}").do(cmd.Mitigate, text=one)
    start = cmd.StartRun
    case.do(start, run="r1", runbook=two, title=one, source_digest="", target=two, steps=(spec, ask(title=two)))
    case.receipt(ev.StepPlanned("r1", "rollback", plan, "d1")).do(
        cmd.ApproveStep, run="r1", step="rollback", digest="d1"
    )
    seen = [render(entry, case.inc, context, "<@U0MAYA>") for entry in everything(case)]
    case.receipt(ev.StepInterrupted("r1", "rollback", one))
    seen += [render(case.entries[-1], case.inc, context)]
    case.do(cmd.SkipStep, run="r1", step="rollback", reason=two).do(cmd.Resolve, reason=f"x{one}", despite_firing=True)
    seen += [render(entry, case.inc, context) for entry in everything(case)]
    for message in seen:
        sound(message)
        harmless(message.blocks)
        harmless(message.text)
