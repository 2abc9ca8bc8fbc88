"""Whose requests the pack counts: those of users, and each of them once, through whatever it passes."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bot.health.promql import Settings
from bot.health.rules import signals as s
from bot.health.rules.engines import BY_ID, ENGINES
from bot.health.rules.pack import pack
from bot.health.rules.proofs import bench, growing, mirrored
from bot.health.rules.rule import Case, Group, series
from bot.health.rules.syntax import parse, selectors
from bot.health.rules.watched import Scope
from bot.health.rules.write import files
from bot.health.rules.write import tests as proofs
from tests.health.conftest import needed

VLLM = bench(BY_ID["vllm"])
DYNAMO = bench(BY_ID["dynamo"])


def written(folder: Path, scope: Scope) -> None:
    for name, text in files(scope, "prometheus").items():
        (folder / name).write_text(text, encoding="utf-8")


def promtool(folder: Path, test: object) -> subprocess.CompletedProcess[str]:
    (folder / "own_test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    command = [needed("promtool"), "test", "rules", "own_test.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def tells(folder: Path, scope: Scope, past: Mapping[str, str], wanted: Mapping[str, Mapping[str, float]]) -> None:
    """After half an hour of this past, each expression has just these series."""
    written(folder, scope)
    groups = [group.name for group in pack(scope)]
    asked = [
        {
            "expr": expr,
            "eval_time": "30m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in found.items()],
        }
        for expr, found in wanted.items()
    ]
    told = promtool(
        folder,
        {
            "rule_files": [f"{group}.rules.yml" for group in groups],
            "evaluation_interval": "1m",
            "group_eval_order": groups,
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": name, "values": values} for name, values in past.items()],
                    "promql_expr_test": asked,
                }
            ],
        },
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("engine", ["vllm", "triton", "tgi"])
def test_what_happens_to_mirrored_traffic_calls_nobody(engine: str, tmp_path: Path) -> None:
    """Whatever would fire is silent when the server says that it only gets copies."""
    scope = Scope(engines=(engine,), exporters=(), health=Settings(mirror_label="role"))
    written(tmp_path, scope)

    def shadow(group: Group) -> Group:
        def case(one: Case) -> Case:
            return replace(one, series=mirrored(one.series, "role"), fires=())

        alerts = [replace(alert, cases=tuple(case(one) for one in alert.cases if one.fires)) for alert in group.alerts]
        return replace(group, rules=tuple(alerts))

    groups = [group for group in pack(scope) if group.name in {"fixfirst-users", "fixfirst-engine"}]
    for group in groups:
        told = promtool(tmp_path, proofs(shadow(group)))
        assert told.returncode == 0, told.stdout + told.stderr


def test_where_nothing_says_what_is_mirrored_no_rule_asks() -> None:
    plain = Scope(engines=tuple(BY_ID), health=Settings(mirror_label=""))
    assert not any("track" in rule.expr or "hadow" in rule.expr for group in pack(plain) for rule in group.rules)


def test_every_number_of_an_engine_is_asked_without_mirrored_traffic() -> None:
    (recorded,) = (group for group in pack(Scope(engines=tuple(BY_ID))) if group.name == s.GROUP)
    for rule in recorded.rules:
        for asked in selectors(parse(rule.expr)):
            own = asked.metric.startswith("model:")
            assert own or any(one.label == "track" and one.op == "!~" for one in asked.matchers), asked.text


@pytest.mark.parametrize(
    "scraped", ["", "llama-70b"], ids=["no model at the door", "the scrape writes the model there"]
)
def test_a_request_that_passes_a_gateway_and_an_engine_is_one(scraped: str, tmp_path: Path) -> None:
    """Also where the gateway lives in another namespace, and the engine fails what the gateway then tries elsewhere."""
    doors = VLLM.requests(900, 300)
    if scraped:
        doors = {
            f'{name[:-1]}, model_name="{scraped}"}}' if name.startswith("http") else name: values
            for name, values in doors.items()
        }
    gateway = {"job": "gateway", "instance": "10.0.1.1:80", "model_name": "llama-70b", "namespace": "edge"}
    http = {"handler": "/v1/chat/completions", "method": "POST"}
    past = {**doors, **series("http_requests_total", {**gateway, **http, "status": "2xx"}, growing(600))}
    at_the_gateway = '{model_name="llama-70b", namespace="edge", server="vllm"}'
    tells(
        tmp_path,
        Scope(exporters=()),
        past,
        {
            s.REQUESTS: {f"{s.REQUESTS}{at_the_gateway}": 10},
            s.FAILURES: {f"{s.FAILURES}{at_the_gateway}": 0},
        },
    )


def test_a_request_that_passes_the_frontend_and_the_engine_behind_it_counts_once_in_an_objective(
    tmp_path: Path,
) -> None:
    """Dynamo's frontend stands before vLLM; another model that vLLM serves alone keeps its own count."""
    assert VLLM.engine.http
    other = replace(VLLM, model="mistral")
    past = {
        **VLLM.requests(600, 0),
        **{name.replace("10.0.0.1", "10.0.0.7"): values for name, values in other.requests(300, 0).items()},
        **DYNAMO.requests(600, 60),
    }
    of = 'namespace="inference", service="chat", slo="availability"'
    tells(
        tmp_path,
        Scope(engines=("vllm", "dynamo"), exporters=()),
        past,
        {
            "slo:total:rate5m": {
                f'slo:total:rate5m{{model_name="llama-70b", {of}}}': 11,
                f'slo:total:rate5m{{model_name="mistral", {of}}}': 5,
            },
            "slo:bad:rate5m": {
                f'slo:bad:rate5m{{model_name="llama-70b", {of}}}': 1,
                f'slo:bad:rate5m{{model_name="mistral", {of}}}': 0,
            },
        },
    )


def test_only_what_stands_before_other_engines_is_taken_for_a_front() -> None:
    assert [engine.id for engine in ENGINES if engine.front] == ["dynamo"]
