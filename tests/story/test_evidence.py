"""The health report in an incident's channel: words at once, then numbers and a picture, and whether it was right."""

from collections.abc import Iterator

import pytest

from bot.incident import events as ev
from bot.journal import evidence
from bot.journal.ratings import ratings
from bot.slack.actions import Do
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import Message
from tests.story.night import INTAKE, JONAS, MAYA, SAM, Night, action_ids, measuring, told

PNG = b"\x89PNG"


@pytest.fixture
def numbers(night: Night) -> Iterator[dict[str, float]]:
    with measuring(night, {"http_requests_total": 0.3}) as numbers:
        yield numbers


def report(night: Night, words: str = "[OUTAGE]") -> Message:
    (message,) = [one for one in night.said(words) if not one.is_reply and Do.FULL in action_ids(one)]
    return message


def image(message: Message) -> str:
    """The file that the message shows; empty when it shows none."""
    return next((block["slack_file"]["id"] for block in message.blocks if block["type"] == "image"), "")


def taken_as(night: Night, number: int = 0) -> ev.EvidenceCollected:
    return night.events(ev.EvidenceCollected)[number]


@pytest.mark.usefixtures("numbers")
def test_the_words_come_at_once_and_the_picture_follows_into_the_same_message(night: Night) -> None:
    night.burns()
    first = report(night)
    assert told(first).index(f"<@{MAYA}>") < told(first).index('"header"'), "below the call to who is on call"
    assert "30.0% of requests fail (limit" in told(first)
    assert image(first) == "", "Slack still looks at the file"
    night.through(seconds=10)
    shown = report(night)
    assert shown.ts == first.ts
    file = night.bench.workspace.state.files[image(shown)]
    assert file.content.startswith(PNG)
    assert file.mimetype == "image/png"
    (picture,) = [block for block in shown.blocks if block["type"] == "image"]
    assert picture["alt_text"].startswith("[OUTAGE]"), "who cannot see it hears the same"


@pytest.mark.usefixtures("numbers")
def test_the_numbers_lie_in_the_thread_and_not_in_the_channel(night: Night) -> None:
    night.burns()
    night.through(seconds=5)
    message = report(night)
    (reply,) = [one for one in night.messages() if one.is_reply and one.thread_ts == message.ts]
    assert "the numbers of EV-" in told(reply)
    assert "KV cache" in told(reply)
    assert "KV cache" not in str(message.blocks[:4])


@pytest.mark.usefixtures("numbers")
def test_what_was_seen_is_kept_and_cited_on_the_timeline(night: Night) -> None:
    incident = night.burns()
    looked, (frozen,) = taken_as(night), night.events(ev.EvidenceFrozen)
    assert frozen.evidence == looked.evidence
    kept = night.app.journal.ask(lambda direct, whose: evidence.find(direct, whose, incident.id, frozen.evidence))
    assert kept is not None
    assert {part.name: part.sha256 for part in kept.parts} == frozen.parts
    errors = kept.part("errors")
    assert errors is not None
    assert "http_requests_total" in errors.query
    assert b'"points"' in (errors.content or b"")
    assert looked.evidence in night.types(MAYA, "/incident timeline INC-1", INTAKE)


@pytest.mark.usefixtures("numbers")
def test_a_picture_that_slack_does_not_take_costs_only_the_picture(night: Night) -> None:
    night.foretold.add("missing_scope")
    night.bench.workspace.faults.plan(Fault.ERROR, "files.getUploadURLExternal", error="missing_scope")
    night.burns()
    night.through(seconds=10)
    assert image(report(night)) == ""
    assert "no picture: the Slack app lacks the scope" in told(report(night))


