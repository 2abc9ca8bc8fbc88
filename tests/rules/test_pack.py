"""The alert pack before the real promtool: every engine's, a proof for every alert, and that proofs bite."""

import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bot.cli import main
from bot.config import read
from bot.health.catalogue import catalogue as checks
from bot.health.promql import Settings
from bot.health.rules.counters import COUNTERS
from bot.health.rules.engines import ENGINES
from bot.health.rules.gpus import REASONS_BEFORE
from bot.health.rules.pack import EVERYTHING, catalogue, pack
from bot.health.rules.proofs import TARGET, bench, gpu, growing, steady
from bot.health.rules.rule import Alert, Record, series
from bot.health.rules.watched import EXPORTERS, Scope
from bot.health.rules.write import COUNTERS as CSV
from bot.health.rules.write import OPERATOR, files
from bot.health.slo import Objective
from bot.health.xid import XIDS
from bot.intake.reading import SEVERITIES
from tests.health.conftest import needed

ROOT = Path(__file__).parents[2]
PROMISED = (
    Objective("chat-availability", target=0.995, service="chat", days=28),
    Objective("first-token", sli="ttft", target=0.95, within=5.0, days=7),
    Objective("whole-answer", sli="e2e", target=0.9, within=60.0),
    Objective("alive", sli="non-stalled", target=0.99),
    Objective("own", sli="own", errors="sum(rate(lost_total[5m]))", total="sum(rate(asked_total[5m]))"),
)


