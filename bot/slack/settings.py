"""The `[slack]` table of `fixfirst.toml`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.settings import Secret, Table
from bot.slack.text import USER


@dataclass(frozen=True, slots=True)
class Settings:
    """How Slack is reached and who may do what there.

    `intake_channel` is where cards first appear. `responders` are user group ids; with none, every full member of the
    workspace is a responder. `owner` is who is called when somebody breaks the glass, or when the database fails over.
    `socket_mode` listens by WebSocket instead of by the HTTP door.
    """

    api_url: str
    team_id: str
    intake_channel: str
    pin_reaction: str
    responders: tuple[str, ...]
    owner: str
    socket_mode: bool
    bot_token: Secret
    signing_secret: Secret
    app_token: Secret

    @classmethod
    def from_toml(
        cls, values: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> tuple["Settings | None", list[str]]:
        """The settings, or None with the faults as sentences. Secrets come by name from `secret`."""
        faults: list[str] = []
        table = Table("slack", values, faults)
        settings = cls(
            api_url=table.url("api_url", "https://slack.com/api/"),
            team_id=table.text("team_id", required=True),
            intake_channel=table.text("intake_channel", required=True),
            pin_reaction=table.text("pin_reaction", "pushpin").strip(":"),
            responders=table.texts("responders"),
            owner=table.text("owner"),
            socket_mode=table.flag("socket_mode", default=False),
            bot_token=Secret(secret("FIXFIRST_SLACK_BOT_TOKEN") or ""),
            signing_secret=Secret(secret("FIXFIRST_SLACK_SIGNING_SECRET") or ""),
            app_token=Secret(secret("FIXFIRST_SLACK_APP_TOKEN") or ""),
        )
        if settings.team_id and not settings.team_id.startswith(("T", "E")):
            table.fault(
                "team_id", f"is {settings.team_id!r}, but a workspace id begins with T; see the workspace's URL"
            )
        if settings.intake_channel and not settings.intake_channel.startswith(("C", "G")):
            table.fault(
                "intake_channel", "must be a channel id such as C0123ABCD, not a name; see the channel's details"
            )
        if any(not group.startswith("S") for group in settings.responders):
            table.fault("responders", "must be user group ids such as S0123ABCD; set access.responders")
        if settings.owner and not USER.fullmatch(settings.owner):
            table.fault("owner", "must be a user id such as U0123ABCD; set access.owner")
        if not settings.bot_token:
            table.fault("bot_token", "is missing; set FIXFIRST_SLACK_BOT_TOKEN in the environment")
        if settings.socket_mode and not settings.app_token:
            table.fault("socket_mode", "needs FIXFIRST_SLACK_APP_TOKEN in the environment")
        if not settings.socket_mode and not settings.signing_secret:
            table.fault("signing_secret", "is missing; set FIXFIRST_SLACK_SIGNING_SECRET in the environment")
        table.done()
        return (None if faults else settings), faults
