"""How one model serves its traffic: a small fluid queue over replicas, stepped in tenths of a second.

Requests are real-valued flows, so the same clock always gives the same numbers. A replica admits work while its
KV cache has room; what does not fit waits at the model; waiting adds to the time to first token; who waits too
long leaves. That is enough to make saturation, a lost replica and a bad revision look as they do in production.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bot.workbench.fleet.hardware import THROTTLED, Gpu
from bot.workbench.fleet.spec import ModelSpec, Profile

# vLLM's own bucket edges (vllm/v1/metrics/loggers.py); the last finite ones that matter at our scale.
TTFT_EDGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
              40.0, 80.0, 160.0, 640.0, 2560.0)  # fmt: skip
E2E_EDGES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
             480.0, 960.0, 1920.0, 7680.0)  # fmt: skip
CRASH_EVERY_S = 8.0  # a container that dies at start is started again about this often
HANGS_UP_S = 30.0  # mean seconds a client waits for a token of a stalled engine
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
    """One pod. It serves when it holds healthy GPUs, its process lives and `ready_at` has passed.

    `crashing`: the process dies at start. `dead`: its engine has died and nothing starts it again. `stalled`: it takes
    requests and answers none. `oom_every_s`: it runs out of GPU memory and is started again so often (0: never).
    """

    model: str
    ordinal: int
    revision: str
    restarts: int = 0
    gpus: list[Gpu] = field(default_factory=list)
    ready_at: float = 0.0
    crashing: bool = False
    dead: bool = False
    stalled: bool = False
    oom_every_s: float = 0.0
    scheduled_at: float = 0.0
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
        """ready, warming, pending (no free GPU), dead (the engine is gone, the container lives), or crashed: the
        process dies at start, a GPU of it cannot be used, or its memory is used up."""
        if not self.gpus:
            return "pending"
        if self.crashing or not all(gpu.usable for gpu in self.gpus):
            return "crashed"
        if self.dead:
            return "dead"
        if now < self.ready_at:
            return "warming"
        return "crashed" if self._out_of_memory(now) else "ready"

    @property
    def slowness(self) -> float:
        """How many times longer everything takes: a replica is as fast as its slowest GPU."""
        return THROTTLED if any(gpu.throttled for gpu in self.gpus) else 1.0

    def _out_of_memory(self, now: float) -> bool:
        """Every second half of its turn it is being started again; replicas take turns, as they would by chance."""
        if not self.oom_every_s:
            return False
        turn = (now - self.ready_at + self.ordinal * self.oom_every_s / 2) % self.oom_every_s
        return turn > self.oom_every_s / 2

    def restart(self, revision: str, now: float, ready_at: float) -> None:
        """Begin a new pod in this place: counters start at zero, as a new process's do."""
        self.revision = revision
        self.restarts += 1
        self.scheduled_at = now
        self.ready_at = ready_at
        self.dead = self.stalled = False
        self.crashes = self.preemptions = self.prompt_tokens = self.generation_tokens = 0.0
        self.finished = {}
        self.ttft = Histogram(TTFT_EDGES)
        self.e2e = Histogram(E2E_EDGES)


@dataclass(frozen=True)
class Load:
    """What presses on a model, in requests per second: its own `users`, the `guests` of another model, those `turned`
    away and those sent to `others`, of whom the share `lost` (0..1) finds nobody there. `tokens` is a factor on the
    length of answers (1 is normal); with `cache` the cache answers."""

    users: float
    guests: float = 0.0
    turned: float = 0.0
    others: float = 0.0
    lost: float = 0.0
    tokens: float = 1.0
    cache: bool = False


