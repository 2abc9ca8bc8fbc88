"""What each inference server calls what the checks ask for: one entry per server, as data.

From each entry the sources of the checks are made (`bot.health.queries.serving`), so a new server is a new entry. An
empty field means that the server does not tell: the check then has no source from it, and is unknown where nothing
else answers. A tuple holds the names of several generations, the newest first.

Sources of the names: NVIDIA AIPerf's server metrics reference, vLLM's loggers, SGLang's and TensorRT-LLM's metrics,
Triton's and TGI's metrics pages and TGI's router, Ray Serve's monitoring guide, NIM's observability page, Dynamo's
frontend.
"""

from dataclasses import dataclass
from typing import Literal

TimeUnit = Literal["s", "ms", "us"]

PER_SECOND: dict[TimeUnit, str] = {"s": "", "ms": " / 1e3", "us": " / 1e6"}


@dataclass(frozen=True, slots=True)
class Histogram:
    """A latency as buckets. measure: what it measures where it is not the time to the first token. where: a matcher."""

    family: str
    unit: TimeUnit = "s"
    measure: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Mean:
    """A latency as a sum of time and a count: only its mean can be told."""

    total: str
    count: str
    unit: TimeUnit
    measure: str


@dataclass(frozen=True, slots=True)
class Engine:
    """One server's names. `<m>` stands where the model's matcher goes.

    label: of the model; `service` or `job` where it names none. failed over answered: counters; a client that
    hung up is no failure. broken: answers that ended in an error after they had begun. busy, waiting: requests in a
    batch and before one. made: a counter that grows while the engine works; prefill: one that grows also on a worker
    that only reads prompts. kv: share of the key-value cache in use. put_back: requests thrown out of a full cache.
    generated: tokens. finished: answers by `finished_reason`. nan: answers with NaN in them.
    """

    name: str
    label: Literal["model_name", "model", "deployment", "service", "job"]
    busy: str = ""
    waiting: str = ""
    failed: str = ""
    answered: tuple[str, ...] = ()
    broken: str = ""
    finished: str = ""
    first_token: tuple[Histogram | Mean, ...] = ()
    made: str = ""
    prefill: str = ""
    kv: tuple[str, ...] = ()
    put_back: str = ""
    generated: str = ""
    nan: str = ""

    @property
    def ended(self) -> str:
        """The counter of answers: by finish reason where it has one."""
        return self.finished or next(iter(self.answered), "")

    @property
    def presence(self) -> str:
        """The gauge that every replica has as long as it serves; it tells which target serves which model."""
        return self.busy or self.waiting


def _vllm(name: str, prefix: str) -> Engine:
    """vLLM's own names; Ray puts its own prefix before them and writes no colon."""
    return Engine(
        name,
        "model_name",
        busy=f"{prefix}num_requests_running{{<m>}}",
        waiting=f"{prefix}num_requests_waiting{{<m>}}",
        broken=f'{prefix}request_success_total{{finished_reason="error",<m>}}',
        finished=f"{prefix}request_success_total{{<m>}}",
        first_token=(Histogram(f"{prefix}time_to_first_token_seconds"),),
        made=f"{prefix}generation_tokens_total{{<m>}}",
        prefill=f"{prefix}prompt_tokens_total{{<m>}}",
        kv=(f"{prefix}kv_cache_usage_perc{{<m>}}", f"{prefix}gpu_cache_usage_perc{{<m>}}"),
        put_back=f"{prefix}num_preemptions_total{{<m>}}",
        generated=f"{prefix}generation_tokens_total{{<m>}}",
        nan=f"{prefix}corrupted_requests_total{{<m>}}",
    )


VLLM = _vllm("vLLM", "vllm:")

SGLANG = Engine(
    "SGLang",
    "model_name",
    busy="sglang:num_running_reqs{<m>}",
    waiting="sglang:num_queue_reqs{<m>}",
    failed="sglang:num_aborted_requests_total{<m>}",  # includes clients that hung up: it has no counter without them
    answered=("sglang:num_requests_total{<m>}",),
    first_token=(Histogram("sglang:time_to_first_token_seconds"),),
    made="sglang:generation_tokens_total{<m>}",
    prefill="sglang:prompt_tokens_total{<m>}",
    kv=("sglang:token_usage{<m>}",),
    put_back="sglang:num_retracted_requests_total{<m>}",
    generated="sglang:generation_tokens_total{<m>}",
)

