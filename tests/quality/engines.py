"""The metrics pages of the engines: names, labels and bucket edges of each, counted from what its replica did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.quality.load import RECENT_S, Load, Noise, generator
from tests.quality.openmetrics import Floats, Indices, Mask, Page
from tests.quality.world import NAMESPACE, Pod, Slot, World

_FIRST_MEDIAN_S, _FIRST_SIGMA = 0.3, 0.4217  # p99 of 0.8 s
_WHOLE_SIGMA = 0.6
_BETWEEN_S, _BETWEEN_SIGMA = 0.02, 0.3
_SAMPLED = 25  # one in so many gaps between tokens is drawn, and stands for all of them

VLLM_FIRST = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
VLLM_OLD_FIRST = (*VLLM_FIRST[:16],)
VLLM_WHOLE = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
    120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
VLLM_OLD_WHOLE = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
VLLM_BETWEEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
SGLANG_FIRST = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0,
)  # fmt: skip
SGLANG_WHOLE = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
SGLANG_BETWEEN = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
TGI_SECONDS = tuple(0.0001 * 1.5**power for power in range(1, 36))


@dataclass(frozen=True)
class Target:
    """One scraped engine over one life of its pod: what its page counts from 0 on."""

    page: Page
    labels: Mapping[str, str]
    t: Floats
    scraped: Mask
    counted: Mask  # the process runs; a new run counts from 0
    rng: np.random.Generator

    @property
    def recent(self) -> Mask:
        """The last 90 minutes, at the scrape's own step."""
        return self.scraped & (self.t >= -RECENT_S)

    def gauge(self, name: str, values: Floats, more: Mapping[str, str] | None = None) -> None:
        """A level."""
        self.page.add(name, {**self.labels, **(more or {})}, self.t, values, self.recent & self.counted)

    def counter(self, name: str, increments: Floats, more: Mapping[str, str] | None = None, long: bool = False) -> None:
        """A count that starts anew with the process. `long`: a day of it, not 90 minutes."""
        shown = (self.scraped if long else self.recent) & self.counted
        self.page.add(name, {**self.labels, **(more or {})}, self.t, self.runs(increments), shown)

    def runs(self, increments: Floats) -> Floats:
        """The sum so far, from 0 again after each pause."""
        steps = np.where(self.counted, increments, 0.0)
        total = np.cumsum(steps)
        began = self.counted & ~np.concatenate([[False], self.counted[:-1]])
        base = np.where(began, total - steps, 0.0)
        return np.asarray(total - np.maximum.accumulate(base))

    def histogram(
        self,
        name: str,
        edges: Sequence[float],
        values: Floats,
        moments: Indices,
        more: Mapping[str, str] | None = None,
        weight: int = 1,
    ) -> None:
        """Single observations, each at the moment (an index of `t`) at which its request ended."""
        size = self.t.size
        place = np.searchsorted(np.asarray(edges), values, side="left")
        cells = np.bincount(moments * (len(edges) + 1) + place, minlength=size * (len(edges) + 1))
        counts = weight * np.cumsum(cells.reshape(size, len(edges) + 1), axis=1).astype(np.float64)
        for column, edge in enumerate([*map(_edge, edges), "+Inf"]):
            self.counter(f"{name}_bucket", counts[:, column], {**(more or {}), "le": edge})
        self.counter(f"{name}_count", counts[:, -1], more)
        self.counter(
            f"{name}_sum", np.bincount(moments, weights=weight * values, minlength=size).astype(np.float64), more
        )


def _edge(value: float) -> str:
    return f"{value:.6g}" if value != int(value) else f"{value:.1f}"


@dataclass(frozen=True)
class Done:
    """What ended at each moment, in whole requests and tokens, and how long each request took, drawn one by one."""

    ok: Floats
    error: Floats
    abort: Floats
    http_5xx: Floats
    moments: Indices
    first: Floats
    whole: Floats
    queued: Floats
    between_moments: Indices
    between: Floats
    prompt_tokens: Floats
    output_tokens: Floats


