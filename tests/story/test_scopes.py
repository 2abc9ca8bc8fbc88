"""The app asks people for exactly what it uses: no call without its scope, no scope without its use."""

import re
from pathlib import Path

import yaml

from bot.workbench.slack.methods import METHODS
from tests.story.scopes import COMMANDS, EVENTS, SCOPES

SLACK = Path("bot") / "slack"
MANIFEST = yaml.safe_load((SLACK / "manifest.yaml").read_text(encoding="utf-8"))
GRANTED = set(MANIFEST["oauth_config"]["scopes"]["bot"])

TOGETHER = {"files_upload_v2": {"files_getUploadURLExternal", "files_completeUploadExternal"}}
"""Where the client makes several calls of one."""


def test_the_manifest_asks_for_exactly_the_scopes_that_our_calls_and_events_need() -> None:
    needed = {scope for scope in SCOPES.values() if scope} | set(EVENTS.values()) | {COMMANDS}
    assert needed == GRANTED


def test_the_manifest_subscribes_to_exactly_the_events_that_somebody_listens_to() -> None:
    heard = set(re.findall(r'@app\.event\("(\w+)"\)', (SLACK / "listeners.py").read_text(encoding="utf-8")))
    assert heard == set(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) == EVENTS.keys()


def test_the_table_of_methods_is_complete() -> None:
    """Every method of the client that our code names stands in the table, and nothing else."""
    code = "".join(file.read_text(encoding="utf-8") for file in [*SLACK.glob("*.py"), Path("bot") / "app.py"])
    named = set(re.findall(r"client\.([a-z]+_\w+)", code)) - {"base_url"}
    named = {part for name in named for part in TOGETHER.get(name, {name})}
    ours = {method.replace(".", "_").lower() for method in SCOPES}
    assert {name.lower() for name in named} == ours


def test_the_workbench_would_refuse_each_call_without_its_scope() -> None:
    """Else the stories prove nothing about scopes."""
    for method, scope in SCOPES.items():
        if scope and method in METHODS:
            assert scope in METHODS[method].scopes, method
