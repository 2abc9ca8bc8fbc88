"""The doctor before a real Prometheus: rules as they circulate, sound ones, and each known way to mislead."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from bot.cli import main
from bot.health.rules.watched import Scope
from bot.health.rules.write import files
from tests.health.conftest import Past
from tests.rules.conftest import Loaded
from tests.servers import free_port

VLLM = {
    "job": "vllm",
    "instance": "10.0.0.1:8000",
    "namespace": "inference",
    "model_name": "llama-70b",
    "pod": "vllm-0",
}
GPU = {"UUID": "GPU-1", "gpu": "0", "hostname": "node-1", "job": "dcgm", "instance": "10.0.0.9:9400"}
CONTAINER = {"namespace": "inference", "pod": "vllm-0", "container": "vllm"}


def fleet() -> Past:
    """A vLLM of today with DCGM's exporter from 4.5.3 on, scraped without honorLabels, and kube-state-metrics."""
    past = Past()
    past.gauge("up", {"job": "vllm", "instance": "10.0.0.1:8000"}, 1)
    past.gauge("vllm:num_requests_running", VLLM, 4)
    past.gauge("vllm:num_requests_waiting", VLLM, 0)
    past.gauge("vllm:kv_cache_usage_perc", VLLM, 0.4)
    past.counter("vllm:request_success_total", {**VLLM, "finished_reason": "stop"}, 2)
    past.counter("vllm:generation_tokens_total", VLLM, 400)
    past.counter("vllm:num_preemptions_total", VLLM, 0)
    past.counter("http_requests_total", {**CONTAINER, "handler": "/v1/completions", "status": "2xx"}, 2)
    for family in ("vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds"):
        past.histogram(family, VLLM, {"0.5": 1, "2.5": 0.5, "5.0": 0.1, "30.0": 0.1, "+Inf": 0})
    workload = {**GPU, "pod": "dcgm-x1", "exported_pod": "vllm-0"}
    for name, value in (
        ("DCGM_FI_DEV_GPU_TEMP", 60),
        ("DCGM_FI_DEV_GPU_UTIL", 80),
        ("DCGM_FI_DEV_FB_USED", 70_000),
        ("DCGM_FI_DEV_FB_FREE", 9_000),
        ("DCGM_FI_DEV_XID_ERRORS", 0),
    ):
        past.gauge(name, workload, value)
    past.counter("DCGM_FI_DEV_THERMAL_VIOLATION", workload, 0)
    past.gauge("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", workload, 0.4)
    past.counter("kube_pod_container_status_restarts_total", CONTAINER, 0)
    past.gauge("kube_pod_container_status_last_terminated_reason", {**CONTAINER, "reason": "Error"}, 1)
    past.gauge("kube_node_status_condition", {"node": "node-1", "condition": "Ready", "status": "true"}, 1)
    return past


def rule_file(**rules: str) -> str:
    """Alerts by name."""
    listed = [{"alert": name, "expr": expr} for name, expr in rules.items()]
    return yaml.safe_dump({"groups": [{"name": "circulating", "rules": listed}]}, sort_keys=False)


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rules", "doctor", *arguments])


def said(output: str) -> dict[str, str]:
    """Rule -> everything the doctor said of it."""
    told: dict[str, str] = {}
    for part in output.split("\n\n"):
        name = part.split(" ", 1)[0].removeprefix("circulating/")
        told[name] = told.get(name, "") + " ".join(part.split()) + "\n"
    return told


PUBLIC = {
    "SlowFirstToken": "histogram_quantile(0.99, sum by (le) (rate("
    "vllm:time_to_first_token_seconds_bucket[5m]))) > 2000",
    "RequestFailures": "rate(vllm_request_failure_total[5m]) > 0",
    "MemoryFull": "DCGM_FI_DEV_FB_USED / DCGM_FI_DEV_FB_TOTAL > 0.9",
    "XidError": "DCGM_FI_DEV_XID_ERRORS > 0",
}


def test_the_rules_that_circulate_are_found_with_what_to_write_instead(loaded: Loaded) -> None:
    result = doctor("--prometheus", loaded(fleet(), rule_file(**PUBLIC)))
    assert result.exit_code == 1, result.output
    told = said(result.output)
    assert "SlowFirstToken never fires" in told["SlowFirstToken"]
    assert "in seconds, and 2000 of them are 33 minutes" in told["SlowFirstToken"]
    assert "> 2, if milliseconds were meant" in told["SlowFirstToken"]
    assert "there was no metric vllm_request_failure_total" in told["RequestFailures"]
    assert 'vllm:request_success_total{finished_reason="error"}' in told["RequestFailures"]
    assert "there was no metric DCGM_FI_DEV_FB_TOTAL" in told["MemoryFull"]
    assert "DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE + DCGM_FI_DEV_FB_RESERVED" in told["MemoryFull"]
    assert "XidError misleads" in told["XidError"]
    assert "changes(DCGM_FI_DEV_XID_ERRORS[15m]) > 0" in told["XidError"]
    assert "loaded.rules.yml" in told["XidError"]
    assert "4 rules examined, 4 with something wrong" in result.output


