"""Socket Mode: the same listeners over a WebSocket that we open, for where no address of ours can be reached.

Slack's own client raises when the first try fails, opens later ones on threads that messages and the end wait for, and
sleeps there when it is told to slow down. So everything is opened on one thread of ours, and nothing waits for it.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from slack_bolt import App
from slack_bolt.adapter.socket_mode.internals import run_bolt_app, send_response
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.contracts import Transient
from bot.slack.client import Refusal, call, connect
from bot.slack.settings import Settings

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Between two tries to open it; once Slack answers again, nobody should be without buttons for longer."""
PING_EVERY_S: Final = 5.0
"""A socket that is silent for four of them is opened anew."""


def listen(app: App, settings: Settings) -> Callable[[], None]:
    """Begins to hold a socket, and returns at once; gives what closes it, whether it ever was open or not."""
    line = Line(app, settings)
    line.start()
    return line.close


class Line(SocketModeClient):
    """One socket, opened as soon as Slack lets us, and again whenever it is lost, until it is closed."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._closing = threading.Lock()
        self._error = ""
        self._trouble: str | None = None
        quiet = logging.getLogger(f"{__name__}.opening")  # each failure is raised as well, and told here once
        quiet.setLevel(logging.CRITICAL)
        client = connect(settings, quiet)
        super().__init__(
            settings.app_token.reveal(),
            web_client=client,
            proxy=client.proxy,
            ping_interval=PING_EVERY_S,
            on_error_listeners=[self._failed],
        )
        self.socket_mode_request_listeners.append(self._hear)

    def start(self) -> None:
        """Begins to open it."""
        self._wanted.set()
        threading.Thread(target=self._hold, name="slack-socket", daemon=True).start()

    def close(self) -> None:
        """Also before it ever was open, and while it is being opened: that ends by itself then."""
        self._over.set()
        self._wanted.set()
        with self._closing:
            super().close()

    def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 - Slack's client names it
        """What Slack's client calls on its own threads when the socket was lost or is about to be."""
        self._wanted.set()

    def issue_new_wss_url(self) -> str:
        """An address for one socket. Raises Transient, Refusal."""
        try:
            answer = call(self.web_client.apps_connections_open, app_token=self.app_token)
        except Refusal as refusal:
            hint = "check FIXFIRST_SLACK_APP_TOKEN, and that the app has Socket Mode"
            raise Refusal(refusal.error, f"Slack opens no socket: {refusal.error}; {hint}") from refusal
        if not answer.get("url"):
            raise Transient("Slack gave no address for a socket")
        return str(answer["url"])

    def _hold(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._over.is_set():
                break
            trouble, wish = self._open()
            self._tell(trouble)
            if trouble:
                self._wanted.set()
            self._over.wait(max(pause, wish))
            pause = min(2 * pause, LONGEST_PAUSE_S) if trouble else FIRST_PAUSE_S
        with self._closing:  # what was opened while it was being closed
            super().close()

    def _open(self) -> tuple[str, float]:
        """Why it is not open, empty when it is; and how long Slack wants to be left alone, in seconds."""
        self._error = ""
        try:
            super().connect_to_new_endpoint(force=True)
        except Transient as failure:
            return str(failure), failure.retry_after or 0.0
        except Exception as failure:  # noqa: BLE001 - whatever it is: without this thread there are no buttons any more
            return str(failure) or type(failure).__name__, 0.0
        if not self.is_connected():
            return f"Slack gave an address, and no socket there ({self._error or 'not accepted'})", 0.0
        return "", 0.0

    def _failed(self, error: Exception) -> None:
        self._error = type(error).__name__

    def _tell(self, trouble: str) -> None:
        """Once for as long as it stays the same."""
        if self._over.is_set() or trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.warning("slack_socket_not_open", reason=trouble)
        else:
            log.info("slack_socket_open")

    def _hear(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        began = time.time()
        send_response(client, request, run_bolt_app(self._app, request), began)
