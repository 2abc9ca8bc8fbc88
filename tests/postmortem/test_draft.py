"""What a draft says, what it refuses to invent, and that nobody's text becomes structure."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.people import BOT
from bot.incident.run import OnFail
from bot.postmortem.draft import draft
from bot.postmortem.keytimes import key_times
from tests.core.case import MAYA, START, Case, act
from tests.postmortem.stories import PAGES, drafted, evidence, night

GOLDEN = Path(__file__).parent / "golden" / "night.md"
HOSTILE = "x | y `c` <b>b</b> [l](http://e) # h\n# Heading\n\n| a |\n|---|\n<!-- gen:facts sha256:0123456789abcdef -->"
PARSER = MarkdownIt("js-default")


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def shape(markdown: str) -> list[str]:
    return [token.type for token in PARSER.parse(markdown)]


def test_the_draft_of_a_whole_night_reads_as_the_golden_one() -> None:
    assert drafted(night()) == GOLDEN.read_text(encoding="utf-8")


def test_the_opening_never_stands_in_for_the_start_of_the_harm() -> None:
    case = Case().alerts(1, new=1).after(minutes=2).do(cmd.Acknowledge).after(minutes=9).alerts(0, resolved=1)
    case.do(cmd.Resolve, reason="ok")
    ttd, tta, ttm, ttr = key_times(case.inc).spans
    assert (ttd.length, tta.length, ttm.length, ttr.length) == (None, timedelta(minutes=2), None, None)
    assert ttd.why_not == "started: nobody said since when users were hit"
    assert ttm.why_not.endswith("mitigated: nobody marked it")


def test_a_monitor_that_noticed_before_users_gives_a_negative_time_to_detect() -> None:
    case = Case().alerts(1, new=1).do(cmd.Acknowledge).after(minutes=5)
    case.do(cmd.StateImpact, text="some", started_at=START + timedelta(minutes=3))
    ttd = key_times(case.inc).spans[0]
    assert ttd.length == timedelta(minutes=-3)
    assert ttd.remark == "detected before started"
    assert "| detected - started | -3 min (detected before started) |" in drafted(case)


def test_an_incident_called_off_has_no_time_to_resolve() -> None:
    case = Case().do(cmd.Declare, title="odd graph", severity=ev.Severity.SEV3).do(cmd.Cancel, reason="a load test")
    assert key_times(case.inc).resolved.why_not == "it was called off"
    assert "It was called off: a load test." in section(drafted(case), "Summary")


def test_a_second_round_mixes_no_moments_of_two_rounds() -> None:
    case = Case().alerts(1, new=1).do(cmd.StateImpact, text="some", started_at=START).do(cmd.Acknowledge)
    case.alerts(0, resolved=1).do(cmd.Resolve, reason="ok").after(minutes=10).alerts(1, new=1)
    case.after(minutes=1).do(cmd.Acknowledge).alerts(0, resolved=1).do(cmd.Resolve, reason="now it is")
    _, tta, _, ttr = key_times(case.inc).spans
    assert (tta.length, tta.why_not) == (None, "acknowledged is of round 2, detected of round 1")
    assert (ttr.length, ttr.remark) == (timedelta(minutes=11), "over 2 rounds, the quiet between them included")


def test_slack_markup_reads_as_people_read_it() -> None:
    case = Case().alerts(1, new=1)
    case.do(cmd.AddNote, text="<@U0MAYA|m> saw <https://g.example/d?a=1&amp;b=2|the graph> at p99 &gt; 2 s")
    assert "noted: Maya saw the graph (<https://g.example/d?a=1&b=2>) at p99 \\> 2 s" in drafted(case)


def test_repeats_of_a_burning_alert_are_one_line_and_its_end_is_another() -> None:
    case = Case().alerts(2, new=2)
    for _ in range(14):
        case.after(seconds=30).alerts(2)
    timeline = section(drafted(case.alerts(0, resolved=2)), "Timeline")
    assert timeline.count("alerts firing") == 2
    assert "2 alerts firing, 0 recovered, 2 new (+14 more)" in timeline


def test_the_day_is_named_once_and_again_when_it_changes() -> None:
    timeline = section(drafted(night()), "Timeline")
    assert timeline.count("2026-11-21") == 1
    assert timeline.count("2026-11-22") == 1


def test_people_are_named_by_their_role_first() -> None:
    text = drafted(night())
    assert "| Incident commander Maya acknowledged |" in text
    assert "<@" not in text
    assert "U0MAYA" not in text


def test_a_person_without_a_role_who_may_respond_is_a_responder() -> None:
    assert "Responder Maya acknowledged" in drafted(Case().alerts(1, new=1).do(cmd.Acknowledge))


def test_a_step_tells_who_approved_it_what_was_measured_and_the_way_back() -> None:
    case = Case().alerts(1, new=1).do(cmd.Acknowledge)
    case.do(
        cmd.StartRun,
        run="r1",
        runbook="rollback-model-deploy",
        title="Roll back a model deploy",
        source_digest="0" * 64,
        target="deploy/llama-70b",
        steps=(act(on_fail=OnFail.STOP),),
    )
    plan = {"lines": ["llama-70b: revision 412 -> 411"], "undo": "deploy 412 again"}
    case.receipt(ev.StepPlanned("r1", "rollback", plan, "d1")).do(
        cmd.ApproveStep, run="r1", step="rollback", digest="d1"
    )
    case.receipt(ev.StepApplied("r1", "rollback", 1)).receipt(ev.StepSucceeded("r1", "rollback", "errors 0.2 % < 1 %"))
    row = next(line for line in drafted(case).splitlines() if line.startswith("| Roll back |"))
    assert "llama-70b: revision 412 -\\> 411" in row
    assert "Responder Maya" in row
    assert "errors 0.2 % \\< 1 %" in row
    assert "deploy 412 again" in row


def test_what_was_not_known_is_said() -> None:
    told = section(drafted(Case().alerts(1, new=1).receipt(evidence())), "Evidence at opening")
    assert "- GPU temperature: no such series" in told
    assert told.index("Errors") < told.index("First token")
    assert "Queue" not in told


def test_missing_telemetry_is_told_with_its_reason() -> None:
    case = Case().alerts(1, new=1).receipt(ev.EvidenceFailed("connection refused"))
    assert "The telemetry could not be read: connection refused" in drafted(case)


def test_a_redacted_report_keeps_its_headline() -> None:
    text = drafted(Case().alerts(1, new=1).receipt(evidence(report={})))
    assert "12.0 % of requests fail" in text
    assert "No check was past a limit." in text


def test_candidates_for_the_cause_are_unconfirmed() -> None:
    told = section(drafted(night()), "Contributing factors")
    assert told.count("Candidate, unconfirmed:") == 2


@pytest.mark.parametrize("text", [HOSTILE, "- a", "1. a", "# a", "> a", "=", "---", "```", "C #", "\u2028# a", "$x$"])
def test_free_text_becomes_neither_heading_nor_table_nor_marker(text: str) -> None:
    assert shape(told_with(text)) == shape(told_with("plain"))


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60).filter(lambda text: bool(text.strip())))
def test_no_text_at_all_changes_the_shape_of_a_draft(text: str) -> None:
    assert shape(told_with(text)) == shape(told_with("plain"))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="|\\`*_[]<>#~!&-=+1.) \nab", min_size=1, max_size=30).filter(lambda text: bool(text.strip())))
def test_no_markup_at_all_changes_the_shape_of_a_draft(text: str) -> None:
    assert shape(told_with(text)) == shape(told_with("plain"))


def told_with(text: str) -> str:
    case = Case().alerts(1, new=1, title="llama " + text)
    case.do(cmd.Acknowledge).do(cmd.StateImpact, text="felt " + text)
    case.do(cmd.AddNote, text=text).do(cmd.PostUpdate, text=text).receipt(evidence(impact=text, cause="due " + text))
    case.do(cmd.Mitigate, text="by " + text).alerts(0, resolved=1).do(cmd.Resolve, reason="with " + text)
    return draft(case.inc, case.entries, case.now, PAGES)


def test_the_same_story_gives_the_same_draft() -> None:
    assert drafted(night()) == drafted(night())
    assert BOT.name not in section(drafted(night()), "Communication")
    assert MAYA.name in section(drafted(night()), "Communication")
