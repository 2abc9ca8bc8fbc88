"""Socket Mode: the same listeners over a WebSocket that we open, for where no address of ours can be reached."""

from collections.abc import Callable

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler

from bot.slack.settings import Settings


def listen(app: App, settings: Settings) -> Callable[[], None]:
    """Opens the socket; gives what closes it. Slack's client reconnects by itself."""
    handler = SocketModeHandler(app, settings.app_token.reveal())
    handler.connect()  # type: ignore[no-untyped-call]
    close: Callable[[], None] = handler.close
    return close