@dataclass
class Traffic:
    """The model's queue and what the gateway counted for its users, by (source, code)."""

    spec: ModelSpec
    waiting: float = 0.0
    ours: float = 1.0
    """Which share of what is being served belongs to our own users; guests are counted where they came from."""
    gateway: dict[tuple[str, str], float] = field(default_factory=dict)

    def step(self, dt: float, load: Load, ready: list[Replica], profiles: dict[str, Profile]) -> None:
        """Serve dt seconds of traffic with the `ready` replicas; `profiles`: revision -> behaviour."""
        self._count("shed", "429", load.turned * dt)
        self._count("fallback", "503", load.others * load.lost * dt)
        self._count("fallback", "200", load.others * (1 - load.lost) * dt)
        arrivals = (load.users + load.guests) * dt
        self._mix(load, dt)
        if load.cache:
            self._answer("cache", "200", arrivals + self.waiting)
            arrivals = self.waiting = 0.0
        if not ready:
            # The gateway has no upstream: it answers at once, and drops what was queued.
            self._answer("model", "503", arrivals + self.waiting)
            self.waiting = 0.0
            return
        wait_s = self._wait_seconds(ready, profiles)
        left = self.waiting * (1 - math.exp(-dt / PATIENCE_S))
        self.waiting -= left
        self._answer("model", "499", left)
        share = arrivals / len(ready)
        for replica in ready:
            failed = share * profiles[replica.revision].error_ratio
            self._answer("model", "500", failed)
            _finish(replica, "error", failed)
            _finish(replica, "abort", left / len(ready))
            self.waiting += share - failed
            if replica.stalled:
                self._hang_up(replica, dt)
            else:
                self._complete(replica, profiles[replica.revision], wait_s, load, dt)
        self._admit(ready, profiles, wait_s, dt)

    def _mix(self, load: Load, dt: float) -> None:
        """Guests come and go; what is in the works follows who arrives, as slowly as it is worked off."""
        arriving = load.users + load.guests
        if arriving:
            self.ours += (load.users / arriving - self.ours) * (1 - math.exp(-dt / self.spec.good.service_s))

    def fail(self, replica: Replica) -> None:
        """What a replica works on when its process dies is answered with an error."""
        self._answer("model", "500", replica.running)
        _finish(replica, "abort", replica.running)
        replica.running = 0.0

    def _hang_up(self, replica: Replica, dt: float) -> None:
        """Nothing comes, so people leave: the gateway times out."""
        gone = replica.running * (1 - math.exp(-dt / HANGS_UP_S))
        replica.running -= gone
        _finish(replica, "abort", gone)
        self._answer("model", "504", gone)

    def _wait_seconds(self, ready: list[Replica], profiles: dict[str, Profile]) -> float:
        working = [replica for replica in ready if not replica.stalled]
        throughput = sum(
            self.spec.room / profiles[replica.revision].service_s / replica.slowness for replica in working
        )
        return self.waiting / throughput if throughput else HANGS_UP_S

    def _complete(self, replica: Replica, profile: Profile, wait_s: float, load: Load, dt: float) -> None:
        service_s = profile.service_s * replica.slowness
        done = replica.running * (1 - math.exp(-dt / service_s))
        replica.running -= done
        replica.generation_tokens += self.spec.output_tokens * load.tokens * done
        # Runaway generations stop at max_tokens rather than at an end token.
        long = 0.07 if load.tokens == 1.0 else 0.7
        _finish(replica, "length", done * long)
        _finish(replica, "stop", done * (1 - long))
        replica.e2e.spread(done, service_s, 0.35, wait_s)
        self._answer("model", "200", done)

    def _admit(self, ready: list[Replica], profiles: dict[str, Profile], wait_s: float, dt: float) -> None:
        rooms = [max(0.0, self.spec.room - replica.running) for replica in ready]
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
            if not replica.stalled:
                replica.ttft.spread(mine, profile.ttft_s * slower * replica.slowness, profile.ttft_sigma, wait_s)
            if kv > 0.955:
                replica.preemptions += 1.5 * dt

    def _answer(self, source: str, code: str, count: float) -> None:
        """Count an answer to whoever waits here, as far as those are our own users."""
        self._count(source, code, count * self.ours)

    def _count(self, source: str, code: str, count: float) -> None:
        self.gateway[source, code] = self.gateway.get((source, code), 0.0) + count


def _finish(replica: Replica, reason: str, count: float) -> None:
    replica.finished[reason] = replica.finished.get(reason, 0.0) + count


def wobble(now: float) -> float:
    """Traffic is never flat: two slow waves of a few per cent around 1."""
    return 1.0 + 0.05 * math.sin(now / 17.0) + 0.03 * math.sin(now / 5.3)
