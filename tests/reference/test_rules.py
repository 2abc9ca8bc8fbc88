"""Rules as they circulate, before a Prometheus that holds what real exporters said; and the counters we ask for."""

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from bot.cli import main
from bot.health.rules.counters import COUNTERS
from tests.health.conftest import Past
from tests.reference.test_scrapes import read

Remembering = Callable[[Past], str]
BROKEN = {
    "SlowFirstToken": "histogram_quantile(0.99, rate(vllm:time_to_first_token_seconds_bucket[5m])) > 2000",
    "RequestsFail": "rate(vllm_request_failure_total[5m]) > 0",
    "GpuMemoryHigh": "DCGM_FI_DEV_FB_USED / DCGM_FI_DEV_FB_TOTAL > 0.9",
    "GpuXid": "DCGM_FI_DEV_XID_ERRORS > 0",
}
"""Three that never fire, and one that fires ten hours after a harmless fault."""


def test_the_doctor_finds_the_broken_rules_before_real_scrapes(
    data: Path, remembering: Remembering, tmp_path: Path
) -> None:
    past = Past()
    read(past, data / "gpu" / "vllm_opt125m_datadog.prom", "vllm")
    for name in (data / "gpu" / "dcgm_h100_names_4.5.3_issue646.txt").read_text(encoding="utf-8").split():
        past.gauge(name, {"UUID": "GPU-1", "hostname": "node-1", "job": "dcgm", "instance": "node-1:9400"}, 0)
    rules = "".join(f"      - {{alert: {name}, expr: '{expr}'}}\n" for name, expr in BROKEN.items())
    file = tmp_path / "public.yml"
    file.write_text(f"groups:\n  - name: public\n    rules:\n{rules}")
    told = CliRunner().invoke(main, ["rules", "doctor", "--prometheus", remembering(past), "--file", str(file)])
    assert told.exit_code == 1, told.output
    assert [name for name in BROKEN if name not in told.output] == [], told.output


def test_the_counters_hold_all_that_the_exporter_gives_by_default(data: Path) -> None:
    lines = (data / "gpu" / "dcgm_default_counters.csv").read_text(encoding="utf-8").splitlines()
    default = {
        name: kind
        for name, kind, *_ in ([part.strip() for part in line.split(",")] for line in lines if line.startswith("DCGM"))
    }
    ours = {name: kind for _, counters in COUNTERS for name, kind, _ in counters}
    assert {name: ours.get(name) for name in default} == default
