"""What each inference server calls its numbers. The pack reads them under one vocabulary, so an engine is one entry.

Sources: NVIDIA's AIPerf cross-engine reference, vLLM's loggers, the metric pages of Triton, TGI, Ray Serve and NIM.
A number that an engine does not export is None or empty here, and the alerts that need it are not written for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MODEL_LABELS: Final = "service, model_name, namespace"
PLACE_LABELS: Final = "pod, node, instance"


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter, or the part of one that `where` (PromQL matchers) selects; `example` are labels of such a series."""

    name: str
    where: str = ""
    example: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of seconds, or of what `per_second` says one second is made of."""

    family: str
    per_second: int = 1

    def edge(self, seconds: float) -> str:
        """The bucket's edge as an RE2 expression: clients write 5 s as `5` or as `5.0`."""
        text = f"{seconds * self.per_second:g}"
        return text.replace(".", "\\\\.") if "." in text else f"{text}(\\\\.0)?"


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """One inference server.

    model: the label that names the model; "" where none does, and the scrape's job stands for it. total counts every
    answer, failed those that failed through no fault of the client. http: users' requests are seen on the OpenAI-
    compatible door instead, whose counter names no model. Alternatives of one number stand newest first. tokens_live:
    the token counter moves while an answer is being written, so that its standing still means a stall. front: it stands
    before other engines, whose numbers are then those of the same requests. only: matchers that every question to its
    series carries, which leave out what no user waits for.
    """

    id: str
    title: str
    model: str = "model_name"
    http: bool = False
    total: tuple[Counter, ...] = ()
    failed: tuple[Counter, ...] = ()
    broken: Counter | None = None
    ttft: Histogram | None = None
    e2e: Histogram | None = None
    waiting: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    kv: tuple[str, ...] = ()
    preempted: str = ""
    tokens: str = ""
    tokens_live: bool = False
    finished: str = ""
    corrupted: str = ""
    front: bool = False
    only: str = ""

    @property
    def labels(self) -> str:
        """What its numbers are summed by."""
        return MODEL_LABELS if self.model else f"{MODEL_LABELS}, job"

    @property
    def places(self) -> str:
        """The same for one replica."""
        return f"{self.labels}, {PLACE_LABELS}"

    @property
    def alive(self) -> str:
        """A series that is there for as long as the engine answers its scrape."""
        return (*self.running, *self.waiting, *(counter.name for counter in self.total))[0]

    def series(self, name: str, where: str = "") -> str:
        """A selector of its series of this name."""
        matchers = ",".join(filter(None, (where, self.only)))
        return f"{name}{{{matchers}}}" if matchers else name

    def rate(self, counter: Counter, window: str, more: str = "") -> str:
        return f"rate({self.series(counter.name, ','.join(filter(None, (counter.where, more))))}[{window}])"

    def named(self, expression: str) -> str:
        """The expression with the model under `model_name`."""
        if self.model in ("", "model_name"):
            return expression
        return f'label_replace({expression}, "model_name", "$1", "{self.model}", "(.+)")'

    def by_model(self, operator: str, expression: str) -> str:
        return f"{operator} by ({self.labels}) ({self.named(expression)})"

    def by_replica(self, operator: str, expression: str) -> str:
        return f"{operator} by ({self.places}) ({self.named(expression)})"


_HTTP: Final = 'handler=~"/v1/.+",handler!="/v1/models"'
"""/v1/models is what health probes poll: it would thin the users' errors out."""
_DOOR: Final = {"handler": "/v1/chat/completions", "method": "POST"}

_TGI_FAILED: Final = Counter("tgi_request_failure", 'err!~"validation|dropped"', {"err": "generation"})