def _done(load: Load, t: Floats, rng: np.random.Generator) -> Done:
    steps = np.diff(t, prepend=t[0] - 120)
    ok, error, abort, http = (
        rng.poisson(np.maximum(rate * steps, 0)).astype(np.float64)
        for rate in (load.ok, load.error, load.abort, load.http_5xx)
    )
    recent = t >= -RECENT_S
    moments = np.repeat(np.arange(t.size), np.where(recent, ok + abort, 0).astype(np.int64))
    queued = load.wait[moments] * rng.uniform(0.7, 1.3, moments.size)
    factor = load.first[moments] * load.each[moments]
    answered = factor * _FIRST_MEDIAN_S * np.exp(_FIRST_SIGMA * rng.standard_normal(moments.size))
    spread = np.exp(_WHOLE_SIGMA * rng.standard_normal(moments.size) - _WHOLE_SIGMA**2 / 2)
    output = ok * load.output * rng.uniform(0.95, 1.05, t.size)
    gaps = np.repeat(np.arange(t.size), np.where(recent, output / _SAMPLED, 0).astype(np.int64))
    between = load.each[gaps] * _BETWEEN_S * np.exp(_BETWEEN_SIGMA * rng.standard_normal(gaps.size))
    return Done(
        ok=ok,
        error=error,
        abort=abort,
        http_5xx=http,
        moments=moments,
        first=answered + queued,
        whole=load.whole[moments] * spread + queued,
        queued=queued,
        between_moments=gaps,
        between=between,
        prompt_tokens=np.rint((ok + abort) * load.prompt * rng.uniform(0.95, 1.05, t.size)),
        output_tokens=np.rint(output),
    )


def write(world: World, seed: int, page: Page, slot: Slot, load: Load, t: Floats, silent: Mask, down: Mask) -> None:
    """Everything that is scraped of one replica: its engine, its HTTP counters, and `up`.

    silent: the moments at which nothing of it is recorded, not even `up`; down: those at which only `up` is, as 0.
    """
    rng = generator(world.scenario, seed, f"engine:{slot.service.name}/{slot.index}")
    noise = Noise.of(world.scenario)
    done = _done(load, t, rng)
    scraped = noise.scraped(rng, t.size) & ~silent
    phase = float(rng.integers(0, 15))
    node_down = world.lost_nodes.get(slot.node, np.inf)
    for number, pod in enumerate(slot.pods):
        here = (t >= pod.life.begin) & (t < pod.life.end)
        process = here & load.ready
        answers = process & ~down & ~(t >= node_down)
        labels = target_labels(slot, pod, number)
        if "engine" not in world.fleet.missing:
            page.add("up", labels, t - phase, answers.astype(np.float64), here & scraped & (t >= -RECENT_S))
        target = Target(page, labels, t - phase, scraped & answers, process, rng)
        if "engine" not in world.fleet.missing:
            _PAGES[slot.service.engine](target, slot.service.name, load, done, t)
        if "http" not in world.fleet.missing and slot.service.engine in _OWN_HTTP:
            http(target, done)


def target_labels(slot: Slot, pod: Pod, number: int) -> dict[str, str]:
    """The labels of a scrape target, as a ServiceMonitor with the node attached gives them."""
    port = {"triton": 8002, "sglang": 30000, "tgi": 80}.get(slot.service.engine, 8000)
    return {
        "job": f"{slot.service.name}-{pod.container}",
        "instance": f"10.{slot.node}.{slot.index}.{10 + number}:{port}",
        "namespace": NAMESPACE,
        "pod": pod.name,
        "container": pod.container,
        "service": slot.service.name,
        "node": f"node-{pod.node}",
    }


_OWN_HTTP = frozenset({"vllm", "vllm-old", "sglang", "trtllm"})


def http(target: Target, done: Done, more: Mapping[str, str] | None = None) -> None:
    """What prometheus-fastapi-instrumentator counts, its codes grouped as it does unless told otherwise."""
    labels = {"handler": "/v1/chat/completions", "method": "POST", **(more or {})}
    for status, counts in (("2xx", done.ok), ("4xx", done.abort), ("5xx", done.http_5xx)):
        if counts.any():
            target.counter("http_requests_total", counts, {**labels, "status": status}, long=True)
    polls = np.ones_like(target.t)
    target.counter("http_requests_total", polls, {"handler": "/health", "method": "GET", "status": "2xx"})


def _vllm(target: Target, model: str, load: Load, done: Done, _: Floats) -> None:
    named = {"model_name": model, "engine": "0"}
    _vllm_shared(target, named, load, done, (VLLM_FIRST, VLLM_WHOLE, VLLM_BETWEEN), "inter_token_latency_seconds")
    target.gauge("vllm:kv_cache_usage_perc", load.kv, named)
    target.histogram("vllm:request_queue_time_seconds", VLLM_WHOLE, done.queued, done.moments, named)
    for reason, counts in (("error", done.error), ("repetition", np.zeros_like(done.ok))):
        target.counter("vllm:request_success_total", counts, {**named, "finished_reason": reason}, long=True)


