"""The cards: valid for Slack in every state, harmless with any text, and one thing to do on top."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Role, Severity
from bot.incident.policy import Policy
from bot.slack import cards
from bot.slack.actions import Do, StepDo, read_more_value, read_step_value
from bot.slack.cards import Context
from bot.workbench.slack.blockkit import interactive
from tests.core.case import Case
from tests.slack import stories
from tests.slack.stories import HOSTILE, REPORT, STORIES, harmless, labels, sound, words

REACHABLE = {Do.SEVERITY, Do.ROLE, Do.IMPACT, Do.RUN, Do.UPDATE, Do.RESOLVE, Do.NOTE, Do.HEALTH}
TEXTS = st.text(max_size=400) | st.sampled_from([HOSTILE, HOSTILE * 40, "&" * 4000, "<" * 4000, "\n" * 50, "\u200b"])


def primary(message: cards.Message) -> str:
    """What the one primary button says."""
    return next((e["text"]["text"] for e in interactive(message.blocks) if e.get("style") == "primary"), "")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_every_card_of_every_state_is_one_that_slack_takes(story: Callable[[], Case], context: Context) -> None:
    case = story()
    sound(cards.incident_card(case.inc, context))
    sound(cards.announcement(case.inc, context))
    sound(cards.timeline_card(case.inc, case.entries, context))
    sound(cards.list_card([case.inc], case.now, context))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_while_it_lives_everything_can_be_reached_from_the_card(story: Callable[[], Case], context: Context) -> None:
    incident = story().inc
    if not incident.is_live:
        return
    reached: set[str] = set()
    for element in interactive(cards.incident_card(incident, context).blocks):
        reached.add(element["action_id"])
        for option in element.get("options", []):
            do, about = read_more_value(option["value"])
            assert about == incident.id
            reached.add(do)
    assert {do.value for do in REACHABLE} <= reached
    assert context.timeline_url(incident) in words(cards.incident_card(incident, context).blocks)
    assert (Do.MITIGATED in reached) == (incident.mitigated is None)


@pytest.mark.parametrize(
    ("story", "says"),
    [
        (stories.burning, "Acknowledge"),
        (stories.reopened, "Acknowledge"),
        (stories.taken, "Run: Roll back a model deploy"),
        (stories.previewed, "Run it"),
        (stories.failed, "Preview again"),
        (stories.applied, ""),
        (stories.fixed, "Post an update"),
        (stories.mitigated, "Post an update"),
        (stories.recovered, "Resolve"),
        (stories.resolved, "Open the postmortem"),
    ],
)
def test_the_one_primary_button_is_the_next_right_step(story: Callable[[], Case], says: str, context: Context) -> None:
    assert primary(cards.incident_card(story().inc, context)) == says


def test_an_act_that_cannot_be_taken_back_is_red_and_asks_once_more(context: Context) -> None:
    card = cards.incident_card(stories.destructive().inc, context)
    go = next(e for e in interactive(card.blocks) if e["action_id"] == StepDo.APPROVE)
    assert go["style"] == "danger"
    assert go["confirm"]["title"]["text"] == "This cannot be taken back"
    assert primary(card) == ""


def test_the_card_previews_what_its_button_approves(context: Context) -> None:
    card = cards.incident_card(stories.previewed().inc, context)
    go = next(e for e in interactive(card.blocks) if e["action_id"] == StepDo.APPROVE)
    assert read_step_value(go["value"]).digest == "d1"
    assert "llama-70b: r42 -&gt; r41" in words(card.blocks)


def test_alerts_are_counted_and_never_listed(context: Context) -> None:
    text = words(cards.incident_card(stories.burning().inc, context).blocks)
    said = "37 firing · 963 recovered · ErrorRateHigh, TtftHigh, PodDown · 12 more left out by the sender"
    assert said in text


def test_an_open_card_says_when_it_escalates_and_stops_promising_it_at_the_end(context: Context) -> None:
    text = words(cards.incident_card(stories.burning().inc, context).blocks)
    assert re.search(r"Escalates at <!date\S+\|03:05 UTC>\.", text)
    text = words(cards.incident_card(stories.everybody_called().inc, context).blocks)
    assert "Nobody has it, and it is not escalated any further." in text
    assert "Escalates" not in text


def test_what_pages_nobody_promises_no_call(context: Context) -> None:
    incident = Case().alerts(firing=1, new=1, severity=Severity.SEV4).inc
    for card in (cards.incident_card(incident, context), cards.announcement(incident, context)):
        text = words(card.blocks)
        assert "SEV4 pages nobody; it waits for whoever takes it." in text
        assert "Escalates" not in text


def test_the_same_trouble_twice_hides_no_other(context: Context) -> None:
    case, again = stories.burning(), ev.DeliveryFailed("pager", "escalate_page", "nobody further to wake")
    case.receipt(ev.DeliveryFailed("slack", "tell", "missing scope"), again).receipt(again)
    text = words(cards.incident_card(case.inc, context).blocks)
    assert text.index("missing scope") < text.index("nobody further to wake")
    assert text.count("nobody further to wake") == 1


def test_a_missing_commander_is_said_and_empty_seats_are_not(context: Context) -> None:
    text = words(cards.incident_card(stories.taken().inc, context).blocks)
    assert "*Commander*\n_nobody yet_" in text
    assert "Scribe" not in text
    staffed = words(cards.incident_card(stories.staffed().inc, context).blocks)
    assert "*Commander*\n<@U0MAYA>" in staffed
    assert "*Scribe*\nnobody" in staffed


def test_only_the_last_two_troubles_are_shown(context: Context) -> None:
    text = words(cards.incident_card(stories.staffed().inc, context).blocks)
    assert "Could not deliver open channel by slack: missing_scope" in text
    assert "the token was revoked" not in text


def test_a_resolved_card_is_calm(context: Context) -> None:
    card = cards.incident_card(stories.resolved().inc, context)
    text = words(card.blocks)
    assert "acknowledged after 2 min · mitigated after 5 min · resolved after 15 min" in text
    assert labels(card) == ["Open the postmortem", "Timeline", "Add a note"]
    assert ":red_circle:" not in text
    assert "/postmortems/2026-11-21-inc-42.md" in str(card.blocks)


def test_a_cancelled_card_offers_no_postmortem(context: Context) -> None:
    card = cards.incident_card(stories.cancelled().inc, context)
    assert "Called off" in words(card.blocks)
    assert labels(card) == ["Timeline", "Add a note"]


def test_resolved_under_fire_says_when_alerts_page_again(context: Context) -> None:
    text = words(cards.incident_card(stories.under_fire().inc, context).blocks)
    assert "37 alerts still firing; they page again at" in text


def test_the_announcement_has_a_button_only_while_nobody_has_it(context: Context) -> None:
    assert labels(cards.announcement(stories.burning().inc, context)) == ["Acknowledge"]
    taken = cards.announcement(stories.taken().inc, context)
    assert labels(taken) == []
    assert "Maya has it" in words(taken.blocks)
    assert "<#C0INC42>" in words(taken.blocks)
    over = cards.announcement(stories.resolved().inc, context)
    assert len(over.blocks) == 1
    assert "resolved after 15 min" in words(over.blocks)


def test_a_long_timeline_keeps_its_newest_lines_oldest_first(context: Context) -> None:
    case = stories.taken()
    for number in range(40):
        case.after(minutes=1).do(cmd.AddNote, text=f"note {number}.")
    text = words(cards.timeline_card(case.inc, case.entries, context).blocks)
    assert "note 14." not in text
    assert text.index("note 15.") < text.index("note 39.")
    assert "earlier lines_ on the page" in text or "earlier lines on the page" in text


def test_the_list_puts_the_worst_first(context: Context) -> None:
    card = cards.list_card([stories.declared().inc, stories.taken().inc], stories.taken().now, context)
    text = words(card.blocks)
    assert text.startswith("*2 open incidents*")
    assert text.index("SEV1") < text.index("SEV3")
    assert "No open incident" in words(sound(cards.list_card([], stories.taken().now, context)).blocks)


def test_help_names_every_word(context: Context) -> None:
    card = sound(cards.help_card(context))
    for word in [
        "help",
        "declare",
        "ack",
        "sev",
        "note",
        "timeline",
        "health",
        "run",
        "mitigated",
        "update",
        "resolve",
        "postmortem",
        "list",
    ]:
        assert f"/incident {word}" in words(card.blocks)
    assert labels(card) == ["Declare an incident", "Open incidents", "Fleet health"]


def test_health_offers_a_runbook_only_for_an_incident(context: Context) -> None:
    alone = sound(cards.health_card(REPORT, context))
    assert labels(alone) == []
    assert "(4 of 5 signals)" in words(alone.blocks)
    assert "health llama-70b --picture FILE.png` draws" in words(alone.blocks), "no file for one person alone"
    assert "*Do now:* Roll back a model deploy; then Serve from the cache" in words(alone.blocks)
    assert labels(sound(cards.health_card(REPORT, context, "i1"))) == ["Run a runbook"]


def test_nobody_is_mentioned_for_having_acted(context: Context) -> None:
    case = stories.resolved()
    assert "<@" not in words(cards.incident_card(case.inc, context).blocks)


def test_a_role_keeps_its_mention_in_the_timeline_and_a_note_does_not_get_one(context: Context) -> None:
    case = stories.taken().do(cmd.AssignRole, role=Role.SCRIBE, user="U0JONAS").do(cmd.AddNote, text="<@UEVIL> did it")
    text = words(cards.timeline_card(case.inc, case.entries, context).blocks)
    assert "Maya made <@U0JONAS> scribe" in text
    assert "&lt;@UEVIL&gt; did it" in text


@given(TEXTS, TEXTS, TEXTS)
def test_no_text_can_break_a_card_or_speak_through_it(title: str, name: str, reason: str) -> None:
    context = Context(Policy(), "https://fixfirst.example", {"rollback-model-deploy": name})
    sample = {"title": title, "name": name, "labels": {}}
    case = Case().alerts(firing=2, new=2, title=title, service=name, model=reason, samples=(sample, sample))
    case.receipt(ev.DeliveryFailed(name, title, reason), ev.EvidenceFailed(reason))
    case.do(cmd.Acknowledge).do(cmd.AssignRole, role=Role.COMMANDER, user=name or "x")
    for text in (f"x{title}", f"x{reason}"):
        case.do(cmd.StateImpact, text=text).do(cmd.AddNote, text=text).do(cmd.PostUpdate, text=text)
    _all_harmless(case, context)
    case.do(cmd.Resolve, reason=f"x{reason}", despite_firing=True).receipt(ev.PostmortemDrafted("a.md"))
    _all_harmless(case, context)


@given(TEXTS)
def test_no_report_can_break_the_health_card(text: str) -> None:
    checks = [{**check, "title": text, "text": text, "offender": text} for check in REPORT["checks"]] * 20
    texts = dict.fromkeys(("impact", "cause", "second", "model"), text)
    report = {**REPORT, **texts, "checks": checks, "unknowns": [text] * 30, "not_advised": [text] * 30}
    report["runbooks"] = [text, text]
    card = sound(cards.health_card(report, Context(Policy(), "", {text: text}), "i1"))
    harmless(card.blocks)
    harmless(card.text)


def _all_harmless(case: Case, context: Context) -> None:
    for card in (
        cards.incident_card(case.inc, context),
        cards.announcement(case.inc, context),
        cards.timeline_card(case.inc, case.entries, context),
        cards.list_card([case.inc] * 30, case.now, context),
    ):
        sound(card)
        harmless(card.blocks)
        harmless(card.text)
