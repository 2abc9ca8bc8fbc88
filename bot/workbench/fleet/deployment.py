"""One model as the cluster runs it: its replicas, its revisions, a rollout, and the cache in front."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from bot.workbench.fleet.hardware import Hardware
from bot.workbench.fleet.serving import CRASH_EVERY_S, TTFT_EDGES, Load, Replica, Traffic
from bot.workbench.fleet.spec import FleetSpec, ModelSpec, Profile

WINDOW_S = 15.0  # how far back the panel's error ratio and p99 look


@dataclass(frozen=True)
class Rollout:
    """Replicas move to `target` one after another between `started` and `started + seconds`; with `fresh` also those
    that run it already get a new pod."""

    target: str
    started: float
    seconds: float
    fresh: bool = False

    def concerns(self, replica: Replica) -> bool:
        """Whether a replica's turn is still to come."""
        return replica.revision != self.target or (self.fresh and replica.scheduled_at < self.started)


@dataclass(frozen=True)
class Sample:
    """What the gateway and the servers had counted at `at`; two of them make a recent rate."""

    at: float
    total: float
    errors: float
    ttft: tuple[float, ...]


@dataclass
class Deployment:
    """A model, as wanted and as it is. `previous` is the revision that ran before the current one.

    token_cap: the longest answer in tokens the gateway lets it give (0: none set). generation, numbers (revision ->
    `deployment.kubernetes.io/revision`) and the annotations are what Kubernetes keeps of it.
    """

    spec: ModelSpec
    hardware: Hardware
    revision: str
    previous: str
    revisions: dict[str, Profile]
    created: dict[str, float]
    fallback: str = "off"
    token_cap: int = 0
    generation: int = 1
    changed_at: float = -math.inf
    annotations: dict[str, str] = field(default_factory=dict)
    template_annotations: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    rollout: Rollout | None = None
    next_revision: int = 0
    traffic: Traffic = field(init=False)
    past_ttft: list[float] = field(default_factory=lambda: [0.0] * (len(TTFT_EDGES) + 1))
    samples: deque[Sample] = field(default_factory=deque)
    drift: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.traffic = Traffic(self.spec)

    @classmethod
    def start(cls, spec: ModelSpec, fleet: FleetSpec, hardware: Hardware, now: float) -> Deployment:
        """The model as it has run for days: the newest revision on every replica, nothing in progress."""
        current, previous = spec.revisions[-1], spec.revisions[-2 if len(spec.revisions) > 1 else -1]
        ages = {revision: (len(spec.revisions) - i) * 3 * 86_400.0 for i, revision in enumerate(spec.revisions)}
        deployment = cls(
            spec,
            hardware,
            current,
            previous,
            dict.fromkeys(spec.revisions, spec.good),
            {revision: now - age for revision, age in ages.items()},
            numbers={revision: number for number, revision in enumerate(spec.revisions, 1)},
            next_revision=int(current.removeprefix("r").partition("-")[0]) + 1,
            drift=dict.fromkeys(spec.features, 0.04),
        )
        for ordinal in range(spec.replicas):
            replica = Replica(spec.name, ordinal, current, scheduled_at=now - 3 * 86_400.0, ready_at=now - 3 * 86_355.0)
            node, first = fleet.placement[spec.name, ordinal]
            replica.gpus = hardware.claim_at(replica.pod, node, first, spec.gpus)
            replica.running = spec.rate * spec.good.service_s / spec.replicas
            deployment.replicas.append(replica)
        return deployment

    def ready(self, now: float) -> list[Replica]:
        """The replicas that serve at `now`."""
        return [replica for replica in self.replicas if replica.state(now) == "ready"]

    @property
    def target(self) -> str:
        """The revision that is wanted: the one a rollout goes to, else the running one."""
        return self.rollout.target if self.rollout else self.revision

    @property
    def good(self) -> str:
        """The newest revision that works."""
        return [name for name, profile in self.revisions.items() if profile == self.spec.good][-1]

    def image(self, revision: str) -> str:
        """What its containers run at this revision."""
        return f"models.example.com/vllm/{self.spec.served_as}:{revision}"

    def new_revision(self, profile: Profile, now: float) -> str:
        """Build a revision that looks like any other; it behaves as `profile` says."""
        name = f"r{self.next_revision}"
        self.next_revision += 1
        self.revisions[name] = profile
        self.created[name] = now
        return name

    def changed(self, now: float) -> None:
        """Somebody has changed what is wanted."""
        self.generation += 1
        self.changed_at = now

    def observed(self, now: float) -> int:
        """The generation that the deployment controller has seen: the newest, a moment after it was made."""
        return self.generation if now > self.changed_at else self.generation - 1

    def roll(self, target: str, now: float, seconds: float) -> None:
        """Begin moving to `target`; with 0 seconds it has already happened. The revision that is wanted has the highest
        number, also when it is an old one, as a rollback in Kubernetes makes it."""
        if target != self.target:
            self.numbers[target] = max(self.numbers.values()) + 1
        self.changed(now)
        self.rollout = Rollout(target, now, seconds)
        self.advance_rollout(now)

    def restart_all(self, now: float, seconds: float) -> None:
        """New pods of the same revision, one after another, as `kubectl rollout restart` does."""
        self.changed(now)
        self.rollout = Rollout(self.target, now, seconds, fresh=True)
        self.advance_rollout(now)

    def advance_rollout(self, now: float) -> None:
        """Restart the replicas whose turn has come; when all have had it, the revision is the running one."""
        rollout = self.rollout
        if rollout is None:
            return
        turn, end = rollout.seconds / max(1, len(self.replicas)), rollout.started + rollout.seconds
        for position, replica in enumerate(self.replicas):
            if now >= rollout.started + position * turn and rollout.concerns(replica):
                self.restart(replica, now, min(turn, end - now), rollout.target)
        if now >= end:
            if rollout.target != self.revision:
                self.previous, self.revision = self.revision, rollout.target
            self.rollout = None

    def restart(self, replica: Replica, now: float, seconds: float, revision: str | None = None) -> None:
        """Start a new pod in the replica's place, serving after `seconds`; its work goes back in the queue."""
        if seconds > 0:
            self.requeue(replica)
        self._remember(replica)
        replica.restart(revision or replica.revision, now, now + seconds)
        replica.oom_every_s = self.revisions[replica.revision].oom_every_s
        for gpu in replica.gpus:
            gpu.holder = replica.pod

    def requeue(self, replica: Replica) -> None:
        """The gateway retries elsewhere what this replica will not finish."""
        self.traffic.waiting += replica.running
        replica.running = 0.0

    def scale(self, count: int, now: float, seconds: float) -> None:
        """Add or take away replicas; new ones serve after `seconds`, if a GPU is free for them."""
        if count != len(self.replicas):
            self.changed(now)
        for replica in self.replicas[count:]:
            self.requeue(replica)
            self._remember(replica)
            self.hardware.release(replica.gpus)
        del self.replicas[count:]
        for ordinal in range(len(self.replicas), count):
            self.replicas.append(Replica(self.spec.name, ordinal, self.target, restarts=1))
        self.place(now, seconds)

    def evict(self, node: str) -> None:
        """Take every replica off `node`; each waits for a place."""
        for replica in self.replicas:
            if any(gpu.node == node for gpu in replica.gpus):
                self.unseat(replica)

    def unseat(self, replica: Replica) -> None:
        """End a replica's pod: another takes its place as soon as there is one."""
        self.requeue(replica)
        self.hardware.release(replica.gpus)
        replica.gpus = []
        replica.restarts += 1

    def place(self, now: float, seconds: float) -> None:
        """Give pending replicas GPUs where there are any; a placed one serves after `seconds`."""
        for replica in self.replicas:
            if not replica.gpus:
                replica.gpus = self.hardware.claim(replica.pod, self.spec.gpus)
                if replica.gpus:
                    self.restart(replica, now, seconds)

    def step(self, now: float, dt: float, load: Load) -> None:
        """Serve dt seconds of traffic."""
        self.traffic.step(dt, load, self.ready(now), self.revisions)
        serving = set(map(id, self.ready(now)))
        for replica in self.replicas:
            kv = min(1.0, replica.running / self.spec.slots) if id(replica) in serving else 0.0
            if replica.state(now) == "crashed":
                self.traffic.fail(replica)
                replica.crashes += dt / (replica.oom_every_s / 2 if replica.oom_every_s else CRASH_EVERY_S)
            for gpu in replica.gpus:
                if not gpu.lost:
                    # A stalled engine spins: the GPU is as busy as can be, and nothing comes of it.
                    gpu.settle(1.0 if replica.stalled else kv, dt)

    def _remember(self, replica: Replica) -> None:
        for index, count in enumerate(replica.ttft.buckets):
            self.past_ttft[index] += count

    def sample(self, now: float) -> None:
        """Note the counters, so that `error_ratio` and `ttft_p99` can look WINDOW_S back."""
        counts = self.traffic.gateway
        errors = sum(count for (_, code), count in counts.items() if code.startswith("5"))
        buckets = list(self.past_ttft)
        for replica in self.replicas:
            for index, count in enumerate(replica.ttft.buckets):
                buckets[index] += count
        self.samples.append(Sample(now, sum(counts.values()), errors, tuple(buckets)))
        while len(self.samples) > 2 and self.samples[1].at <= now - WINDOW_S:
            self.samples.popleft()

    def error_ratio(self) -> float:
        """Share of requests answered 5xx over the last WINDOW_S seconds, 0..1."""
        if len(self.samples) < 2:
            return 0.0
        old, new = self.samples[0], self.samples[-1]
        total = new.total - old.total
        return (new.errors - old.errors) / total if total > 0 else 0.0

    def ttft_p99(self) -> float | None:
        """99th percentile of time to first token over the window, seconds; None when nothing was served."""
        if len(self.samples) < 2:
            return None
        pairs = zip(self.samples[-1].ttft, self.samples[0].ttft, strict=True)
        window = [max(0.0, new - old) for new, old in pairs]
        total = sum(window)
        if total < 1.0:
            return None
        rank, seen, lower = 0.99 * total, 0.0, 0.0
        for edge, count in zip(TTFT_EDGES, window, strict=False):
            if seen + count >= rank:
                return lower + (edge - lower) * (rank - seen) / count
            seen, lower = seen + count, edge
        return TTFT_EDGES[-1]

    def kv(self, now: float) -> float:
        """KV cache use of the fullest serving replica, 0..1."""
        return max((min(1.0, r.running / self.spec.slots) for r in self.ready(now)), default=0.0)

    def state(self, now: float) -> str:
        """ok, degraded, down or cache, for a person to see at a glance."""
        if self.fallback == "cache":
            return "cache"
        ready = len(self.ready(now))
        if ready == 0:
            return "down"
        slow = (self.ttft_p99() or 0.0) > 2.5
        hurt = self.error_ratio() > 0.02 or slow or self.kv(now) > 0.95 or ready < len(self.replicas)
        return "degraded" if hurt else "ok"