def _vllm_old(target: Target, model: str, load: Load, done: Done, _: Floats) -> None:
    named = {"model_name": model}
    edges = (VLLM_OLD_FIRST, VLLM_OLD_WHOLE, VLLM_BETWEEN)
    _vllm_shared(target, named, load, done, edges, "time_per_output_token_seconds")
    target.gauge("vllm:gpu_cache_usage_perc", load.kv, named)
    target.gauge("vllm:num_requests_swapped", np.zeros_like(load.kv), named)


def _vllm_shared(
    target: Target,
    named: Mapping[str, str],
    load: Load,
    done: Done,
    edges: tuple[Sequence[float], Sequence[float], Sequence[float]],
    between: str,
) -> None:
    first, whole, gap = edges
    target.gauge("vllm:num_requests_running", np.rint(load.running), named)
    target.gauge("vllm:num_requests_waiting", np.rint(load.waiting), named)
    target.counter("vllm:num_preemptions_total", _events(target, load.preemptions), named)
    target.counter("vllm:prompt_tokens_total", done.prompt_tokens, named, long=True)
    target.counter("vllm:generation_tokens_total", done.output_tokens, named, long=True)
    cut = np.floor(0.15 * np.cumsum(done.ok)) - np.concatenate([[0], np.floor(0.15 * np.cumsum(done.ok))[:-1]])
    for reason, counts in (("stop", done.ok - cut), ("length", cut), ("abort", done.abort)):
        target.counter("vllm:request_success_total", counts, {**named, "finished_reason": reason}, long=True)
    target.histogram("vllm:time_to_first_token_seconds", first, done.first, done.moments, named)
    target.histogram("vllm:e2e_request_latency_seconds", whole, done.whole, done.moments, named)
    target.histogram(f"vllm:{between}", gap, done.between, done.between_moments, named, _SAMPLED)


def _sglang(target: Target, model: str, load: Load, done: Done, _: Floats) -> None:
    named = {"model_name": model}
    target.gauge("sglang:num_running_reqs", np.rint(load.running), named)
    target.gauge("sglang:num_queue_reqs", np.rint(load.waiting), named)
    target.gauge("sglang:token_usage", load.kv, named)
    target.gauge("sglang:gen_throughput", load.ok * load.output, named)
    target.counter("sglang:num_retracted_requests_total", _events(target, load.preemptions), named)
    target.counter("sglang:num_requests_total", done.ok + done.abort + done.error, named, long=True)
    target.counter("sglang:num_aborted_requests_total", done.abort, named, long=True)
    target.counter("sglang:prompt_tokens_total", done.prompt_tokens, named, long=True)
    target.counter("sglang:generation_tokens_total", done.output_tokens, named, long=True)
    target.histogram("sglang:time_to_first_token_seconds", SGLANG_FIRST, done.first, done.moments, named)
    target.histogram("sglang:e2e_request_latency_seconds", SGLANG_WHOLE, done.whole, done.moments, named)
    target.histogram("sglang:queue_time_seconds", SGLANG_WHOLE, done.queued, done.moments, named)
    target.histogram(
        "sglang:inter_token_latency_seconds", SGLANG_BETWEEN, done.between, done.between_moments, named, _SAMPLED
    )


def _triton(target: Target, model: str, load: Load, done: Done, t: Floats) -> None:
    named = {"model": model, "version": "1"}
    target.gauge("nv_inference_pending_request_count", np.rint(load.waiting), named)
    target.counter("nv_inference_request_success", done.ok, named, long=True)
    for reason, counts in (("BACKEND", done.error), ("CANCELED", done.abort), ("REJECTED", 0), ("OTHER", 0)):
        target.counter("nv_inference_request_failure", np.zeros_like(t) + counts, {**named, "reason": reason})
    target.counter("nv_inference_count", done.ok, named)
    target.counter("nv_inference_exec_count", done.ok, named)
    size = t.size
    queued = 1e6 * np.bincount(done.moments, weights=done.queued, minlength=size)
    whole = 1e6 * np.bincount(done.moments, weights=done.whole, minlength=size)
    target.counter("nv_inference_request_duration_us", np.rint(whole), named)
    target.counter("nv_inference_queue_duration_us", np.rint(queued), named)
    for part, share in (("input", 0.02), ("infer", 0.95), ("output", 0.03)):
        target.counter(f"nv_inference_compute_{part}_duration_us", np.rint(share * (whole - queued)), named)


