"""A manifest is read as Slack reads it, and every fault in it is named at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.workbench.slack.manifest import ManifestError, load_manifest, parse_manifest, retarget

from .conftest import BOT_URL, MANIFEST


def changed(**settings: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(json.dumps(MANIFEST))
    for path, value in settings.items():
        *outer, last = path.split("__")
        part = manifest
        for key in outer:
            part = part[key]
        part[last] = value
    return manifest


def test_a_good_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(MANIFEST), encoding="utf-8")
    manifest = parse_manifest(load_manifest(path))
    assert (manifest.name, manifest.display_name, manifest.home_tab) == ("FixFirst", "FixFirst", True)
    assert [command.command for command in manifest.commands] == ["/incident", "/raw"]
    assert manifest.events_url == manifest.interactivity_url == BOT_URL
    assert "chat:write" in manifest.scopes


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (changed(display_information__name="x" * 36), "display_information.name has 36 characters; Slack allows 35"),
        (changed(display_information__description="x" * 141), "Slack allows 140"),
        (changed(features__bot_user={}), "features.bot_user.display_name is missing"),
        (changed(features__slash_commands=[{"command": "incident", "description": "d"}]), "must start with /"),
        (changed(features__slash_commands=[{"command": "/Incident", "description": "d"}]), "must be lower case"),
        (changed(features__slash_commands=[{"command": "/i"}]), "description is missing"),
        (changed(features__slash_commands=[{"command": "/i", "description": "d"}] * 2), "/i is there twice"),
        (changed(features__slash_commands=[{"command": "/i", "description": "d"}] * 51), "51 entries"),
        (changed(oauth_config__scopes={"bot": ["chat:shout"]}), "'chat:shout' is not a bot scope"),
        (changed(oauth_config__scopes={"bot": []}), "needs the bot scope commands"),
        (changed(oauth_config__scopes={"bot": ["commands"]}), "app_mention needs the bot scope app_mentions:read"),
        (changed(settings__event_subscriptions={"bot_events": ["app_mention"]}), "request_url is missing"),
        (changed(settings__interactivity={"is_enabled": True}), "settings.interactivity.request_url is missing"),
    ],
)
def test_a_fault_is_named_with_its_place(manifest: dict[str, Any], fault: str) -> None:
    with pytest.raises(ManifestError) as error:
        parse_manifest(manifest)
    assert fault in str(error.value)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ManifestError) as error:
        parse_manifest({"display_information": {"name": ""}, "features": [], "oauth_config": {}, "settings": {}})
    assert len(error.value.faults) == 3


@pytest.mark.parametrize("text", ["- a list", "a: [", "just words"])
def test_what_is_no_manifest_is_refused_plainly(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"manifest\.yaml"):
        load_manifest(path)


def test_one_manifest_serves_slack_and_a_bot_on_this_machine() -> None:
    real = "https://bot.example.com/slack/events"
    assert retarget(real, None) == real
    assert retarget(real, "http://127.0.0.1:8080") == "http://127.0.0.1:8080/slack/events"
    assert retarget(real, "http://127.0.0.1:8080/other") == "http://127.0.0.1:8080/other"
    assert retarget(None, "http://127.0.0.1:8080") == "http://127.0.0.1:8080/slack/events"
    assert retarget(None, None) is None
