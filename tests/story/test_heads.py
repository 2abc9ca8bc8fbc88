"""Every hour the journal's head is said where nobody who rewrites the database can take it back."""

from bot.workbench.slack.faults import Fault
from tests.story.night import INTAKE, Night


def heads(night: Night) -> list[str]:
    """What stands of them in the intake channel."""
    return [message.text for message in night.said("Head of the journal", INTAKE)]


def logged(night: Night) -> list[str]:
    return [str(line["hash"]) for line in night.logs if line["event"] == "journal_head"]


def test_the_head_is_said_in_the_log_and_in_chat_once_an_hour(night: Night) -> None:
    night.burns()
    night.app.herald.publish()
    assert heads(night) == [], "no hour is over since"
    night.after(hours=1, minutes=1)
    for _ in range(2):
        night.app.herald.publish()
    night.crash()
    night.app.herald.publish()
    (said,) = heads(night)
    assert said.startswith("Head of the journal at 2026-11-21 04:00 UTC: ")
    assert [said.rsplit(" ", 1)[1]] == logged(night)


def test_an_hour_without_news_is_not_spoken_of(night: Night) -> None:
    night.burns()
    for hour in (4, 5, 6):
        night.clock.now = night.clock.now.replace(hour=hour, minute=2)
        night.app.herald.publish()
    assert len(logged(night)) == len(heads(night)) == 1


def test_a_chat_that_is_down_costs_its_own_copy_only(night: Night) -> None:
    night.burns()
    night.after(hours=1, minutes=1)
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "chat.postMessage")
    night.app.herald.publish()
    assert heads(night) == []
    assert len(logged(night)) == 1
    assert [line["event"] for line in night.logs][-1] == "journal_head_not_told"