SICK = {
    "NearestName": ("vllm_num_requests_waiting > 10", "vllm:num_requests_waiting, if that is meant"),
    "OldName": ("vllm:gpu_cache_usage_perc > 0.9", "vllm:kv_cache_usage_perc, its name since 2025"),
    "WrongLabel": ('DCGM_FI_DEV_GPU_TEMP{Hostname="node-1"} > 85', "hostname: so the label is called here"),
    "NoSuchLabel": ('vllm:num_requests_waiting{cluster="eu"} > 5', "has a label cluster"),
    "NoSuchJob": ('up{job="vllm-prod"} == 0', 'no series of up has job="vllm-prod"'),
    "NoSuchEdge": (
        '1 - rate(vllm:time_to_first_token_seconds_bucket{le="2"}[5m]) / '
        "rate(vllm:time_to_first_token_seconds_count[5m]) > 0.1",
        "an edge of this histogram: 0.5, 2.5, 5.0, 30.0, +Inf",
    ),
    "AboveTheLastEdge": (
        "histogram_quantile(0.99, rate(vllm:e2e_request_latency_seconds_bucket[5m])) > 60",
        "the last edge of vllm:e2e_request_latency_seconds_bucket is 30 s",
    ),
    "RatioAsPercent": ("avg_over_time(vllm:kv_cache_usage_perc[5m]) > 90", "> 0.9"),
    "PercentAsRatio": ("max by (UUID) (DCGM_FI_DEV_GPU_UTIL) > 0.9", "goes from 0 to 100"),
    "TensorPercent": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE >= 50", "it is never >= 50"),
    "Microseconds": ("rate(DCGM_FI_DEV_THERMAL_VIOLATION[5m]) / 1e6 > 0.5", "counts nanoseconds"),
    "MemoryUnderVllm": ("DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE) > 0.9", "vLLM reserves"),
    "CounterAsLevel": ("kube_pod_container_status_restarts_total > 3", "is a counter: it only ever grows"),
    "BucketAsLevel": (
        'sum(vllm:time_to_first_token_seconds_bucket{le="0.5"}) > 100',
        "counts requests up to a duration",
    ),
    "CountOfNothing": ("count(vllm:num_requests_running) == 0", "the count of no series is nothing, not 0"),
    "StickyEnd": (
        'kube_pod_container_status_last_terminated_reason{reason="Error"} == 1',
        "increase(kube_pod_container_status_restarts_total[15m]) > 0",
    ),
    "GroupedByOldName": ("max by (Hostname) (DCGM_FI_DEV_GPU_TEMP) > 85", "they say hostname"),
    "JoinedByOldName": (
        "DCGM_FI_DEV_GPU_TEMP > 85 and on (Hostname) DCGM_FI_DEV_GPU_UTIL > 50",
        "on (Hostname), but these series have no Hostname",
    ),
}
SOUND = {
    "Waiting": "vllm:num_requests_waiting > 10",
    "EitherName": "vllm:kv_cache_usage_perc > 0.9 or vllm:gpu_cache_usage_perc > 0.9",
    "EitherLabel": "max by (Hostname, hostname) (DCGM_FI_DEV_GPU_TEMP) > 85",
    "Renamed": 'max by (node) (label_replace(DCGM_FI_DEV_GPU_TEMP, "node", "$1", "hostname", "(.+)")) > 85',
    "NewXid": "DCGM_FI_DEV_XID_ERRORS > 0 and changes(DCGM_FI_DEV_XID_ERRORS[15m]) > 0",
    "CountedXid": "DCGM_EXP_XID_ERRORS_COUNT > 0",
    "NeverYet": 'increase(http_requests_total{status="5xx"}[5m]) > 0',
    "Throttled": "rate(DCGM_FI_DEV_THERMAL_VIOLATION[5m]) / 1e9 > 0.1",
    "Restarted": "increase(kube_pod_container_status_restarts_total[15m]) > 0 and on (namespace, pod, container) "
    'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1',
    "Slow": "histogram_quantile(0.99, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m]))) > 2.5",
    "EitherEdge": 'rate(vllm:time_to_first_token_seconds_bucket{le=~"5(\\\\.0)?"}[5m]) < 0.1',
    "Gone": "absent(vllm:num_requests_swapped)",
    "Down": 'up{job=~".*vllm.*"} == 0',
    "WithoutMissing": "vllm:num_requests_waiting > 10 unless on () maintenance == 1",
    "Percent": "100 * vllm:kv_cache_usage_perc > 90",
    "NotReady": 'kube_node_status_condition{condition="Ready",status="true"} == 0',
}