def _trtllm(target: Target, model: str, load: Load, done: Done, _: Floats) -> None:
    named = {"model_name": model, "engine_type": "pytorch"}
    target.gauge("trtllm_num_requests_running", np.rint(load.running), named)
    target.gauge("trtllm_num_requests_waiting", np.rint(load.waiting), named)
    target.gauge("trtllm_num_paused_requests", np.rint(load.preemptions * 60), named)
    target.gauge("trtllm_kv_cache_utilization", load.kv, named)
    target.counter("trtllm_generation_tokens_total", done.output_tokens, named, long=True)
    for reason, counts in (("stop", done.ok), ("cancelled", done.abort), ("timeout", np.zeros_like(done.ok))):
        target.counter("trtllm_request_success_total", counts, {**named, "finished_reason": reason}, long=True)
    target.histogram("trtllm_time_to_first_token_seconds", VLLM_FIRST, done.first, done.moments, named)
    target.histogram("trtllm_e2e_request_latency_seconds", VLLM_WHOLE, done.whole, done.moments, named)
    target.histogram("trtllm_request_queue_time_seconds", VLLM_WHOLE, done.queued, done.moments, named)
    target.histogram(
        "trtllm_time_per_output_token_seconds", VLLM_BETWEEN, done.between, done.between_moments, named, _SAMPLED
    )


def _tgi(target: Target, _: str, load: Load, done: Done, t: Floats) -> None:
    target.gauge("tgi_batch_current_size", np.rint(load.running))
    target.gauge("tgi_queue_size", np.rint(load.waiting))
    target.counter("tgi_request_count", done.ok + done.abort + done.error, long=True)
    target.counter("tgi_request_success", done.ok, long=True)
    target.histogram("tgi_request_duration", TGI_SECONDS, done.whole, done.moments)
    target.histogram("tgi_request_queue_duration", TGI_SECONDS, done.queued, done.moments)
    target.histogram("tgi_request_inference_duration", TGI_SECONDS, done.whole - done.queued, done.moments)
    target.histogram(
        "tgi_request_mean_time_per_token_duration", TGI_SECONDS, done.between, done.between_moments, None, _SAMPLED
    )
    for name, tokens in (
        ("tgi_request_generated_tokens", done.output_tokens),
        ("tgi_request_input_length", done.prompt_tokens),
    ):
        target.counter(f"{name}_sum", tokens, long=True)
        target.counter(f"{name}_count", done.ok + done.abort, long=True)


def _events(target: Target, rate: Floats) -> Floats:
    steps = np.diff(target.t, prepend=target.t[0] - 120)
    return target.rng.poisson(np.maximum(rate * steps, 0)).astype(np.float64)


_PAGES = {
    "vllm": _vllm,
    "vllm-old": _vllm_old,
    "sglang": _sglang,
    "triton": _triton,
    "trtllm": _trtllm,
    "tgi": _tgi,
}


def gateway(world: World, seed: int, page: Page, service: str, every: Sequence[Load], t: Floats, silent: Mask) -> None:
    """The gateway in front of engines that count no HTTP answers of their own; it names the model."""
    engine = next(s.engine for s in world.fleet.services if s.name == service)
    if "http" in world.fleet.missing or engine in _OWN_HTTP:
        return
    rng = generator(world.scenario, seed, f"gateway:{service}")
    parts = [_done(load, t, rng) for load in every]
    answers = ("ok", "error", "abort", "http_5xx")
    total = replace(parts[0], **{name: np.sum([getattr(part, name) for part in parts], axis=0) for name in answers})
    phase = float(rng.integers(0, 15))
    scraped = Noise.of(world.scenario).scraped(rng, t.size) & ~silent
    labels = {"job": "gateway", "instance": f"{service}-gateway:8080", "namespace": NAMESPACE}
    everything = np.ones(t.shape, dtype=np.bool_)
    page.add("up", labels, t - phase, 1.0, scraped & (t >= -RECENT_S))
    http(Target(page, labels, t - phase, scraped, everything, rng), total, {"model_name": service})
