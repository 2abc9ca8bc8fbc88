"""What one replica's own metrics page says, in the names of every server that the checks know.

Written from the servers' own pages and not from `bot.health.engines`: a name that is wrong there finds nothing here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.health.conftest import PAST, Past

Value = Callable[[float], float]
EDGES = ("0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")


def steps(before: float, after: float, ago: float) -> Value:
    """One value, then another."""
    return lambda t: after if t > PAST - ago else before


def grows(before: float, after: float, ago: float) -> Value:
    """A counter whose pace changes."""
    return lambda t: 1000 + before * t + (after - before) * max(0.0, t - (PAST - ago))


@dataclass(frozen=True)
class Replica:
    """What one replica does after `ago`: shares of its requests, requests a second, requests, tokens a second.

    late: share of the first tokens that come in the bucket before `by`. mean: seconds of a request where only a mean is
    told; None for what `late` makes of it. nan: answers a second with NaN in them.
    """

    ago: float = 300
    failing: float = 0.0
    late: float = 0.0
    by: str = "10.0"
    mean: float | None = None
    arriving: float = 5.0
    running: float = 8.0
    waiting: float = 0.0
    kv: float = 0.4
    put_back: float = 0.0
    tokens: float = 200.0
    nan: float = 0.0
    gone: bool = False


@dataclass(frozen=True)
class Page:
    """One replica's page. labels: of its target."""

    past: Past
    labels: Mapping[str, str]
    model: str
    what: Replica

    def counter(self, name: str, more: Mapping[str, str], before: float, after: float) -> None:
        what = self.what
        self._write(name, more, grows(before, after, what.ago))

    def gauge(self, name: str, more: Mapping[str, str], before: float, after: float) -> None:
        self._write(name, more, steps(before, after, self.what.ago))

    def histogram(self, family: str, more: Mapping[str, str], scale: float = 1) -> None:
        """A latency of 5 requests a second, within half a second until `ago`."""
        what = self.what
        for edge in EDGES:
            within = 1.0 if float(edge) >= float(what.by) else 1 - what.late
            said = edge if scale == 1 or edge == "+Inf" else f"{float(edge) * scale:g}"
            self.counter(f"{family}_bucket", {**more, "le": said}, 5.0, what.arriving * within)
        self.counter(f"{family}_count", more, 5.0, what.arriving)

    @property
    def good(self) -> float:
        """Requests a second that are answered; a hung engine answers none."""
        return self.what.arriving * (1 - self.what.failing) * (1 if self.what.tokens else 0)

    @property
    def bad(self) -> float:
        """Requests a second that fail."""
        return self.what.arriving * self.what.failing

    def _write(self, name: str, more: Mapping[str, str], value: Value) -> None:
        self.past.gauge(name, {**self.labels, **more}, value, self.what.ago if self.what.gone else 0)


def _vllm(page: Page, prefix: str = "vllm:", kv: str = "kv_cache_usage_perc") -> None:
    labels, what = {"model_name": page.model, "engine": "0"}, page.what
    if prefix == "vllm:":
        http = {"handler": "/v1/chat/completions"}
        page.counter("http_requests_total", {**http, "status": "2xx"}, 5.0, what.arriving * (1 - what.failing))
        page.counter("http_requests_total", {**http, "status": "5xx"}, 0.0, page.bad)
    finished = f"{prefix}request_success_total"
    page.counter(finished, {**labels, "finished_reason": "stop"}, 5.0, what.arriving * (1 - what.failing))
    page.counter(finished, {**labels, "finished_reason": "error"}, 0.0, page.bad)
    page.gauge(f"{prefix}num_requests_running", labels, 8.0, what.running)
    page.gauge(f"{prefix}num_requests_waiting", labels, 0.0, what.waiting)
    page.gauge(f"{prefix}{kv}", labels, 0.4, what.kv)
    page.counter(f"{prefix}num_preemptions_total", labels, 0.0, what.put_back)
    page.counter(f"{prefix}generation_tokens_total", labels, 200.0, what.tokens)
    page.counter(f"{prefix}prompt_tokens_total", labels, 600.0, 3 * what.tokens)
    page.counter(f"{prefix}corrupted_requests_total", labels, 0.0, what.nan)
    page.histogram(f"{prefix}time_to_first_token_seconds", labels)


def _sglang(page: Page) -> None:
    labels, what = {"model_name": page.model}, page.what
    page.counter("sglang:num_requests_total", labels, 5.0, what.arriving)
    page.counter("sglang:num_aborted_requests_total", labels, 0.0, page.bad)
    page.gauge("sglang:num_running_reqs", labels, 8.0, what.running)
    page.gauge("sglang:num_queue_reqs", labels, 0.0, what.waiting)
    page.gauge("sglang:token_usage", labels, 0.4, what.kv)
    page.counter("sglang:num_retracted_requests_total", labels, 0.0, what.put_back)
    page.counter("sglang:generation_tokens_total", labels, 200.0, what.tokens)
    page.histogram("sglang:time_to_first_token_seconds", labels)


def _triton(page: Page) -> None:
    labels, what = {"model": page.model, "version": "1"}, page.what
    page.counter("nv_inference_request_success", labels, 5.0, page.good)
    page.counter("nv_inference_request_failure", {**labels, "reason": "BACKEND"}, 0.0, page.bad)
    seconds = 0.8 + 9 * what.late if what.mean is None else what.mean
    page.counter("nv_inference_request_duration_us", labels, 5 * 0.8e6, page.good * seconds * 1e6)
    page.gauge("nv_inference_pending_request_count", labels, 0.0, what.waiting)


