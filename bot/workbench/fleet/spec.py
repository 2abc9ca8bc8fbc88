"""What the fleet is made of before anything happens: nodes, models, revisions, and the faults on offer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

KV_FULL = 0.97  # a replica stops admitting here


@dataclass(frozen=True)
class Profile:
    """How one revision of a model behaves under light load.

    error_ratio: share of requests answered 5xx, 0..1. ttft_s: median time to first token, seconds.
    ttft_sigma: spread of its log-normal distribution. service_s: mean seconds a request holds a slot.
    oom_every_s: seconds from one start of a container to the next, because it runs out of GPU memory; 0: never.
    wrong_template: its answers are quick, well-formed, and wrong.
    """

    error_ratio: float
    ttft_s: float
    ttft_sigma: float
    service_s: float
    oom_every_s: float = 0.0
    wrong_template: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """One served model and the traffic it gets.

    gpus: GPUs per replica (tensor parallelism). slots: requests whose KV cache fills one replica; `most` it takes at a
    time whatever the cache holds (vLLM's --max-num-seqs). rate: requests per second of the whole model, of which
    `batch` (0..1) are jobs that can wait. token_budget: generated tokens/s the owner pays for. smaller: the model that
    can answer in its place. candidate: the next revision, which a deployment of its own can run.
    """

    name: str
    service: str
    replicas: int
    gpus: int
    slots: float
    rate: float
    prompt_tokens: float
    output_tokens: float
    token_budget: float
    revisions: tuple[str, ...]
    good: Profile
    bad: Profile
    features: tuple[str, ...]
    most: float = math.inf
    batch: float = 0.25
    smaller: str = ""
    candidate: str = ""
    candidate_of: str = ""

    @property
    def room(self) -> float:
        """Requests that one replica works on at a time."""
        return min(self.slots * KV_FULL, self.most)

    @property
    def served_as(self) -> str:
        """The model's name in requests and metrics: a candidate answers under the name of what it is to follow."""
        return self.candidate_of or self.name

    @property
    def hungry(self) -> Profile:
        """A revision that asks for more GPU memory than there is."""
        return replace(self.good, oom_every_s=12.0)

    @property
    def muddled(self) -> Profile:
        """A revision with the wrong chat template: no figure of the engine shows it."""
        return replace(self.good, wrong_template=True)

    def canary(self) -> ModelSpec:
        """The deployment that runs the candidate: none of its replicas yet."""
        return replace(
            self,
            name=f"{self.name}-canary",
            candidate_of=self.name,
            candidate="",
            revisions=(self.candidate,),
            replicas=0,
        )


@dataclass(frozen=True)
class Fault:
    """Something that can go wrong with the fleet, and whom it hits. `group` is what it is a fault of."""

    id: str
    group: str
    title: str
    description: str


LLAMA = ModelSpec(
    name="llama-70b",
    service="chat",
    replicas=3,
    gpus=2,
    slots=87.0,
    rate=24.0,
    prompt_tokens=900.0,
    output_tokens=300.0,
    token_budget=9_000.0,
    revisions=("r40", "r41"),
    good=Profile(error_ratio=0.001, ttft_s=0.28, ttft_sigma=0.45, service_s=6.0),
    bad=Profile(error_ratio=0.31, ttft_s=1.9, ttft_sigma=0.7, service_s=9.0),
    features=("prompt_length", "language"),
    smaller="mistral-small",
)

MISTRAL = ModelSpec(
    name="mistral-small",
    service="search",
    replicas=2,
    gpus=1,
    slots=110.0,
    rate=60.0,
    prompt_tokens=400.0,
    output_tokens=60.0,
    token_budget=5_000.0,
    revisions=("r17", "r18"),
    good=Profile(error_ratio=0.0005, ttft_s=0.11, ttft_sigma=0.4, service_s=1.2),
    bad=Profile(error_ratio=0.28, ttft_s=0.9, ttft_sigma=0.7, service_s=2.0),
    features=("query_length", "topic"),
    most=80.0,
    candidate="r19-rc1",
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "bad-deploy",
        "Release",
        "Bad deploy",
        "A new revision of llama-70b goes out: three in ten requests fail and the first token is late.",
    ),
    Fault(
        "gpu-oom",
        "Release",
        "Out of GPU memory",
        "A new revision of mistral-small allows longer contexts than its GPU holds: containers die again and again.",
    ),
    Fault(
        "model-down",
        "Release",
        "Model down",
        "Every mistral-small replica crashes at start: the weights cannot be read, search answers 503.",
    ),
    Fault(
        "wrong-template",
        "Release",
        "Wrong template",
        "A new revision of llama-70b has the wrong chat template: every figure is green, and its answers run on.",
    ),
    Fault(
        "gpu-off-bus",
        "Hardware",
        "GPU off the bus",
        "One GPU of node-2 falls off the bus (Xid 79): its series vanish, a llama-70b replica is lost.",
    ),
    Fault(
        "ecc-contained",
        "Hardware",
        "Contained ECC",
        "A GPU of node-1 loses a memory cell (Xid 94): the engine of one llama-70b replica dies, the GPU stays usable.",
    ),
    Fault(
        "ecc-uncontained",
        "Hardware",
        "Uncontained ECC",
        "A GPU of node-3 cannot contain a memory error (Xid 95): nothing starts on it until it is reset.",
    ),
    Fault(
        "thermal",
        "Hardware",
        "Overheating",
        "The cooling of node-2 fails: its GPUs run hot, halve their clocks, and answer late.",
    ),
    Fault(
        "engine-stalled",
        "Hardware",
        "Engine stalled",
        "One llama-70b replica takes requests and generates no token: health is 200, its users wait for ever.",
    ),
    Fault(
        "kv-saturation",
        "Load",
        "KV cache full",
        "A batch job triples the traffic of llama-70b: the KV cache fills up and the queue grows.",
    ),
    Fault(
        "queue-saturated",
        "Load",
        "Queue grows",
        "mistral-small gets three times its users: every replica works on all it takes, the rest waits.",
    ),
    Fault(
        "capacity-lost",
        "Load",
        "Capacity lost",
        "A training job takes every free GPU and preempts two of three llama-70b replicas: they stay pending.",
    ),
    Fault(
        "token-spike",
        "Load",
        "Token spike",
        "An agent loop on mistral-small generates twelve times the usual tokens.",
    ),
    Fault(
        "drift",
        "Signals",
        "Input drift",
        "mistral-small sees queries unlike its reference set: the stability index (PSI) climbs over 0.2.",
    ),
    Fault(
        "telemetry-blind",
        "Signals",
        "Blind telemetry",
        "The DCGM exporter of node-1 hangs: all its GPUs vanish from the metrics and serve on.",
    ),
)


