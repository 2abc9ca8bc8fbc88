"""Every hour the journal's head is said where nobody who rewrites the database can take it back."""

from bot.journal.heads import publish
from bot.workbench.slack.faults import Fault
from tests.story.night import INTAKE, MAYA, Night


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


def makes_a_head_without_chat(night: Night) -> None:
    night.burns()
    night.after(hours=1, minutes=1)
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "chat.postMessage")
    night.app.herald.publish()


def test_a_chat_that_is_down_hears_of_it_when_it_is_back_and_only_once(night: Night) -> None:
    makes_a_head_without_chat(night)
    assert heads(night) == []
    assert [line["event"] for line in night.logs][-1] == "journal_head_not_told"
    for _ in range(3):
        night.after(minutes=1)
        night.app.herald.publish()
    assert len(heads(night)) == len(logged(night)) == 1


def test_of_several_hours_without_chat_the_latest_head_is_said_for_covers_the_others(night: Night) -> None:
    makes_a_head_without_chat(night)
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.after(hours=1)
    for _ in range(3):
        night.app.herald.publish()
        night.after(minutes=1)
    (said,) = heads(night)
    assert said.startswith("Head of the journal at 2026-11-21 05:00 UTC: ")


def test_a_head_whose_server_died_before_it_was_said_is_said_by_the_next(night: Night) -> None:
    night.burns()
    night.after(hours=1, minutes=1)
    night.app.journal.write(lambda txn: publish(txn, night.clock.now.replace(minute=0, second=0))).result()
    night.crash()
    night.app.herald.publish()
    assert len(heads(night)) == len(logged(night)) == 1
