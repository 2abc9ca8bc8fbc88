"""The telemetry of a story: a real Prometheus with an invented past in which llama-70b had a fault and got over it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.health.conftest import PAST, Past, needed, prometheus
from tests.story.night import Night, open_night

AGO = 20 * 60
"""Seconds since the alert."""
LONG_OVER = 10 * 60
"""Seconds since the end of a fault that the last five minutes know nothing of."""
JUST_OVER = 60


@dataclass(frozen=True)
class Fault:
    """What users felt from the alert until `until` seconds ago: the share of errors, and that of late first tokens."""

    errors: float = 0.0
    late: float = 0.0
    until: float = LONG_OVER

    def during(self, t: float) -> float:
        """Seconds of the fault that have passed when `t` seconds of the past have."""
        return min(max(t - (PAST - AGO), 0), AGO - self.until)


Engine = Callable[[Past, Fault], None]


def grows(past: Past, name: str, labels: dict[str, str], rate: float, extra: float, fault: Fault) -> None:
    """A counter that gains `rate` a second, and `extra` more while the fault lasts."""
    past.gauge(name, labels, lambda t: 1000 + rate * t + extra * fault.during(t))


def first_tokens(past: Past, family: str, labels: dict[str, str], fault: Fault) -> None:
    """All within half a second; of those in the fault, `late` take between 5 and 10 s."""
    late = 10 * fault.late
    for edge, rate, extra in (("0.5", 10, -late), ("2.5", 10, -late), ("5", 10, -late), ("10", 10, 0), ("+Inf", 10, 0)):
        grows(past, f"{family}_bucket", {**labels, "le": edge}, rate, extra, fault)
    grows(past, f"{family}_count", labels, 10, 0, fault)


def vllm(past: Past, fault: Fault, **more: str) -> None:
    labels = {"job": "vllm", "instance": "vllm-0:8000", "model_name": "llama-70b", **more}
    http = {**labels, "handler": "/v1/chat/completions"}
    grows(past, "http_requests_total", {**http, "status": "2xx"}, 10, -10 * fault.errors, fault)
    grows(past, "http_requests_total", {**http, "status": "5xx"}, 0, 10 * fault.errors, fault)
    first_tokens(past, "vllm:time_to_first_token_seconds", labels, fault)
    past.gauge("vllm:num_requests_waiting", labels, 1)
    past.gauge("vllm:num_requests_running", labels, 8)


def sglang(past: Past, fault: Fault) -> None:
    labels = {"job": "sglang", "instance": "sglang-0:30000", "model_name": "llama-70b"}
    grows(past, "sglang:num_requests_total", labels, 10, 0, fault)
    grows(past, "sglang:num_aborted_requests_total", labels, 0, 10 * fault.errors, fault)
    first_tokens(past, "sglang:time_to_first_token_seconds", labels, fault)
    past.gauge("sglang:num_queue_reqs", labels, 1)


def triton(past: Past, fault: Fault) -> None:
    labels = {"job": "triton", "instance": "triton-0:8002", "model": "llama-70b", "version": "1"}
    grows(past, "nv_inference_request_success", labels, 10, -10 * fault.errors, fault)
    grows(past, "nv_inference_request_failure", {**labels, "reason": "BACKEND"}, 0, 10 * fault.errors, fault)
    grows(past, "nv_inference_request_duration_us", labels, 3e6, 0, fault)
    past.gauge("nv_inference_pending_request_count", labels, 1)


def gpus(past: Past, xid: float = 0, ago: float = 0) -> None:
    """Two GPUs; on one of them an Xid, so many seconds ago."""
    for gpu in ("0", "1"):
        labels = {"gpu": gpu, "UUID": f"GPU-{gpu}", "Hostname": "node-1", "job": "dcgm", "instance": "node-1:9400"}
        past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 50)
        late = xid if gpu == "1" else 0
        past.gauge("DCGM_FI_DEV_XID_ERRORS", labels, lambda t, late=late: late if t >= PAST - ago else 0)  # type: ignore[misc]


@contextmanager
def remembering(folder: Path, past: Past) -> Iterator[str]:
    """A Prometheus over that past; its address."""
    folder.mkdir()
    (folder / "past.om").write_text(past.text())
    command = ["tsdb", "create-blocks-from", "openmetrics", str(folder / "past.om"), str(folder / "data")]
    subprocess.run([needed("promtool"), *command], check=True, capture_output=True, timeout=60)
    with prometheus(folder, "global: {scrape_interval: 1h}\n") as url:
        yield url


@contextmanager
def watched(folder: Path, url: str, more: str = "") -> Iterator[Night]:
    """A night that began twenty minutes ago, with its telemetry at `url`, and `more` tables in its configuration."""
    settings = {
        "[prometheus]\n": f"{more}[prometheus]\n",
        "[prometheus]\nurl = ": f'[prometheus]\nurl = "{url}"  # and not ',
        'timeout = "5s"': 'timeout = "8s"',
        '[health]\nwindow = "30s"\nmemory = "6m"': '[health]\nwindow = "5m"',
        '[proof]\nquiet = "30s"': '[proof]\nquiet = "5m"',
    }
    began = datetime.now(UTC) - timedelta(seconds=AGO)
    with open_night(folder / "night", proven=True, settings=settings, at=began) as night:
        yield night
