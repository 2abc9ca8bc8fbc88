"""The rule file and the real Prometheus and Alertmanager over the fleet, as far as they are installed."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import bot.workbench.monitoring as monitoring_package
from bot.workbench.launch import Options, Workbench
from bot.workbench.monitoring import APT_LINE
from bot.workbench.settings import Ports

HERE = Path(monitoring_package.__file__).parent
ANY = Ports(page=0, pagerduty=0, fleet=0, prometheus=0, alertmanager=0, doors=0, pages=0)
Eventually = Callable[[Callable[[], object], float], None]
NAMES = {
    "LLMErrorRatioHigh",
    "LLMTTFTp99AboveSLA",
    "LLMKVCacheSaturated",
    "LLMQueueGrowing",
    "LLMNoCapacity",
    "LLMEngineStalled",
    "LLMRestartLoop",
    "ModelDown",
    "GPUVanished",
    "GPUXidNeedsDrain",
    "GPUMemoryErrorContained",
    "GPUMemoryErrorUncontained",
    "GPUThermalSlowdown",
    "GPUTelemetryBlind",
    "ModelDriftPSI",
    "ModelCanaryFailing",
    "TokenSpike",
}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip with the line that installs it when a Debian program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: {APT_LINE}")


@dataclass
class Sink:
    """A webhook receiver in the bot's place: keeps (status, alertname, model) and the Authorization header."""

    alerts: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def has(self, status: str, name: str) -> bool:
        return any(kind == status and labels["alertname"] == name for kind, labels, _ in self.alerts)


@pytest.fixture
def sink() -> Iterator[tuple[Sink, int]]:
    kept = Sink()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            kept.tokens.add(self.headers["authorization"])
            kept.alerts += [(alert["status"], alert["labels"], alert["annotations"]) for alert in body["alerts"]]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kept, server.server_address[1]
        server.shutdown()
        thread.join()


def test_every_alert_says_what_where_and_how_bad() -> None:
    groups = yaml.safe_load((HERE / "rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == NAMES
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}


@needs("promtool")
def test_promtool_accepts_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", HERE / "rules.yml"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(NAMES)} rules found" in checked.stdout


@needs("prometheus", "prometheus-alertmanager")
def test_a_bad_deploy_is_an_alert_in_seconds_and_a_rollback_resolves_it(
    tmp_path: Path, manifest: Path, sink: tuple[Sink, int], eventually: Eventually
) -> None:
    kept, port = sink
    bench = Workbench(Options(ports=ANY, directory=tmp_path / "s", bot=False, manifest=manifest))
    url = f"http://127.0.0.1:{port}/hooks/alertmanager"
    bench.monitoring.config = replace(bench.monitoring.config, webhook_url=url)
    with bench:
        assert (bench.monitoring.state("prometheus"), bench.monitoring.state("alertmanager")) == ("up", "up")
        bench.fleet.set_fault("bad-deploy", True)
        eventually(lambda: kept.has("firing", "LLMErrorRatioHigh"), 60)
        labels = next(labels for _, labels, _ in kept.alerts if labels["alertname"] == "LLMErrorRatioHigh")
        assert labels == {
            "alertname": "LLMErrorRatioHigh",
            "severity": "critical",
            "service": "chat",
            "model_name": "llama-70b",
            "namespace": "inference",
        }
        assert kept.alerts[0][2]["runbook"] == "rollback-model-deploy"
        assert kept.tokens == {f"Bearer {bench.secrets.alertmanager_token}"}
        bench.fleet.deploy("llama-70b", "r41")
        eventually(lambda: kept.has("resolved", "LLMErrorRatioHigh"), 120)
    assert bench.monitoring.state("prometheus") == "down"