@dataclass(frozen=True)
class FleetSpec:
    """The whole fleet. warm_up_s: seconds a rollout or a moved replica takes before it serves."""

    models: tuple[ModelSpec, ...] = (LLAMA, MISTRAL)
    nodes: tuple[str, ...] = ("node-1", "node-2", "node-3")
    gpus_per_node: int = 4
    namespace: str = "inference"
    gpu_namespace: str = "gpu-operator"  # where the GPU operator keeps its exporters
    warm_up_s: float = 5.0
    # Where a replica starts: (model, ordinal) -> (node, first GPU). Spare GPUs on node-2 and node-3 let a
    # drain of node-2 move everything, which is what a drain is for.
    placement: dict[tuple[str, int], tuple[str, int]] = field(
        default_factory=lambda: {
            ("llama-70b", 0): ("node-1", 0),
            ("llama-70b", 1): ("node-1", 2),
            ("llama-70b", 2): ("node-2", 0),
            ("mistral-small", 0): ("node-2", 2),
            ("mistral-small", 1): ("node-3", 0),
        }
    )
    faulty_gpu: tuple[str, int] = ("node-2", 1)
    contained_gpu: tuple[str, int] = ("node-1", 1)
    uncontained_gpu: tuple[str, int] = ("node-3", 0)
    hot_node: str = "node-2"
    blind_node: str = "node-1"
    stalled_replica: tuple[str, int] = ("llama-70b", 1)
    traffic_fault_model: str = "llama-70b"
    deploy_fault_model: str = "llama-70b"
    down_fault_model: str = "mistral-small"
    drift_fault_model: str = "mistral-small"
    oom_fault_model: str = "mistral-small"
    queue_fault_model: str = "mistral-small"
    preempted_model: str = "llama-70b"
    token_fault_model: str = "mistral-small"  # noqa: S105 - tokens of text, not a secret


class Refusal(Exception):
    """The control API says no. `status` is the HTTP status; `hint` tells the caller what to do instead."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
