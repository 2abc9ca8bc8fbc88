"""What the intake channel is told that concerns no incident: records of the logbook."""

from bot.incident.logbook import FREEZES, Kind, Record, line
from bot.slack.actions import Do
from bot.slack.blocks import Message, actions, button, confirm, message, section
from bot.slack.text import USER, esc, user


def notice(record: Record, owner: str = "") -> Message:
    """The record as a message that calls the owner, a Slack user id; a fail-over's has the button to confirm it."""
    text = line(record)
    called = f"{user(owner)} " if USER.fullmatch(owner) and record.kind is not Kind.RECONCILED else ""
    mark = ":warning: " if record.kind in (Kind.GLASS_BROKEN, Kind.RUNBOOKS_STOPPED, *FREEZES) else ""
    sure = confirm(
        "Is the record whole?",
        "Runbooks act again at once, if nobody has stopped them, each after a new preview. Look first at what the "
        "message below says is missing.",
        "Yes, go on",
    )
    go_on = confirm("Let runbooks act again?", "Steps whose approval is too old ask anew.", "Yes, go on")
    unfreeze = button("Confirm: runbooks may act again", Do.FAILOVER, record.body.get("epoch", ""), confirm=sure)
    buttons = {
        **dict.fromkeys(FREEZES, unfreeze),
        Kind.RUNBOOKS_STOPPED: button("Let runbooks act again", Do.RELEASE, str(record.seq), confirm=go_on),
    }
    return message(text, [section(f"{mark}{called}{esc(text)}"), actions(buttons.get(record.kind))])
