"""The `[slack]` table: every fault is a sentence with the key and the remedy, and secrets stay unseen."""

from typing import Any

import pytest

from bot.slack.client import connect
from bot.slack.settings import Settings

GOOD: dict[str, Any] = {"team_id": "T0123", "intake_channel": "C0123", "responders": ["S0123"]}
SECRETS = {
    "FIXFIRST_SLACK_BOT_TOKEN": "xoxb-very-secret",
    "FIXFIRST_SLACK_SIGNING_SECRET": "signing-very-secret",
    "FIXFIRST_SLACK_APP_TOKEN": "xapp-very-secret",
}


def test_good_settings_have_slacks_own_address_and_the_pushpin_as_defaults() -> None:
    settings, faults = Settings.from_toml(GOOD, SECRETS.get)
    assert faults == []
    assert settings is not None
    assert settings.api_url == "https://slack.com/api/"
    assert settings.pin_reaction == "pushpin"
    assert settings.responders == ("S0123",)
    assert not settings.socket_mode


def test_no_secret_is_ever_printed() -> None:
    settings, _ = Settings.from_toml(GOOD, SECRETS.get)
    assert "very-secret" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"team_id": "night-shift"}, "slack.team_id"),
        ({"intake_channel": "#incidents"}, "slack.intake_channel"),
        ({"responders": ["inference-oncall"]}, "slack.responders"),
        ({"responders": "S0123"}, "slack.responders"),
        ({"api_url": "ftp://x"}, "slack.api_url"),
        ({"socket_mode": "yes"}, "slack.socket_mode"),
        ({"intake_chanel": "C1"}, "slack.intake_chanel"),
    ],
)
def test_a_fault_names_its_key(changes: dict[str, Any], key: str) -> None:
    settings, faults = Settings.from_toml({**GOOD, **changes}, SECRETS.get)
    assert settings is None
    assert [fault.split(":")[0] for fault in faults] == [key]


def test_all_faults_come_at_once() -> None:
    _, faults = Settings.from_toml({}, lambda name: None)
    keys = {fault.split(":")[0] for fault in faults}
    assert keys == {"slack.team_id", "slack.intake_channel", "slack.bot_token", "slack.signing_secret"}
    assert all("set " in fault for fault in faults)


def test_socket_mode_needs_the_apps_token_instead_of_the_signing_secret() -> None:
    without = {"FIXFIRST_SLACK_BOT_TOKEN": "xoxb"}
    _, faults = Settings.from_toml({**GOOD, "socket_mode": True}, without.get)
    assert len(faults) == 1
    assert "FIXFIRST_SLACK_APP_TOKEN" in faults[0]
    settings, faults = Settings.from_toml(
        {**GOOD, "socket_mode": True}, {**without, "FIXFIRST_SLACK_APP_TOKEN": "xapp"}.get
    )
    assert settings is not None
    assert faults == []


@pytest.mark.parametrize("url", ["https://slack.test/api", "https://slack.test/api/"])
def test_the_client_neither_repeats_a_call_by_itself_nor_waits_over_ten_seconds(url: str) -> None:
    settings, _ = Settings.from_toml({**GOOD, "api_url": url}, SECRETS.get)
    assert settings is not None
    client = connect(settings)
    assert client.base_url == "https://slack.test/api/"
    assert client.retry_handlers == []
    assert client.timeout <= 10