def _triton_llm(page: Page) -> None:
    """With the TensorRT-LLM backend, and the histogram that has to be asked for."""
    labels = {"model": page.model, "version": "1"}
    _triton(page)
    page.histogram("nv_inference_first_response_histogram_ms", labels, scale=1000)
    blocks = {**labels, "kv_cache_block_type": "fraction"}
    page.gauge("nv_trt_llm_kv_cache_block_metrics", blocks, 0.4, page.what.kv)


def _trtllm(page: Page) -> None:
    labels, what = {"model_name": page.model, "engine_type": "trtllm"}, page.what
    finished = "trtllm_request_success_total"
    page.counter(finished, {**labels, "finished_reason": "stop"}, 5.0, what.arriving * (1 - what.failing))
    page.counter(finished, {**labels, "finished_reason": "timeout"}, 0.0, page.bad)
    page.gauge("trtllm_num_requests_running", labels, 8.0, what.running)
    page.gauge("trtllm_num_requests_waiting", labels, 0.0, what.waiting)
    page.gauge("trtllm_kv_cache_utilization", labels, 0.4, what.kv)
    page.counter("trtllm_generation_tokens_total", labels, 200.0, what.tokens)
    page.histogram("trtllm_time_to_first_token_seconds", labels)


def _tgi(page: Page, labels: Mapping[str, str]) -> None:
    """It names no model: a ServiceMonitor's `service` does, else the scrape's job."""
    what = page.what
    page.counter("tgi_request_success", labels, 5.0, page.good)
    page.counter("tgi_request_failure", {**labels, "err": "overloaded"}, 0.0, page.bad)
    page.gauge("tgi_batch_current_size", labels, 8.0, what.running)
    page.gauge("tgi_queue_size", labels, 0.0, what.waiting)
    page.counter("tgi_batch_inference_count", labels, 200.0, what.tokens)
    page.histogram("tgi_request_queue_duration", labels)


def _ray(page: Page) -> None:
    labels, what = {"deployment": page.model, "application": "chat", "replica": page.labels["pod"]}, page.what
    page.counter("ray_serve_deployment_request_counter_total", labels, 5.0, what.arriving)
    page.counter("ray_serve_deployment_error_counter_total", labels, 0.0, page.bad)
    page.gauge("ray_serve_deployment_queued_queries", labels, 0.0, what.waiting)
    page.histogram("ray_serve_deployment_processing_latency_ms", labels, scale=1000)


def _nim(page: Page) -> None:
    labels, what = {"model_name": page.model}, page.what
    page.counter("request_success_total", labels, 5.0, what.arriving * (1 - what.failing))
    page.counter("request_failure_total", labels, 0.0, page.bad)
    stopped, cut = ({**labels, "finished_reason": reason} for reason in ("stop", "length"))
    page.counter("request_finish_total", stopped, 5.0, what.arriving * (1 - what.failing))
    page.counter("request_finish_total", cut, 0.0, page.bad)
    page.gauge("num_requests_running", labels, 8.0, what.running)
    page.gauge("num_requests_waiting", labels, 0.0, what.waiting)
    page.gauge("gpu_cache_usage_perc", labels, 0.4, what.kv)
    page.counter("generation_tokens_total", labels, 200.0, what.tokens)
    page.counter("prompt_tokens_total", labels, 600.0, 3 * what.tokens)
    page.histogram("time_to_first_token_seconds", labels)


def _dynamo(page: Page) -> None:
    labels, what = {"model": page.model}, page.what
    asked = "dynamo_frontend_requests_total"
    page.counter(asked, {**labels, "status": "success"}, 5.0, what.arriving * (1 - what.failing))
    page.counter(asked, {**labels, "status": "error", "error_type": "internal"}, 0.0, page.bad)
    page.gauge("dynamo_frontend_inflight_requests", labels, 8.0, what.running)
    page.gauge("dynamo_frontend_queued_requests", labels, 0.0, what.waiting)
    page.gauge("dynamo_component_gpu_cache_usage_percent", labels, 0.4, what.kv)
    page.counter("dynamo_frontend_output_tokens_total", labels, 200.0, what.tokens)
    page.histogram("dynamo_frontend_time_to_first_token_seconds", labels)


EngineName = Literal[
    "vllm", "vllm-old", "vllm-ray", "sglang", "triton", "triton-llm", "trtllm", "tgi", "tgi-job", "ray", "nim", "dynamo"
]
DIALECTS: dict[EngineName, Callable[[Page], None]] = {
    "vllm": _vllm,
    "vllm-old": lambda page: _vllm(page, kv="gpu_cache_usage_perc"),
    "vllm-ray": lambda page: _vllm(page, "ray_vllm_"),
    "sglang": _sglang,
    "triton": _triton,
    "triton-llm": _triton_llm,
    "trtllm": _trtllm,
    "tgi": lambda page: _tgi(page, {"service": page.model}),
    "tgi-job": lambda page: _tgi(page, {"job": page.model}),
    "ray": _ray,
    "nim": _nim,
    "dynamo": _dynamo,
}