def written(folder: Path, scope: Scope, form: str = "prometheus") -> Path:
    for name, text in files(scope, form).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def promtool(folder: Path, what: str, *names: str) -> subprocess.CompletedProcess[str]:
    command = [needed("promtool"), what, "rules", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def proven(folder: Path) -> None:
    """promtool accepts every rule, and sees every alert fire and not fire as its cases say."""
    rules = sorted(path.name for path in folder.glob("*.rules.yml"))
    read_well = promtool(folder, "check", *rules)
    assert read_well.returncode == 0, read_well.stdout + read_well.stderr
    assert "duplicate" not in read_well.stdout
    tested = promtool(folder, "test", *sorted(path.name for path in folder.glob("*_test.yml")))
    assert tested.returncode == 0, tested.stdout[-3000:] + tested.stderr[-3000:]


@pytest.mark.parametrize("engine", [engine.id for engine in ENGINES])
def test_the_pack_of_each_engine_does_what_its_proofs_say(engine: str, tmp_path: Path) -> None:
    proven(written(tmp_path, Scope(engines=(engine,), exporters=())))


@pytest.mark.parametrize("exporters", [*EXPORTERS, "dcgm,ksm"])
def test_the_pack_of_each_exporter_does_what_its_proofs_say(exporters: str, tmp_path: Path) -> None:
    """GPUs also beside kube-state-metrics, which knows more of their nodes."""
    proven(written(tmp_path, Scope(engines=(), exporters=tuple(exporters.split(",")))))


def test_a_mixed_fleet_with_its_own_objectives_and_limits_is_proven_too(tmp_path: Path) -> None:
    scope = Scope(
        engines=("vllm", "triton", "tgi"),
        exporters=("ksm",),
        promised=PROMISED,
        health=Settings(sla_seconds=5.0),
        whole_answer=20.0,
    )
    proven(written(tmp_path, scope))


def test_a_pack_with_other_limits_is_proven_by_other_numbers(tmp_path: Path) -> None:
    told = "[health.limits]\nU1 = {warn = 0.002, crit = 0.02}\nU2b = {crit = 0.3}\nU3 = {warn = 40, crit = 200}\n"
    told += "E1 = {warn = 0.8, crit = 0.9}\nE3 = {crit = 6}\nM1 = {crit = 0.3}\nM2 = {warn = 5}\n"
    told += '[rules]\nexporters = ["ksm", "drift", "litellm"]\n'
    config, faults = read(tomllib.loads(told), tmp_path, lambda _: None)
    assert config is not None, faults
    exprs = {alert.name: alert.expr for alert in alerts(config.rules)}
    assert "> 0.002 " in exprs["LLMErrorRatioHigh"]
    assert "> 40 " in exprs["LLMQueueGrowing"]
    proven(written(tmp_path, config.rules))


def test_a_canary_that_runs_once_a_day_is_not_missed_after_an_hour(tmp_path: Path) -> None:
    told = '[[canary]]\nname = "daily"\nevery = "1d"\nurl = "https://models.example/v1"\nmodel = "llama-70b"\n'
    told += '[rules]\nexporters = ["canary"]\n'
    config, faults = read(tomllib.loads(told), tmp_path, lambda _: None)
    assert config is not None, faults
    exprs = {alert.name: alert.expr for alert in alerts(config.rules)}
    assert "> 172800 " in exprs["ModelCanaryStale"]
    proven(written(tmp_path, config.rules))


def test_every_alert_has_a_proof_that_it_fires_and_one_that_it_does_not() -> None:
    """But for PromQL of somebody's own, which is theirs to prove."""
    for scope in (EVERYTHING, Scope(engines=("sglang",), promised=PROMISED)):
        for alert in alerts(scope):
            if alert.labels.get("slo") == "own":
                continue
            assert any(case.fires for case in alert.cases), alert.name
            assert any(not case.fires for case in alert.cases), alert.name


def alerts(scope: Scope) -> list[Alert]:
    return [alert for group in pack(scope) for alert in group.alerts]


def healthy() -> dict[str, str]:
    """An hour of a vLLM with all its exporters, on which nothing is wrong."""
    (vllm,) = (engine for engine in ENGINES if engine.id == "vllm")
    one = bench(vllm)
    assert vllm.ttft is not None
    assert vllm.e2e is not None
    out = {
        **one.requests(1000, 1),
        **one.latency(vllm.ttft, 2.5, 1000, 1),
        **one.latency(vllm.e2e, 30, 1000, 1),
        **one.gauge(vllm.running, steady(12)),
        **one.gauge(vllm.waiting, steady(1)),
        **one.gauge(vllm.kv, steady(0.6)),
        **one.counter(vllm.preempted, steady(3)),
        **one.counter(vllm.tokens, growing(9000)),
        **one.counter(vllm.finished, growing(900), finished_reason="stop"),
        **one.counter(vllm.finished, growing(100), finished_reason="length"),
        **series("up", TARGET, steady(1)),
        **series("up", {"job": "dcgm", "instance": "10.0.0.9:9400"}, steady(1)),
        **series("kube_pod_status_phase", {"namespace": "inference", "pod": "p", "phase": "Pending"}, steady(0)),
        **series("kube_node_status_condition", {"node": "n", "condition": "Ready", "status": "true"}, steady(1)),
        **series("kube_node_status_capacity", {"node": "n", "resource": "nvidia_com_gpu"}, steady(8)),
        **series("kube_pod_container_status_restarts_total", {"namespace": "inference", "pod": "p"}, steady(7)),
    }
    for name, value in (("GPU_TEMP", 70), ("XID_ERRORS", 45), ("GPU_UTIL", 99), ("CLOCKS_EVENT_REASONS", 4)):
        out |= gpu(f"DCGM_FI_DEV_{name}", steady(value))
    return out


def test_on_a_healthy_fleet_nothing_fires(tmp_path: Path) -> None:
    """Not even for an Xid of last week, a GPU at its power cap, or a container that was restarted before."""
    folder = written(tmp_path, Scope())
    names = [group.name for group in pack(Scope())]
    quiet = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in healthy().items()],
        "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": t} for t in ("20m", "60m", "120m")],
    }
    rules = [path.name for path in folder.glob("*.rules.yml")]
    whole = {"rule_files": rules, "evaluation_interval": "1m", "group_eval_order": names, "tests": [quiet]}
    (folder / "healthy_test.yml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    told = promtool(folder, "test", "healthy_test.yml")
    assert told.returncode == 0, told.stdout + told.stderr


BROKEN: Mapping[str, tuple[str, str]] = {
    "fixfirst-users": ("LLMErrorRatioHigh", "> 0.01"),
    "fixfirst-engine": ("LLMEngineStalled", "== 1"),
    "fixfirst-gpus": ("GPUPcieReplay", "* 60"),
    "fixfirst-kubernetes": ("LLMHostOOM", 'reason="OOMKilled"'),
    "fixfirst-drift": ("ModelDriftStale", "> 86400"),
    "fixfirst-spend": ("SpendBudgetNearlyGone", "24 * 3600"),
    "fixfirst-quality": ("ModelFinishReasonShift", "offset 1d"),
    "fixfirst-slo-alerts": ("LLMErrorBudgetFastBurn", "slo:error_ratio:5m"),
}


@pytest.mark.parametrize("group", BROKEN)
def test_the_proofs_see_a_rule_that_was_broken(group: str, tmp_path: Path) -> None:
    folder = written(tmp_path, EVERYTHING if group == "fixfirst-spend" else Scope(exporters=tuple(EXPORTERS)))
    name, part = BROKEN[group]
    others = {
        "> 0.01": "> 0.5",
        "== 1": "== 2",
        "* 60": "* 1",
        'reason="OOMKilled"': 'reason="Error"',
        "> 86400": "> 864000",
        "24 * 3600": "1",
        "offset 1d": "offset 1h",
        "slo:error_ratio:5m": "slo:error_ratio:3d",
    }
    path = folder / f"{group}.rules.yml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    (rule,) = (rule for rule in data["groups"][0]["rules"] if rule.get("alert") == name)
    squeezed = " ".join(rule["expr"].split())
    assert part in squeezed
    rule["expr"] = squeezed.replace(part, others[part])
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert promtool(folder, "check", path.name).returncode == 0
    told = promtool(folder, "test", f"{group}_test.yml")
    assert told.returncode != 0
    assert name in told.stdout + told.stderr


def test_every_alert_says_what_to_do_and_the_bot_understands_it() -> None:
    runbooks = {path.stem for path in (ROOT / "runbooks").glob("*.md")}
    for alert in alerts(EVERYTHING):
        assert alert.severity in SEVERITIES
        assert alert.runbook in runbooks | {""}, alert.name
        assert len(alert.description) > 40, alert.name
        assert re.fullmatch(r"(LLM|GPU|Model|Token|Spend|Kubernetes)\w+", alert.name)
    without = sorted({alert.name for alert in alerts(EVERYTHING) if not alert.runbook})
    assert without == [
        "GPUTelemetryMissing",
        "KubernetesTelemetryMissing",
        "LLMTargetDown",
        "LLMTelemetryMissing",
        "ModelCanaryStale",
        "ModelCanaryUnanswered",
        "ModelDriftStale",
    ]


def test_every_alert_that_a_shipped_runbook_names_is_in_the_pack() -> None:
    names = {alert.name for alert in alerts(EVERYTHING)}
    for path in (ROOT / "runbooks").glob("*.md"):
        _, head, _ = path.read_text(encoding="utf-8").split("---\n", 2)
        assert set(yaml.safe_load(head).get("alerts", ())) <= names, path.name


def test_the_alerts_have_the_limits_of_the_health_report() -> None:
    limits = {check.id: check for check in checks(Settings(sla_seconds=7.5))}
    exprs = {alert.name: alert.expr for alert in alerts(Scope(health=Settings(sla_seconds=7.5), exporters=("drift",)))}
    assert "> 7.5 " in exprs["LLMTTFTp99AboveSLA"]
    assert f"> {limits['U1'].warn:g} " in exprs["LLMErrorRatioHigh"]
    assert f">= {limits['U1'].crit:g} " in exprs["LLMErrorRatioCritical"]
    assert f"> {limits['U3'].warn:g} " in exprs["LLMQueueGrowing"]
    assert f">= {limits['E1'].crit:g} " in exprs["LLMKVCacheSaturated"]
    assert exprs["ModelDriftPSI"].endswith(f"> {limits['M1'].crit:g}")


def test_each_xid_of_the_catalogue_that_asks_for_something_is_in_one_alert_and_no_more() -> None:
    exprs = [alert.expr for alert in alerts(EVERYTHING) if alert.expr.startswith("gpu:xid:new15m")]
    matchers = [(m[1], re.compile(m[2])) for expr in exprs if (m := re.search(r'xid(=~|!~)"([\d|]+)"', expr))]
    assert len(matchers) == 8
    for number, entry in XIDS.items():
        hits = sum((pattern.fullmatch(str(number)) is not None) == (op == "=~") for op, pattern in matchers)
        assert hits == (0 if entry.kind == "record" else 1), number


def test_the_counters_for_dcgm_hold_all_that_the_pack_asks_for_in_their_units() -> None:
    listed = {name: help_ for _, rows in COUNTERS for name, _, help_ in rows}
    exprs = " ".join(rule.expr for group in pack(EVERYTHING) for rule in group.rules)
    asked = set(re.findall(r"DCGM_FI_\w+", exprs)) | {"DCGM_EXP_XID_ERRORS_COUNT"}
    assert asked - {REASONS_BEFORE} <= set(listed)
    assert listed["DCGM_FI_DEV_THERMAL_VIOLATION"].endswith(" ns")
    rows = [line for line in files(EVERYTHING, "prometheus")[CSV].splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"DCGM_\w+, (gauge|counter|label), .+", row) for row in rows)


