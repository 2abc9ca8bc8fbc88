"""The app manifest is one that Slack takes, and its hint names the words the command knows."""

import re

from bot.workbench.slack.manifest import parse_manifest
from tests.slack.wire.office import MANIFEST, MAYA, Office

COMMAND = MANIFEST["features"]["slash_commands"][0]


def test_slack_takes_it() -> None:
    manifest = parse_manifest(MANIFEST)
    assert manifest.events_url == manifest.interactivity_url == COMMAND["url"]
    assert len(MANIFEST["display_information"]["description"]) <= 140


def test_every_word_of_the_hint_is_one_that_the_command_knows(office: Office) -> None:
    for usage in COMMAND["usage_hint"].split(" | "):
        answer = office.types(MAYA, f"/incident {usage.split()[0]}")
        assert "do not know" not in answer, usage


def test_help_names_no_word_that_the_hint_leaves_out(office: Office) -> None:
    told = set(re.findall(r"`/incident (\w+)", office.types(MAYA, "/incident help")))
    assert told | {"help"} == {usage.split()[0] for usage in COMMAND["usage_hint"].split(" | ")}