ENGINES: Final = (
    Engine(
        id="vllm",
        title="vLLM",
        http=True,
        total=(Counter("http_requests_total", _HTTP, {**_DOOR, "status": "2xx"}),),
        # prometheus-fastapi-instrumentator writes `5xx`, or `503` when told not to group.
        failed=(Counter("http_requests_total", f'{_HTTP},status=~"5.."', {**_DOOR, "status": "5xx"}),),
        broken=Counter("vllm:request_success_total", 'finished_reason="error"', {"finished_reason": "error"}),
        ttft=Histogram("vllm:time_to_first_token_seconds"),
        e2e=Histogram("vllm:e2e_request_latency_seconds"),
        waiting=("vllm:num_requests_waiting",),
        running=("vllm:num_requests_running",),
        kv=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        preempted="vllm:num_preemptions_total",
        tokens="vllm:generation_tokens_total",
        tokens_live=True,
        finished="vllm:request_success_total",
        corrupted="vllm:corrupted_requests_total",
    ),
    Engine(
        id="sglang",
        title="SGLang",
        total=(Counter("sglang:num_requests_total"),),
        # Aborted requests are all it counts; those include clients that hung up.
        failed=(Counter("sglang:num_aborted_requests_total"),),
        ttft=Histogram("sglang:time_to_first_token_seconds"),
        e2e=Histogram("sglang:e2e_request_latency_seconds"),
        waiting=("sglang:num_queue_reqs",),
        running=("sglang:num_running_reqs",),
        kv=("sglang:token_usage",),
        preempted="sglang:num_retracted_requests_total",
        tokens="sglang:generation_tokens_total",
        tokens_live=True,
    ),
    Engine(
        id="triton",
        title="Triton",
        model="model",
        total=(
            Counter("nv_inference_request_success"),
            Counter("nv_inference_request_failure", 'reason!="CANCELED"', {"reason": "BACKEND"}),
        ),
        failed=(Counter("nv_inference_request_failure", 'reason!="CANCELED"', {"reason": "BACKEND"}),),
        # Opt-in, and of the first chunk; else Triton has no histogram at all.
        ttft=Histogram("nv_inference_first_response_histogram_ms", 1000),
        waiting=("nv_inference_pending_request_count",),
    ),
    Engine(
        id="tensorrt-llm",
        title="TensorRT-LLM",
        total=(Counter("trtllm_request_success_total", "", {"finished_reason": "stop"}),),
        # It never counts an `error`; what it gave up for time is the nearest.
        failed=(Counter("trtllm_request_success_total", 'finished_reason="timeout"', {"finished_reason": "timeout"}),),
        ttft=Histogram("trtllm_time_to_first_token_seconds"),
        e2e=Histogram("trtllm_e2e_request_latency_seconds"),
        waiting=("trtllm_num_requests_waiting",),
        running=("trtllm_num_requests_running",),
        kv=("trtllm_kv_cache_utilization",),
        tokens="trtllm_generation_tokens_total",
        tokens_live=True,
        finished="trtllm_request_success_total",
    ),
    Engine(
        id="tgi",
        title="TGI",
        model="",
        # `tgi_request_count` has those that are still being answered in it; refused and hung-up ones are the client's.
        total=(Counter("tgi_request_success"), _TGI_FAILED),
        failed=(_TGI_FAILED,),
        e2e=Histogram("tgi_request_duration"),
        waiting=("tgi_queue_size",),
        running=("tgi_batch_current_size",),
        tokens="tgi_request_generated_tokens_sum",
    ),
    Engine(
        id="ray-serve",
        title="Ray Serve",
        model="deployment",
        total=(Counter("ray_serve_deployment_request_counter_total"),),
        failed=(Counter("ray_serve_deployment_error_counter_total"),),
        e2e=Histogram("ray_serve_deployment_processing_latency_ms", 1000),
        waiting=("ray_serve_deployment_queued_queries",),
    ),
    Engine(
        id="nim",
        title="NIM",
        total=(Counter("request_success_total"), Counter("request_failure_total")),
        failed=(Counter("request_failure_total"),),
        ttft=Histogram("time_to_first_token_seconds"),
        e2e=Histogram("e2e_request_latency_seconds"),
        waiting=("num_requests_waiting",),
        running=("num_requests_running",),
        kv=("gpu_cache_usage_perc",),
        tokens="generation_tokens_total",
        tokens_live=True,
    ),
    Engine(
        id="dynamo",
        title="Dynamo",
        model="model",
        total=(Counter("dynamo_frontend_requests_total", "", {"status": "success"}),),
        failed=(Counter("dynamo_frontend_requests_total", 'status="error"', {"status": "error"}),),
        ttft=Histogram("dynamo_frontend_time_to_first_token_seconds"),
        e2e=Histogram("dynamo_frontend_request_duration_seconds"),
        waiting=("dynamo_frontend_queued_requests",),
        running=("dynamo_frontend_inflight_requests",),
        kv=("dynamo_component_gpu_cache_usage_percent",),
        tokens="dynamo_frontend_output_tokens_total",
        tokens_live=True,
        front=True,
    ),
)
BY_ID: Final[Mapping[str, Engine]] = {engine.id: engine for engine in ENGINES}