_TRITON_FAILED = 'nv_inference_request_failure{reason!="CANCELED",<m>}'
TRITON = Engine(
    "Triton",
    "model",
    waiting="nv_inference_pending_request_count{<m>}",
    failed=_TRITON_FAILED,
    answered=("nv_inference_request_success{<m>}", _TRITON_FAILED),
    first_token=(
        Histogram("nv_inference_first_response_histogram_ms", "ms"),
        Mean("nv_inference_request_duration_us", "nv_inference_request_success", "us", "mean request time"),
    ),
    made="nv_inference_request_success{<m>}",
    kv=(
        # The TensorRT-LLM backend's own block counts.
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",<m>}',
    ),
)

TENSORRT_LLM = Engine(
    "TensorRT-LLM",
    "model_name",
    busy="trtllm_num_requests_running{<m>}",
    waiting="trtllm_num_requests_waiting{<m>}",
    failed='trtllm_request_success_total{finished_reason="timeout",<m>}',  # it never says `error`
    answered=("trtllm_request_success_total{<m>}",),
    first_token=(Histogram("trtllm_time_to_first_token_seconds"),),
    made="trtllm_generation_tokens_total{<m>}",
    kv=("trtllm_kv_cache_utilization{<m>}",),
    generated="trtllm_generation_tokens_total{<m>}",
)


def _tgi(name: str, label: Literal["service", "job"], where: str) -> Engine:
    """TGI names no model: the scrape's `service` stands for it, which a ServiceMonitor sets, else its `job`.

    Nor does it tell the first token. A request that waits has none yet, so its time in the queue is the least of it;
    the whole answer takes longer than any SLA for a first token, and says nothing about one.
    """
    failed = f'tgi_request_failure{{err!~"validation|dropped",{where},<m>}}'
    return Engine(
        name,
        label,
        busy=f"tgi_batch_current_size{{{where},<m>}}",
        waiting=f"tgi_queue_size{{{where},<m>}}",
        failed=failed,
        answered=(f"tgi_request_success{{{where},<m>}}", failed),
        first_token=(Histogram("tgi_request_queue_duration", measure="p99 time in the queue", where=where),),
        made=f"tgi_batch_inference_count{{{where},<m>}}",
    )


TGI = _tgi("TGI", "service", 'service!=""')
TGI_BY_JOB = _tgi("TGI by job", "job", 'service=""')

RAY_SERVE = Engine(
    "Ray Serve",
    "deployment",
    waiting="ray_serve_deployment_queued_queries{<m>}",
    failed="ray_serve_deployment_error_counter_total{<m>}",
    answered=("ray_serve_deployment_request_counter_total{<m>}",),
    first_token=(Histogram("ray_serve_deployment_processing_latency_ms", "ms", "p99 processing time"),),
)

NIM = Engine(
    "NIM",
    "model_name",
    busy="num_requests_running{<m>}",
    waiting="num_requests_waiting{<m>}",
    failed="request_failure_total{<m>}",
    answered=("request_success_total{<m>}", "request_failure_total{<m>}"),
    finished="request_finish_total{<m>}",
    first_token=(Histogram("time_to_first_token_seconds"),),
    made="generation_tokens_total{<m>}",
    prefill="prompt_tokens_total{<m>}",
    kv=("gpu_cache_usage_perc{<m>}",),
    generated="generation_tokens_total{<m>}",
)

DYNAMO = Engine(
    "Dynamo",
    "model",
    busy="dynamo_frontend_inflight_requests{<m>}",
    waiting="dynamo_frontend_queued_requests{<m>}",
    failed='dynamo_frontend_requests_total{status="error",<m>}',
    answered=("dynamo_frontend_requests_total{<m>}",),
    first_token=(Histogram("dynamo_frontend_time_to_first_token_seconds"),),
    made="dynamo_frontend_output_tokens_total{<m>}",
    kv=("dynamo_component_gpu_cache_usage_percent{<m>}",),
    generated="dynamo_frontend_output_tokens_total{<m>}",
)

ENGINES: tuple[Engine, ...] = (
    VLLM,
    _vllm("vLLM in Ray", "ray_vllm_"),
    SGLANG,
    TRITON,
    TENSORRT_LLM,
    TGI,
    TGI_BY_JOB,
    RAY_SERVE,
    NIM,
    DYNAMO,
)
