"""Everything of a server that talks to Slack, in one hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from bot.contracts import Transient
from bot.incident.logbook import Record
from bot.slack.census import Told
from bot.slack.client import Refusal, call, must
from bot.slack.courier import Courier
from bot.slack.directory import Directory
from bot.slack.door import SlackDoor
from bot.slack.listeners import Listeners
from bot.slack.notices import notice
from bot.slack.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SlackSide:
    """Its parts, and what they do for the rooms that know nothing of Slack."""

    settings: Settings
    whoami: Callable[[], Any]
    directory: Directory
    listeners: Listeners
    door: SlackDoor
    courier: Courier
    post: Callable[..., Any]
    ours: Callable[[Sequence[str]], Sequence[Told]]

    def say(self, line: str) -> None:
        """A line in the intake channel, tried once. Raises Transient, Permanent."""
        must(self.post, channel=self.settings.intake_channel, text=line)

    def announce(self, record: Record) -> None:
        """A record of the logbook in the intake channel, tried once. Raises Transient, Permanent."""
        message = notice(record, self.settings.owner)
        must(self.post, channel=self.settings.intake_channel, text=message.text, blocks=message.blocks)

    def told(self, channels: Sequence[str]) -> Sequence[Told]:
        """Our own messages there and in the intake channel. Raises Transient, Permanent."""
        return self.ours([self.settings.intake_channel, *channels])

    def learn(self) -> None:
        """Keeps people and rights fresh. Slack being away is no reason to stop anything."""
        try:
            if self.listeners.bot_user_id is None:
                answer = call(self.whoami)
                self.listeners.bot_user_id = str(answer["user_id"])
            self.directory.refresh()
        except (Transient, Refusal) as failure:
            log.warning("slack_not_reachable", reason=str(failure))

    def listen(self) -> Callable[[], None] | None:
        """In Socket Mode, opens the socket and gives what closes it; otherwise the HTTP door listens."""
        if not self.settings.socket_mode:
            return None
        from bot.slack.socket import listen

        return listen(self.listeners.app, self.settings)
