"""Objectives, from what the rules record in a real Prometheus to the line that people read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.health import Objective, Report, Scope, Standing, Telemetry, lines, standings, survey
from bot.health.slo import STANDARD, WINDOWS, worst
from bot.incident import commands as cmd
from bot.slack import cards
from bot.slack.cards import Context
from tests.core.case import Case
from tests.health.conftest import Past
from tests.postmortem.stories import drafted
from tests.postmortem.stories import evidence as found
from tests.servers import free_port

NOW = datetime(2026, 11, 22, 3, 4, tzinfo=UTC)
OWNER = {"service": "chat", "namespace": "inference", "model_name": "llama-70b"}
OTHER = {"service": "code", "namespace": "inference", "model_name": "coder-7b"}


def record(past: Past, owner: dict[str, str], bad: float, total: float, now: float, slo: str = "availability") -> None:
    """As `fixfirst rules generate` has it recorded: the counts a second, and the error ratio of each window."""
    labels = {**owner, "slo": slo}
    past.gauge("slo:bad:rate5m", labels, bad * total)
    past.gauge("slo:total:rate5m", labels, total)
    for window in WINDOWS:
        past.gauge(f"slo:error_ratio:{window}", labels, now if window in ("5m", "1h") else bad)


def test_a_budget_says_what_is_left_and_how_fast_it_burns(remembering: Callable[[Past], str]) -> None:
    past = Past()
    record(past, OWNER, bad=0.0037, total=5, now=0.16)
    record(past, OTHER, bad=0.0, total=0.01, now=0.0)
    telemetry = Telemetry(remembering(past))

    of_all = {one.model: one for one in standings(telemetry, [STANDARD])}
    llama, coder = of_all["llama-70b"], of_all["coder-7b"]
    assert llama.line == "Budget of llama-70b availability in inference: 63% left, burning 16.0x"
    assert (llama.state, llama.service, llama.low_traffic) == ("crit", "chat", False)
    assert llama.requests == pytest.approx(18_000)
    assert (
        coder.line
        == "Budget of coder-7b availability in inference: 100% left, too few requests to tell how fast it burns"
    )
    assert coder.state == "ok"

    report = survey(telemetry, Scope(model="llama-70b"), NOW, objectives=[STANDARD])
    assert [one.model for one in report.slos] == ["llama-70b"]
    assert llama.line in lines(report)
    assert Report.from_dict(report.to_dict()) == report
    chosen = worst(report.to_dict()["slos"])
    assert chosen is not None
    assert chosen["line"] == llama.line


def test_a_quiet_staging_hides_nothing_of_the_same_model_in_production(remembering: Callable[[Past], str]) -> None:
    past = Past()
    record(past, {**OWNER, "namespace": "prod"}, bad=0.05, total=5, now=0.05)
    record(past, {**OWNER, "namespace": "staging"}, bad=0.0, total=5, now=0.0)
    prod, staging = standings(Telemetry(remembering(past)), [STANDARD])
    assert prod.line == "Budget of llama-70b availability in prod: overspent by 400%, burning 5.0x"
    assert (prod.state, staging.state) == ("crit", "ok")
    assert Standing.from_dict(prod.to_dict()) == prod


def test_of_many_models_each_stands_by_its_own_figures(remembering: Callable[[Past], str]) -> None:
    """The one that burns has the most left: by the worst of each question it would be in none but its own."""
    past = Past()
    for number in range(25):
        record(past, {**OWNER, "model_name": f"calm-{number}"}, bad=0.009, total=500, now=0.001)
    record(past, OWNER, bad=0.0, total=5, now=0.3)
    found = {one.model: one for one in standings(Telemetry(remembering(past)), [STANDARD])}
    assert len(found) == 26
    assert found["llama-70b"].state == "crit"
    assert found["llama-70b"].pace == pytest.approx(30)
    assert {found[f"calm-{number}"].state for number in range(25)} == {"ok"}


def test_a_state_is_as_bad_as_the_alert_of_its_objective_whatever_the_days(
    remembering: Callable[[Past], str],
) -> None:
    past = Past()
    record(past, OWNER, bad=0.0, total=5, now=0.05, slo="week")
    record(past, OWNER, bad=0.0, total=5, now=0.05, slo="month")
    promised = [Objective("week", days=7), Objective("month")]
    week, month = standings(Telemetry(remembering(past)), promised)
    # A fiftieth of seven days' budget is gone in an hour at 3.36 times what is affordable, of thirty at 14.4 times.
    assert week.pace == month.pace == pytest.approx(5)
    assert (week.state, month.state) == ("crit", "ok")


def test_a_spent_budget_is_overspent_and_an_objective_of_another_model_is_not_told(
    remembering: Callable[[Past], str],
) -> None:
    past = Past()
    record(past, OWNER, bad=0.08, total=5, now=0.08, slo="first-token")
    telemetry = Telemetry(remembering(past))
    promised = [
        Objective("first-token", sli="ttft", target=0.95, within=2.5, model="llama-70b"),
        Objective("coder", model="coder-7b"),
    ]
    report = survey(telemetry, Scope(model="llama-70b"), NOW, objectives=promised)
    assert [one.line for one in report.slos] == [
        "Budget of llama-70b first-token in inference: overspent by 60%, burning 1.6x"
    ]
    assert report.slos[0].state == "crit"
    by_name = {one.name: one for one in standings(telemetry, promised)}
    assert by_name["coder"].state == "unknown"
    assert "fixfirst rules generate" in by_name["coder"].line


def test_without_the_recording_rules_only_what_was_promised_is_said_to_be_unknown(
    remembering: Callable[[Past], str],
) -> None:
    past = Past()
    past.gauge("up", {"job": "vllm"}, 1)
    telemetry = Telemetry(remembering(past))
    assert survey(telemetry, Scope(), NOW, objectives=[STANDARD]).slos == ()
    (promised,) = survey(telemetry, Scope(), NOW, objectives=[Objective("chat", service="chat")]).slos
    assert promised.line == (
        "Budget of chat chat: unknown, nothing recorded: load the rules that `fixfirst rules generate` writes"
    )


def test_a_prometheus_that_is_away_leaves_every_objective_unknown() -> None:
    telemetry = Telemetry(f"http://127.0.0.1:{free_port()}", timeout=1.0)
    (one,) = standings(telemetry, [STANDARD])
    assert one.left is None
    assert "cannot be reached" in one.line


def test_the_terminal_lists_the_objectives(remembering: Callable[[Past], str], tmp_path: Path) -> None:
    past = Past()
    record(past, OWNER, bad=0.0037, total=5, now=0.02)
    config = tmp_path / "fixfirst.toml"
    config.write_text(f'[prometheus]\nurl = "{remembering(past)}"\n')
    result = CliRunner().invoke(main, ["slo", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert result.output == "ok      Budget of llama-70b availability in inference: 63% left, burning 2.0x\n"


def standing(left: float, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "availability",
        "service": "chat",
        "model": "llama-70b",
        "target": 0.99,
        "days": 30,
        "state": "crit",
        "left": left,
        "burn": {"1h": 14.4},
        "requests": 9000.0,
        "low_traffic": False,
    }
    return Standing(**{**values, **changes}).to_dict()


def test_the_card_shows_the_budget_that_stands_worst_on_one_line() -> None:
    slos = [standing(0.95, name="first-token", state="ok"), standing(0.63)]
    incident = Case().alerts(1, new=1, model="llama-70b").receipt(found(report={"slos": slos})).inc
    context = Context(Case().policy, "https://fixfirst.example", {})
    card = str(cards.incident_card(incident, context).blocks)
    assert "Budget of llama-70b availability: 63% left, burning 14.4x" in card
    assert "first-token" not in card
    older = Case().alerts(1, new=1).receipt(found(report={})).inc
    assert "Budget" not in str(cards.incident_card(older, context).blocks)


def test_the_postmortem_says_what_the_incident_cost_of_the_budget() -> None:
    case = Case().alerts(1, new=1, model="llama-70b").receipt(found(report={"slos": [standing(0.71)]}))
    assert "Objective llama-70b availability: 71% of the 30 days' error budget is left." in drafted(case)
    case.do(cmd.Acknowledge).after(minutes=20).receipt(found(report={"slos": [standing(0.63)]}))
    text = drafted(case)
    assert "llama-70b availability: 8.0% of the budget was used while this lasted, 63% of the 30 days'" in text


def test_a_report_stored_before_there_were_objectives_still_loads() -> None:
    telemetry = Telemetry(f"http://127.0.0.1:{free_port()}", timeout=1.0)
    old = survey(telemetry, Scope(), NOW + timedelta(hours=1)).to_dict()
    del old["slos"]
    assert Report.from_dict(old).slos == ()
