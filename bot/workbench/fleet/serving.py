"""How one model serves its traffic: a small fluid queue over replicas, stepped in tenths of a second.

Requests are real-valued flows, so the same clock always gives the same numbers. A replica admits work while its
KV cache has room; what does not fit waits at the model; waiting adds to the time to first token; who waits too
long leaves. That is enough to make saturation, a lost replica and a bad revision look as they do in production.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bot.workbench.fleet.hardware import Gpu
from bot.workbench.fleet.spec import ModelSpec, Profile

# vLLM's own bucket edges (vllm/v1/metrics/loggers.py); the last finite ones that matter at our scale.
TTFT_EDGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
              40.0, 80.0, 160.0, 640.0, 2560.0)  # fmt: skip
E2E_EDGES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
             480.0, 960.0, 1920.0, 7680.0)  # fmt: skip
CRASH_EVERY_S = 8.0  # a container that dies at start is started again about this often
KV_FULL = 0.97  # a replica stops admitting here
PATIENCE_S = 20.0  # mean seconds a client waits in the queue before it hangs up


@dataclass
class Histogram:
    """Observations per bucket (not cumulative), as flows; `sum` in seconds."""

    edges: tuple[float, ...]
    buckets: list[float] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.buckets = self.buckets or [0.0] * (len(self.edges) + 1)

    def spread(self, count: float, median: float, sigma: float, offset: float) -> None:
        """Add `count` observations of offset + a log-normal with this median (all seconds)."""
        if count <= 0:
            return
        below = 0.0
        for index, edge in enumerate(self.edges):
            upto = _lognormal_cdf(edge - offset, median, sigma)
            self.buckets[index] += count * (upto - below)
            below = upto
        self.buckets[-1] += count * (1.0 - below)
        self.sum += count * (offset + median * math.exp(sigma * sigma / 2))


def _lognormal_cdf(x: float, median: float, sigma: float) -> float:
    return 0.0 if x <= 0 else 0.5 * (1.0 + math.erf(math.log(x / median) / (sigma * math.sqrt(2.0))))


@dataclass
class Replica:
    """One pod. It serves when it holds healthy GPUs, its process lives and `ready_at` has passed."""

    model: str
    ordinal: int
    revision: str
    restarts: int = 0
    gpus: list[Gpu] = field(default_factory=list)
    ready_at: float = 0.0
    crashing: bool = False
    crashes: float = 0.0
    running: float = 0.0
    preemptions: float = 0.0
    prompt_tokens: float = 0.0
    generation_tokens: float = 0.0
    finished: dict[str, float] = field(default_factory=dict)
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_EDGES))
    e2e: Histogram = field(default_factory=lambda: Histogram(E2E_EDGES))

    @property
    def pod(self) -> str:
        """The pod's name: it changes with each start, as a ReplicaSet's pods do."""
        return f"{self.model}-{self.revision}-{self.ordinal}-{self.restarts}"

    def state(self, now: float) -> str:
        """ready, warming, crashed (a GPU is gone or the process dies at start) or pending (no free GPU)."""
        if not self.gpus:
            return "pending"
        if self.crashing or any(gpu.lost for gpu in self.gpus):
            return "crashed"
        return "ready" if now >= self.ready_at else "warming"

    def restart(self, revision: str, ready_at: float) -> None:
        """Begin a new pod in this place: counters start at zero, as a new process's do."""
        self.revision = revision
        self.restarts += 1
        self.ready_at = ready_at
        self.crashes = self.preemptions = self.prompt_tokens = self.generation_tokens = 0.0
        self.finished = {}
        self.ttft = Histogram(TTFT_EDGES)
        self.e2e = Histogram(E2E_EDGES)


@dataclass(frozen=True)
class Load:
    """What presses on a model: factors of traffic and tokens (1 is normal), and whether the cache answers."""

    traffic: float = 1.0
    tokens: float = 1.0
    cache: bool = False


@dataclass
class Traffic:
    """The model's queue and what the gateway counted, by (source, code)."""

    spec: ModelSpec
    waiting: float = 0.0
    gateway: dict[tuple[str, str], float] = field(default_factory=dict)

    def step(self, now: float, dt: float, load: Load, ready: list[Replica], profiles: dict[str, Profile]) -> None:
        """Serve dt seconds of traffic with the `ready` replicas; `profiles`: revision -> behaviour."""
        arrivals = self.spec.rate * _wobble(now) * load.traffic * dt
        if load.cache:
            self._count("cache", "200", arrivals + self.waiting)
            arrivals = self.waiting = 0.0
        if not ready:
            # The gateway has no upstream: it answers at once, and drops what was queued.
            self._count("model", "503", arrivals + self.waiting)
            self.waiting = 0.0
            return
        wait_s = self._wait_seconds(ready, profiles)
        left = self.waiting * (1 - math.exp(-dt / PATIENCE_S))
        self.waiting -= left
        self._count("model", "499", left)
        share = arrivals / len(ready)
        for replica in ready:
            failed = share * profiles[replica.revision].error_ratio
            self._count("model", "500", failed)
            _finish(replica, "error", failed)
            _finish(replica, "abort", left / len(ready))
            self.waiting += share - failed
            self._complete(replica, profiles[replica.revision], wait_s, load, dt)
        self._admit(ready, profiles, wait_s, dt)

    def _wait_seconds(self, ready: list[Replica], profiles: dict[str, Profile]) -> float:
        throughput = sum(self.spec.slots * KV_FULL / profiles[replica.revision].service_s for replica in ready)
        return self.waiting / throughput

    def _complete(self, replica: Replica, profile: Profile, wait_s: float, load: Load, dt: float) -> None:
        done = replica.running * (1 - math.exp(-dt / profile.service_s))
        replica.running -= done
        replica.generation_tokens += self.spec.output_tokens * load.tokens * done
        # Runaway generations stop at max_tokens rather than at an end token.
        long = 0.07 if load.tokens == 1.0 else 0.7
        _finish(replica, "length", done * long)
        _finish(replica, "stop", done * (1 - long))
        replica.e2e.spread(done, profile.service_s, 0.35, wait_s)
        self._count("model", "200", done)

    def _admit(self, ready: list[Replica], profiles: dict[str, Profile], wait_s: float, dt: float) -> None:
        rooms = [max(0.0, self.spec.slots * KV_FULL - replica.running) for replica in ready]
        room = sum(rooms)
        admitted = min(self.waiting, room)
        self.waiting -= admitted
        for replica, space in zip(ready, rooms, strict=True):
            mine = admitted * space / room if room else 0.0
            replica.running += mine
            replica.prompt_tokens += mine * self.spec.prompt_tokens
            profile = profiles[replica.revision]
            kv = replica.running / self.spec.slots
            slower = 1.0 + 1.2 * kv**6  # prefill competes with decode once the cache is nearly full
            replica.ttft.spread(mine, profile.ttft_s * slower, profile.ttft_sigma, wait_s)
            if kv > 0.955:
                replica.preemptions += 1.5 * dt

    def _count(self, source: str, code: str, count: float) -> None:
        self.gateway[source, code] = self.gateway.get((source, code), 0.0) + count


def _finish(replica: Replica, reason: str, count: float) -> None:
    replica.finished[reason] = replica.finished.get(reason, 0.0) + count


def _wobble(now: float) -> float:
    """Traffic is never flat: two slow waves of a few per cent around 1."""
    return 1.0 + 0.05 * math.sin(now / 17.0) + 0.03 * math.sin(now / 5.3)
