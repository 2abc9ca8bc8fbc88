"""docs/configuration.md has every key that the code asks for, no other, and tells the truth about the defaults."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from bot.config import DATABASE, Config, load, read
from bot.drills import Scenario
from bot.integrations import CHANGES, SOURCES, TARGETS, prometheus
from bot.integrations.probe import Probe
from bot.settings import Table

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
DRIFT = (ROOT / "docs" / "drift.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "fixfirst.example.toml"
TOP = "Top of the file"
FREE = {"alerts.severities", "links", "pagerduty.users"}
"""Tables whose keys are names that people choose."""
REQUIRED = {
    "slack": {"team_id": "T1", "intake_channel": "C1"},
    "prometheus": {"url": "http://p"},
    "pagerduty": {},
    "loki": {"url": "http://l"},
    "heartbeat": {"url": "https://h"},
    "tracing": {"endpoint": "https://c/v1/traces"},
}


def any_secret(name: str) -> str:
    return "postgresql://bot@db/fixfirst" if name == DATABASE else f"secret-of-{name.lower()}-0123456789"


def documented() -> dict[str, dict[str, str]]:
    """Table name -> key -> default, as the document has them."""
    tables: dict[str, dict[str, str]] = {}
    for section in re.split(r"^#{2,3} ", DOCUMENT, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        if title != TOP and not title.startswith("`["):
            continue
        name = "" if title == TOP else title.strip("`[]")
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, flags=re.MULTILINE)
        tables[name] = dict(rows)
    return tables


def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Table name -> the keys that the code asked for, of a file that has every table."""
    seen: dict[str, set[str]] = {}
    done = Table.done
    prefix: list[str] = []

    def record(table: Table) -> None:
        name = ".".join([*prefix, *([table.name] if table.name else [])])
        name = re.sub(r"\.routes\.[\w-]+", ".routes.ROUTE", name)
        seen.setdefault(re.sub(r"\[\d+\]", "", name), set()).update(table._asked)
        done(table)

    def inside(name: str, what: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            prefix.append(name)
            try:
                return what(*arguments)
            finally:
                prefix.pop()

        return call

    monkeypatch.setattr(Table, "done", record)
    for table, target in TARGETS.items():
        monkeypatch.setitem(cast(dict[str, Any], TARGETS), table, inside(f"{table}.NAME", target))
    monkeypatch.setattr(Scenario, "from_toml", inside("drills.NAME", Scenario.from_toml))
    monkeypatch.setattr(Probe, "from_toml", inside("probes.NAME", Probe.from_toml))
    monkeypatch.setattr(prometheus.Settings, "from_toml", inside("prometheus", prometheus.Settings.from_toml))
    values = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    endpoint = values["endpoints"]["model-deploy"]
    endpoint["undo"]["url"] = endpoint["url"]  # asked for only where it differs
    values["tracing"] = REQUIRED["tracing"]  # not in the example: its packages are an extra
    config, faults = read(values, ROOT, any_secret)
    assert config is not None, faults
    return seen


def test_every_key_is_in_the_document_and_every_key_in_the_document_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    code, document = asked(monkeypatch), documented()
    tables = {name.partition(".")[0] for name in document if name}
    assert code.pop("") == set(document.pop("")) | tables
    for name in ("prompt", "prompt.messages"):  # a file of its own has these
        assert code.pop(name) <= set(re.findall(r"`(\w+)`", DRIFT))
    nested = {name for name in document if "." in name}
    for name, keys in code.items():
        below = {one.rpartition(".")[2] for one in nested if one.rpartition(".")[0] == name}
        # The user groups and the owner are read with Slack's settings, and documented where they are written.
        asked_for = keys - {"responders", "owner"} if name == "slack" else keys
        assert asked_for - below == set(document.get(name, ())) - below, name
    assert set(document) - set(code) == FREE


def settings_of(folder: Path, values: dict[str, Any]) -> Config:
    config, faults = read(values, folder, any_secret)
    assert config is not None, faults
    return config


def test_the_defaults_in_the_document_are_those_of_the_code(tmp_path: Path) -> None:
    """What the document says, written out, gives the very same settings as an empty file."""
    spoken: dict[str, Any] = {name: dict(keys) for name, keys in REQUIRED.items()}
    plain = settings_of(tmp_path, {name: dict(keys) for name, keys in REQUIRED.items()})
    written = 0
    for name, keys in documented().items():
        if name in FREE or name.startswith((*TARGETS, "drills.", "oncall", "pager.", "probes.", "canary", "slo")):
            continue
        table = spoken
        for part in filter(None, name.split(".")):
            table = table.setdefault(part, {})
        for key, default in keys.items():
            if re.fullmatch(r"`[^`]+`", default):
                table.update(tomllib.loads(f"{key} = {default.strip('`')}"))
                written += 1
    assert written > 30
    assert settings_of(tmp_path, spoken) == plain


def test_the_defaults_of_a_rota_and_of_an_endpoint_are_those_of_the_code(tmp_path: Path) -> None:
    document = documented()
    rota = {"users": ["U1"], "handover": "2026-01-05T09:00:00Z"}
    endpoint = {"url": "https://deploy.internal/x", "observe": {"url": "https://deploy.internal/y", "done": {"a": 1}}}
    told = {
        key: tomllib.loads(f"x = {text.strip('`')}")["x"]
        for key, text in document["oncall.rota"].items()
        if "`" in text
    }
    plain = settings_of(tmp_path, {"oncall": {"rota": [rota]}, "endpoints": {"x": endpoint}})
    acts = {
        key: tomllib.loads(f"x = {text.strip('`')}")["x"]
        for key, text in document["endpoints.NAME"].items()
        if text.startswith("`")
    }
    assert set(acts) == {"method", "risk", "timeout"}
    full = settings_of(tmp_path, {"oncall": {"rota": [rota | told]}, "endpoints": {"x": endpoint | acts}})
    assert full == plain


def test_the_defaults_of_a_canary_are_those_of_the_code(tmp_path: Path) -> None:
    table = documented()["canary"]
    told = tomllib.loads("\n".join(f"{key} = {text.strip('`')}" for key, text in table.items() if "`" in text))
    assert set(told) == {"api", "every", "timeout", "samples", "tokens_per_day"}
    least = {"name": "chat", "model": "m", "url": "http://llm:8000/v1"}
    assert settings_of(tmp_path, {"canary": [least | told]}) == settings_of(tmp_path, {"canary": [least]})


def test_the_defaults_of_a_fallback_pager_are_those_of_the_code(tmp_path: Path) -> None:
    told = {
        key: tomllib.loads(f"x = {text.strip('`')}")["x"]
        for key, text in documented()["pager.fallback"].items()
        if "`" in text and "for" not in text
    }
    assert set(told) == {"timeout", "events_url", "security"}
    mine: dict[str, dict[str, Any]] = {
        "mail": {"kind": "mail", "host": "smtp", "from": "a@b.c", "to": ["a@b.c"]},
        "pagerduty": {"kind": "pagerduty", "routing_key_env": "KEY"},
    }
    for kind, keys in {"mail": ("timeout", "security"), "pagerduty": ("timeout", "events_url")}.items():
        plain = settings_of(tmp_path, {"pagerduty": {}, "pager": {"fallback": [mine[kind]]}})
        written = {**mine[kind], "name": kind, **{key: told[key] for key in keys}}
        assert settings_of(tmp_path, {"pagerduty": {}, "pager": {"fallback": [written]}}) == plain


def test_every_variable_is_in_the_document() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "bot").rglob("*.py") if "workbench" not in path.parts
    )
    used = set(re.findall(r"FIXFIRST_[A-Z_]*[A-Z]", code)) - {"FIXFIRST_NAME_TOKENS"}
    used |= {f"FIXFIRST_{name.upper()}_TOKENS" for name in (*SOURCES, *CHANGES)}
    assert set(re.findall(r"^\| `(FIXFIRST_\w+)`", DOCUMENT, flags=re.MULTILINE)) == used


def test_the_first_example_is_complete(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert block is not None
    names = set(re.findall(r"FIXFIRST_\w+", DOCUMENT[: block.start()]))
    config, faults = read(tomllib.loads(block[1]), tmp_path, lambda n: any_secret(n) if n in names else None)
    assert config is not None, faults
    assert config.slack is not None
    assert config.tokens["alertmanager"]


def test_the_shipped_example_loads_names_its_secrets_and_holds_none() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    wanted: set[str] = set()

    def secret(name: str) -> str:
        wanted.add(name)
        return any_secret(name)

    config, faults = load(EXAMPLE, secret)
    assert config is not None, faults
    assert set(config.targets["endpoints"]) == {"model-deploy", "cache-fallback", "token-cap", "gateway-model"}
    head = set(re.findall(r"[A-Z_]+_(?:TOKENS?|SECRETS?|KEY|PASSWORD)\b", text.split("workspace =")[0]))
    assert head <= wanted
    none_but_these, _ = load(EXAMPLE, lambda name: any_secret(name) if name in head else None)
    assert none_but_these is not None
    assert not re.search(r"xox[bp]-|xapp-|secret-of", text)
