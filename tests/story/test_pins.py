"""A message that somebody marks joins the timeline, where it stood in time; nothing else does."""

from datetime import timedelta

from bot.incident import events as ev
from tests.story.night import GUEST, INTAKE, JONAS, MAYA, PRIYA, SAM, Night, told


def marks(night: Night, user: str, ts: str, reaction: str = "pushpin", channel: str = "") -> None:
    night.bench.workspace.react(user, channel or night.incident.channel, ts, reaction)
    night.settle()


def test_a_marked_message_stands_on_the_timeline_at_its_own_time_with_its_own_author(night: Night) -> None:
    night.burns()
    said_at = night.clock.now + timedelta(minutes=2)
    night.after(minutes=2)
    message = night.bench.workspace.say(JONAS, night.incident.channel, "TTFT > 2 s since r42 & rising")
    night.after(minutes=1)
    night.types(MAYA, "/incident note looked at the queue", night.incident.channel)
    night.after(minutes=3)
    marks(night, MAYA, message.ts)
    (entry,) = [e for e in night.app.journal.entries(night.incident.id) if isinstance(e.event, ev.MessagePinned)]
    assert abs(entry.at - said_at) < timedelta(seconds=1)
    assert entry.by.id == MAYA
    (pinned,) = night.events(ev.MessagePinned)
    assert (pinned.text, pinned.author) == ("TTFT > 2 s since r42 & rising", JONAS)
    assert message.ts.replace(".", "") in pinned.link
    shown = night.types(MAYA, "/incident timeline", night.incident.channel)
    assert shown.index("wrote: TTFT") < shown.index("looked at the queue"), "in the order in which it happened"


def test_a_reply_in_a_thread_can_be_marked_and_its_thread_is_not(night: Night) -> None:
    night.burns()
    channel = night.incident.channel
    head = night.bench.workspace.say(JONAS, channel, "any ideas?")
    first = night.bench.workspace.say(PRIYA, channel, "no", thread_ts=head.ts)
    reply = night.bench.workspace.say(MAYA, channel, "it is r42", thread_ts=head.ts)
    marks(night, JONAS, reply.ts)
    assert [event.text for event in night.events(ev.MessagePinned)] == ["it is r42"]
    marks(night, JONAS, first.ts)
    marks(night, JONAS, head.ts)
    assert {event.text for event in night.events(ev.MessagePinned)} == {"it is r42", "no", "any ideas?"}


def test_marked_by_three_it_stands_there_once(night: Night) -> None:
    night.burns()
    message = night.bench.workspace.say(SAM, night.incident.channel, "customers see it since 03:10")
    for user in (MAYA, JONAS, SAM):
        marks(night, user, message.ts)
    assert len(night.events(ev.MessagePinned)) == 1


def test_other_reactions_and_other_channels_mean_nothing(night: Night) -> None:
    night.burns()
    here = night.bench.workspace.say(JONAS, night.incident.channel, "hm")
    elsewhere = night.bench.workspace.say(JONAS, INTAKE, "hm")
    marks(night, MAYA, here.ts, "eyes")
    marks(night, MAYA, elsewhere.ts, channel=INTAKE)
    assert night.events(ev.MessagePinned) == []
    assert night.whispers(MAYA) == []


def test_a_guests_mark_is_refused_and_the_guest_is_told(night: Night) -> None:
    night.burns()
    message = night.bench.workspace.say(GUEST, INTAKE, "I know that error")
    night.bench.workspace.channel(night.incident.channel).members.append(GUEST)
    message = night.bench.workspace.say(GUEST, night.incident.channel, "I know that error")
    marks(night, GUEST, message.ts)
    assert night.events(ev.MessagePinned) == []
    assert "Guests of the workspace cannot" in night.whispers(GUEST)[-1]


def test_a_message_that_was_deleted_meanwhile_is_told_to_be_gone(night: Night) -> None:
    night.burns()
    channel = night.bench.workspace.channel(night.incident.channel)
    message = night.bench.workspace.say(JONAS, channel.id, "oops")
    night.bench.workspace.react(MAYA, channel.id, message.ts, "pushpin")
    channel.remove(message)
    night.foretold.add("thread_not_found")
    night.settle()
    assert "did not make it into the timeline" in night.whispers(MAYA)[-1]


def test_a_marked_message_with_a_secret_in_it_is_kept_without_the_secret(night: Night) -> None:
    night.burns()
    message = night.bench.workspace.say(JONAS, night.incident.channel, "use xoxb-123456789012-abcdefghijkl please")
    marks(night, MAYA, message.ts)
    (pinned,) = night.events(ev.MessagePinned)
    assert "abcdefghijkl" not in pinned.text
    assert "abcdefghijkl" not in told(night.card)