def test_each_way_to_mislead_is_named_and_sound_rules_are_left_alone(loaded: Loaded) -> None:
    sick = {name: expr for name, (expr, _) in SICK.items()}
    result = doctor("--prometheus", loaded(fleet(), rule_file(**sick, **SOUND)))
    told = said(result.output)
    for name, (_, words) in SICK.items():
        assert name in told, name
        assert words in told[name], (name, told[name])
    assert not set(told) & set(SOUND), {name: told[name] for name in set(told) & set(SOUND)}
    assert result.exit_code == 1


def test_the_pack_is_sound_where_its_engines_and_exporters_are(loaded: Loaded) -> None:
    """Nothing in it misleads; what cannot fire is what this fleet does not export, and the doctor says which."""
    rules = [yaml.safe_load(text) for name, text in files(Scope(), "prometheus").items() if name.endswith(".rules.yml")]
    whole = yaml.safe_dump({"groups": [group for file in rules for group in file["groups"]]})
    result = doctor("--prometheus", loaded(fleet(), whole))
    assert "misleads" not in result.output, result.output
    silent = {line.split()[0].partition("/")[2] for line in result.output.splitlines() if " never fires" in line}
    assert silent.isdisjoint({"LLMErrorRatioHigh", "LLMEngineStalled", "LLMKVCacheSaturated", "GPUVanished"}), (
        result.output
    )
    assert "GPUPcieReplay" in silent  # this exporter leaves the counter out


def test_a_file_is_examined_before_it_is_loaded(loaded: Loaded, tmp_path: Path) -> None:
    url = loaded(fleet(), rule_file(Waiting="vllm:num_requests_waiting > 10"))
    assert doctor("--prometheus", url).exit_code == 0
    new = tmp_path / "new.yml"
    recorded = {"record": "job:waiting:sum", "expr": "sum by (job) (vllm:num_requests_waiting)"}
    fires = {"alert": "Queue", "expr": "job:waiting:sum > 10"}
    cannot = {"alert": "Never", "expr": "vllm:waiting > 10"}
    new.write_text(yaml.safe_dump({"spec": {"groups": [{"name": "g", "rules": [recorded, fires, cannot]}]}}))
    result = doctor("--prometheus", url, "--file", str(new))
    assert result.exit_code == 1
    assert "g/Never never fires" in result.output
    assert "g/Queue" not in result.output
    assert str(new) in result.output


@pytest.mark.parametrize("text", ["groups: 3", "[", "a: b"])
def test_a_file_that_holds_no_rules_is_said_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_text(text)
    result = doctor("--prometheus", f"http://127.0.0.1:{free_port()}", "--file", str(tmp_path / "odd.yml"))
    assert result.exit_code == 2
    assert "odd.yml" in result.output


def test_a_rule_that_cannot_be_read_is_told_and_the_others_are_examined(loaded: Loaded, tmp_path: Path) -> None:
    url = loaded(fleet(), rule_file(Waiting="vllm:num_requests_waiting > 10"))
    new = tmp_path / "new.yml"
    deep = "(" * 500 + "up" + ")" * 500
    new.write_text(
        rule_file(Torn="sum(rate(up[5m])", Deep=deep, Long="up" + " + up" * 5000, Xid="DCGM_FI_DEV_XID_ERRORS > 0")
    )
    result = doctor("--prometheus", url, "--file", str(new))
    told = said(result.output)
    assert "cannot be read" in told["Torn"]
    assert "circulating/Deep was not examined: it is larger than can be read safely" in result.output
    assert "circulating/Long was not examined" in result.output
    assert "misleads" in told["Xid"]


def test_a_prometheus_that_is_not_there_ends_with_2_and_without_a_password() -> None:
    result = doctor("--prometheus", f"http://me:s3cret@127.0.0.1:{free_port()}")
    assert result.exit_code == 2
    assert "cannot be reached" in result.output
    assert "s3cret" not in result.output