def test_an_operator_gets_one_resource_with_the_same_rules(tmp_path: Path) -> None:
    folder = written(tmp_path, Scope(), "operator")
    resource = yaml.safe_load((folder / OPERATOR).read_text(encoding="utf-8"))
    assert (resource["apiVersion"], resource["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    plain = [yaml.safe_load((folder / f"{group.name}.rules.yml").read_text()) for group in pack(Scope())]
    assert resource["spec"]["groups"] == [group for one in plain for group in one["groups"]]


def test_an_objective_so_loose_that_nothing_burns_that_fast_has_no_alert_that_cannot_fire() -> None:
    loose = Scope(promised=(Objective("loose", target=0.9),))
    (fast,) = (alert for alert in alerts(loose) if alert.name == "LLMErrorBudgetFastBurn")
    assert "slo:error_ratio:1h" not in fast.expr  # 14.4 times a tenth is more than all
    assert "slo:error_ratio:6h" in fast.expr


def test_recorded_series_are_asked_for_only_where_they_are_recorded() -> None:
    for scope in (EVERYTHING, *(Scope(engines=(engine.id,), exporters=()) for engine in ENGINES)):
        groups = pack(scope)
        recorded = {rule.name for group in groups for rule in group.rules if isinstance(rule, Record)}
        asked = set(
            re.findall(
                r"\b(?:model|replica|slo|gpu|node|team):[a-z_:0-9]+", " ".join(a.expr for g in groups for a in g.rules)
            )
        )
        missing = {name for name in asked if name not in recorded and not name.endswith(("preemptions:rate5m",))}
        assert not missing


def test_the_command_writes_what_the_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "fixfirst.toml"
    config.write_text('[rules]\nengines = ["sglang"]\n[health]\nfirst_token_within_seconds = 1.0\n')
    result = CliRunner().invoke(main, ["rules", "generate", "--config", str(config), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "fixfirst-signals.rules.yml").read_text()
    assert "sglang:" in text
    assert "vllm:" not in text
    assert "> 1\n" in (tmp_path / "out" / "fixfirst-users.rules.yml").read_text()
    wrong = CliRunner().invoke(main, ["rules", "generate", "--engines", "vlm", "--config", str(config)])
    assert wrong.exit_code == 2
    assert "vlm is not known; use vllm" in wrong.output


def test_a_group_that_is_no_longer_wanted_is_not_left_for_prometheus_to_load(tmp_path: Path) -> None:
    def generate(*options: str) -> str:
        told = CliRunner().invoke(main, ["rules", "generate", "--out", str(tmp_path), *options])
        assert told.exit_code == 0, told.output
        return told.output

    generate("--config", str(tmp_path / "none.toml"), "--exporters", "dcgm,ksm", "--format", "operator")
    (tmp_path / "own.rules.yml").write_text("groups: []\n")
    told = generate("--config", str(tmp_path / "none.toml"), "--exporters", "ksm")
    assert f"removed {tmp_path / 'fixfirst-gpus.rules.yml'}\n" in told
    left = {path.name for path in tmp_path.glob("*.y*ml")}
    assert {"fixfirst-gpus.rules.yml", "fixfirst-gpus_test.yml", OPERATOR}.isdisjoint(left)
    assert {"own.rules.yml", "fixfirst-users.rules.yml"} <= left


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    told = CliRunner().invoke(main, ["rules", "generate", "--out", str(tmp_path / "taken" / "alerts")])
    assert told.exit_code == 1
    assert told.output.startswith(f"Error: {tmp_path / 'taken'}")
    assert "cannot be written" in told.output


def test_the_document_lists_every_alert_as_it_is() -> None:
    document = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert catalogue(pack(EVERYTHING)) in document


def test_faults_of_objectives_name_their_key(tmp_path: Path) -> None:
    tables = [
        {"name": "A B"},
        {"name": "a", "sli": "ttft"},
        {"name": "a", "target": 1.5},
        {"name": "b", "total": "sum(rate(x[5m]))"},
        {"name": "c", "sli": "own", "total": "sum(", "errors": "x"},
        {"name": "d", "window": "90d", "colour": "red"},
        {"name": "e", "good": "x"},
    ]
    config, faults = read({"slo": tables, "rules": {"engines": ["vlm"]}}, tmp_path, lambda _: None)
    assert config is None
    told = "\n".join(faults)
    for part in (
        "slo[1].name: is 'A B'",
        "slo[2].within_seconds: is missing",
        "slo[3].name: is a, as another objective's",
        "slo[3].target: is 1.5",
        "slo[4].total: must stand beside either errors or good",
        "slo[5].total: is no PromQL",
        "slo[6].window: is '90d', but must be one of 7d, 28d, 30d",
        "slo[6].colour: is not a setting",
        "slo[7].good: is for an SLI of your own",
        "rules.engines: 'vlm' is not known; use vllm",
    ):
        assert part in told, part
