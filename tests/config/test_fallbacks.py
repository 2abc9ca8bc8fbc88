"""The settings of fallback pagers: what is faulty is named with its fix, and their order is that of the file."""

from pathlib import Path
from typing import Any

import pytest

from bot.config import read
from tests.integrations.fallbacks import BRIDGE, MAIL, SECRETS, read_fallbacks

FAULTY: list[tuple[dict[str, Any], str]] = [
    ({}, "pager.fallback[1].kind: is missing; set it"),
    ({"kind": "fax"}, "pager.fallback[1].kind: is 'fax', but must be one of mail, pagerduty, webhook"),
    ({**MAIL, "name": "On Call!"}, "pager.fallback[1].name: is 'On Call!', but must be 1 to 30 small letters"),
    ({**MAIL, "timeout": "5s"}, "pager.fallback[1].timeout: must be longer than nothing and at most 4s"),
    ({**MAIL, "host": 7}, "pager.fallback[1].host: is 7, but must be a text in quotes"),
    ({"kind": "mail", "host": "smtp"}, "pager.fallback[1].from: is missing; set it"),
    ({"kind": "mail", "host": "smtp"}, "pager.fallback[1].to: is empty; name at least one address"),
    ({**MAIL, "to": ["oncall"]}, "pager.fallback[1].to: 'oncall' is no address; write name@example.com"),
    ({**MAIL, "from": "a@b.c\nBcc: d@e.f"}, "pager.fallback[1].from: 'a@b.c\\nBcc: d@e.f' is no address"),
    ({**MAIL, "security": "ssl"}, "pager.fallback[1].security: is 'ssl', but must be one of starttls, tls, none"),
    ({**MAIL, "user": "fixfirst"}, "pager.fallback[1].user: and password_env belong together"),
    (
        {**MAIL, "user": "fixfirst", "password_env": "SMTP_PASSWORD", "security": "none"},
        'pager.fallback[1].security: is "none", which would show the password',
    ),
    ({**MAIL, "password": "decoy"}, "pager.fallback[1].password: is not a setting; did you mean password_env?"),
    ({**BRIDGE, "url": "bridge"}, "pager.fallback[1].url: must begin with https:// or http:// and a host"),
    ({**BRIDGE, "url": "https://u:decoy@bridge/"}, "pager.fallback[1].url: must not hold a password; use token"),
    ({**BRIDGE, "url": "https://bridge/{x}"}, "pager.fallback[1].url: holds a {, but nothing is filled in here"),
    ({"kind": "webhook", "url": "https://b"}, "pager.fallback[1].token_env: and secret_env are missing; set one"),
    ({**BRIDGE, "token_env": "decoy-token"}, "pager.fallback[1].token_env: must be the name of an environment"),
    ({**BRIDGE, "token_env": "NOT_SET"}, "pager.fallback[1].token_env: names NOT_SET, which is not set"),
    ({"kind": "pagerduty"}, "pager.fallback[1].routing_key_env: is missing; name the environment variable"),
]


@pytest.mark.parametrize(("table", "expected"), FAULTY, ids=[expected[:60] for _, expected in FAULTY])
def test_a_fault_names_its_key_and_its_fix(table: dict[str, Any], expected: str) -> None:
    _, faults = read_fallbacks(table)
    assert any(fault.startswith(expected) for fault in faults), faults


def test_the_faults_of_all_fallbacks_come_at_once() -> None:
    _, faults = read_fallbacks({**MAIL, "to": []}, {**BRIDGE, "url": ""}, {"kind": "pagerduty"}, MAIL)
    assert [fault.partition(":")[0].removeprefix("pager.fallback") for fault in faults] == [
        "[1].to",
        "[2].url",
        "[3].routing_key_env",
        "[4].name",
    ]


def test_two_fallbacks_of_one_name_are_a_fault() -> None:
    _, faults = read_fallbacks(MAIL, MAIL)
    assert faults == ["pager.fallback[2].name: is mail, as another fallback's; give each its own"]


def test_a_fallback_needs_a_first_pager() -> None:
    _, faults = read({"pager": {"fallback": [MAIL]}}, Path(), SECRETS.get)
    assert faults == ["pager.fallback: has no first pager to stand in for; add [pagerduty]"]


def test_the_order_of_the_file_is_the_order_in_which_they_are_asked() -> None:
    spare = {"kind": "pagerduty", "name": "spare", "routing_key_env": "SPARE_KEY"}
    secrets = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-key", **SECRETS}
    tables = {"pagerduty": {}, "pager": {"accept_within": "90s", "fallback": [spare, BRIDGE, MAIL]}}
    config, faults = read(tables, Path(), secrets.get)
    assert config is not None, faults
    assert config.policy.pagers == ("PagerDuty", "spare", "webhook", "mail")
    assert config.policy.accept_within.total_seconds() == 90
    assert config.policy.self_escalating == {"PagerDuty", "spare"}, "PagerDuty calls the next by its own policy"


def test_where_the_bot_is_to_escalate_pagerduty_does_not_by_itself() -> None:
    secrets = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-key", "FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY": "decoy-second"}
    config, faults = read({"pagerduty": {"escalation": "key"}}, Path(), secrets.get)
    assert config is not None, faults
    assert config.policy.self_escalating == frozenset()
