"""The alert pack for the bot itself, and the examples beside it, before the real Prometheus and Alertmanager."""

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from bot.web.metrics import exposition
from tests.doors.house import open_house
from tests.web.site import Site

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "alerts" / "fixfirst.rules.yml"
TESTS = Path(__file__).parent / "alerts.yml"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", OPERATIONS, flags=re.DOTALL | re.MULTILINE)


def says(program: str, *arguments: str | Path) -> str:
    """What a Debian program says about a file; it must accept it."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def example(key: str) -> str:
    """The one example in the document with this key at its top."""
    (found,) = (text for text in EXAMPLES if key in yaml.safe_load(text))
    return str(found)


def test_prometheus_accepts_the_rules() -> None:
    assert "8 rules found" in says("promtool", "check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_alone() -> None:
    assert "SUCCESS" in says("promtool", "test", "rules", TESTS)


def test_each_alert_has_a_test_that_sees_it_fire() -> None:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    seen = re.findall(r'alertname="(\w+)"', TESTS.read_text(encoding="utf-8"))
    assert seen == [rule["alert"] for rule in group["rules"]]


def test_when_the_journal_cannot_be_read_the_engine_is_seen_to_stand_and_not_the_bot_to_be_gone(tmp_path: Path) -> None:
    """By what the bot itself tells then: its last turn was in the first second of an invented time."""
    with open_house(tmp_path, bare=True) as house:
        house.app.auditor.audit()
        house.app.journal.close()
        shutil.rmtree(house.app.config.data_dir)
        house.app.auditor.audit()
        numbers = house.app.numbers()
    told = exposition(replace(numbers, turned_at=datetime.fromtimestamp(1, UTC)), datetime.now(UTC))
    series = [line.rpartition(" ") for line in told.splitlines() if not line.startswith("#")]
    always = "alertstate='firing', severity='critical', service='fixfirst'"
    expected = [
        f"ALERTS{{alertname='FixFirstAuditFinding', check='audit', {always}}}",
        f"ALERTS{{alertname='FixFirstEngineStands', {always}}}",
    ]
    seen = {
        "expr": "ALERTS{alertstate='firing', check!='engine'}",
        "eval_time": "8m",
        "exp_samples": [{"labels": alert, "value": 1} for alert in expected],
    }
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": name, "values": f"{value}x20"} for name, _, value in series],
                "promql_expr_test": [seen],
            }
        ],
    }
    (tmp_path / "away.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    assert "SUCCESS" in says("promtool", "test", "rules", tmp_path / "away.yml")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_rules_ask_only_for_what_the_bot_tells(site: Site) -> None:
    """By name and by the values of labels that are always there; how a door answered is there once it has."""
    told = exposition(site.numbers(), datetime.now(UTC))
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        (name,) = set(re.findall(r"fixfirst_\w+", rule["expr"]))
        assert f"# TYPE {name} " in told
        for label in re.findall(r'\w+="[^"]*"', rule["expr"]):
            assert re.search(rf"^{name}{{[^}}]*{label}", told, flags=re.MULTILINE), label


def test_alertmanager_accepts_the_example_that_leads_past_the_bot(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(example("receivers"), encoding="utf-8")
    says("amtool", "check-config", config)
    about_us = ("service=fixfirst", "severity=critical")
    assert says("amtool", "config", "routes", "test", f"--config.file={config}", *about_us).strip() == "people"
    watchdog = ("alertname=Watchdog", "severity=none")
    assert says("amtool", "config", "routes", "test", f"--config.file={config}", *watchdog).strip() == "switch"
    anything = ("service=chat", "severity=critical")
    assert says("amtool", "config", "routes", "test", f"--config.file={config}", *anything).strip() == "fixfirst"


def test_prometheus_accepts_the_example_that_scrapes_the_bot(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    config = tmp_path / "prometheus.yml"
    config.write_text(example("scrape_configs"), encoding="utf-8")
    says("promtool", "check", "config", config)