@pytest.mark.usefixtures("numbers")
def test_slack_may_take_its_time_to_look_at_a_file(night: Night) -> None:
    night.foretold.add("invalid_blocks")
    object.__setattr__(night.bench.workspace.state.config, "file_delay_s", 6.0)
    night.burns()
    night.through(seconds=4)
    assert image(report(night)) == ""
    night.through(seconds=20)
    assert image(report(night))
    uploads = [call for call in night.bench.workspace.calls if call.method == "files.getUploadURLExternal"]
    assert len(uploads) == 1, "the same file is shown, not another one uploaded"


@pytest.mark.usefixtures("numbers")
def test_a_restart_in_between_neither_doubles_nor_loses_the_picture(night: Night) -> None:
    night.burns()
    night.crash()
    night.through(seconds=20)
    assert image(report(night))
    night.types(MAYA, "/incident ack INC-1")
    assert image(report(night)), "whoever edits the message later keeps the picture"
    assert len(night.events(ev.PictureShown)) == 1


def test_what_comes_later_is_held_against_the_worst_of_it(night: Night, numbers: dict[str, float]) -> None:
    night.burns()
    night.types(MAYA, "/incident ack INC-1")
    numbers["http_requests_total"] = 0.001
    night.through(minutes=1)
    night.types(MAYA, "/incident mitigated INC-1 rolled back")
    after = night.said("Against the worst of it")
    assert len(after) == 1
    assert "Errors 30.0% → 0.1% (limit" in told(after[0])
    night.recovers()
    night.types(MAYA, "/incident resolve INC-1 rolled back")
    night.through(seconds=10)
    assert len(night.said("Against the worst of it")) >= 2, "and once more when it is over"


@pytest.mark.usefixtures("numbers")
def test_a_thumb_is_kept_with_the_verdict_it_is_about(night: Night) -> None:
    night.burns()
    message = report(night)
    channel = night.incident.channel
    assert "was right" in night.clicks(JONAS, message, Do.RIGHT, channel)
    night.clicks(JONAS, message, Do.RIGHT, channel)
    assert len(night.events(ev.VerdictRated)) == 1, "said twice is said once"
    assert ":+1: 1 :-1: 0" in told(report(night))


@pytest.mark.usefixtures("numbers")
def test_who_knows_better_says_what_it_was(night: Night) -> None:
    night.burns()
    night.clicks(SAM, report(night), Do.WRONG, night.incident.channel)
    assert night.form(SAM).body["title"]["text"] == "Wrong verdict"
    night.fills_in(SAM, actual="hardware", text="node-2 was on fire")
    (rated,) = night.events(ev.VerdictRated)
    assert (rated.right, rated.actual, rated.text) == (False, "hardware", "node-2 was on fire")
    (line,) = night.app.journal.ask(ratings)
    assert (line.ref, line.by.id) == ("INC-1", SAM)
    assert "the verdict was wrong, it was hardware: node-2 was on fire" in night.types(MAYA, "/incident timeline INC-1")


def test_the_full_report_is_the_one_that_was_given_and_not_a_new_one(night: Night, numbers: dict[str, float]) -> None:
    night.burns()
    numbers["http_requests_total"] = 0.0
    full = night.clicks(MAYA, report(night), Do.FULL, night.incident.channel)
    assert "30.0% of requests fail" in full
    assert "crit ≥" in full
    assert "http_requests_total" in full, "with what was asked"


@pytest.mark.usefixtures("numbers")
def test_all_numbers_can_be_asked_for_without_an_incident(night: Night) -> None:
    assert "--full" in night.types(SAM, "/incident health llama-70b")
    full = night.types(SAM, "/incident health llama-70b --full")
    assert "http_requests_total" in full
    assert "crit ≥" in full


def test_with_nothing_to_see_nothing_is_kept_and_the_report_still_comes(night: Night) -> None:
    night.burns()
    (blind,) = night.said("[BLIND]")
    assert not [one for one in night.messages() if one.thread_ts == blind.ts and one.is_reply], "no numbers to tell"
    assert night.events(ev.EvidenceFrozen) == []
