"""The same bot without an address that Slack could reach."""

import time
from pathlib import Path

from bot.incident.state import Status
from bot.slack.actions import Do
from bot.workbench.slack.workspace import Workspace
from tests.story.night import MAYA, alert, open_night


def connected(workspace: Workspace) -> bool:
    return any(call.method == "apps.connections.open" for call in workspace.calls)


def test_clicks_arrive_over_the_socket_that_the_bot_opens(tmp_path: Path) -> None:
    with open_night(tmp_path, socket_mode=True) as night:
        assert night.app.slack is not None
        hang_up = night.app.slack.listen()
        assert hang_up is not None
        try:
            deadline = time.monotonic() + 10
            while not connected(night.bench.workspace) and time.monotonic() < deadline:
                pass
            night.alerts(alert())
            night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
            assert night.stands(Status.ACKNOWLEDGED)
            status, _ = night.post("/slack/events", b"", {})
            assert status == 404, "the HTTP door is closed"
        finally:
            hang_up()
