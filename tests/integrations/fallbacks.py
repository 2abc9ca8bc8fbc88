"""Fallback pagers as a configuration names them, and what they have to say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.config import read
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.integrations.fallback import Action, Voice, Word
from tests.core.case import START, Case

PASSWORD = "decoy password"
TOKEN = "decoy-token"
SECRETS = {"SMTP_PASSWORD": PASSWORD, "BRIDGE_TOKEN": TOKEN, "BRIDGE_SECRET": PASSWORD, "SPARE_KEY": "f" * 32}
ADDRESSES = {"from": "fixfirst@example.com", "to": ["oncall@example.com"]}
MAIL: dict[str, Any] = {"kind": "mail", "host": "127.0.0.1", **ADDRESSES}
BRIDGE: dict[str, Any] = {"kind": "webhook", "url": "https://bridge.internal/page", "token_env": "BRIDGE_TOKEN"}
PAGED = Policy(pagers=("PagerDuty", "mail"))


def read_fallbacks(*tables: Mapping[str, Any]) -> tuple[Mapping[str, Voice], list[str]]:
    secrets = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-key", **SECRETS}
    config, faults = read({"pagerduty": {}, "pager": {"fallback": list(tables)}}, Path(), secrets.get)
    assert "decoy" not in f"{faults}{config}"
    return (config.fallbacks if config else {}), faults


def voice(table: Mapping[str, Any], **changes: Any) -> Voice:
    voices, faults = read_fallbacks({**table, **changes})
    assert faults == []
    return next(iter(voices.values()))


def burning(title: str = "llama-70b fails") -> Case:
    """A minute after the alert, with the page on its way by mail."""
    return Case(PAGED).alerts(firing=3, new=3, title=title, model="llama-70b").after(minutes=1).clock_strikes()


def word(incident: Incident, action: Action = "trigger") -> Word:
    return Word(action, incident, 1, START, "https://incidents.example.com/incidents/INC-42")
