"""The fleet itself: moves with the clock, breaks when a fault is on, does what the control API asks."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

from bot.workbench.fleet.deployment import Deployment
from bot.workbench.fleet.faults import TRAINING, Faults
from bot.workbench.fleet.gateway import Flags, Runtime, guard_flag, loads
from bot.workbench.fleet.hardware import Gpu, Hardware
from bot.workbench.fleet.scenarios import SCENARIOS
from bot.workbench.fleet.spec import FAULTS, FleetSpec, Refusal

Read = TypeVar("Read")

TICK_S = 0.1
MAX_TICKS = 3_000  # a longer gap is a laptop that slept: the fleet slept too
SETTLE_S = 30.0  # simulated before the first scrape, so that the fleet is born in its stride
MAX_REPLICAS = 16
MAX_TOKENS = 131_072


class ModelStatus(TypedDict):
    """A model as the control API shows it. `rolling_to` is the target of a rollout in progress, else None; `token_cap`
    the longest answer it may give, in tokens, 0 where that is up to the caller."""

    model: str
    service: str
    revision: str
    previous: str
    revisions: list[str]
    rolling_to: str | None
    fallback: str
    token_cap: int
    replicas: int
    ready: int


class NodeStatus(TypedDict):
    """A node as the control API shows it."""

    node: str
    schedulable: bool
    gpus: int
    gpus_lost: int
    replicas: list[str]


class FaultStatus(TypedDict):
    """A switch of the panel: what it breaks, the alert it raises and the runbook for that."""

    id: str
    group: str
    title: str
    description: str
    alert: str
    runbook: str
    on: bool


class ModelPanel(TypedDict):
    """A model as the panel shows it; error_rate and kv 0..1, ttft_p99 in seconds (None: no requests)."""

    name: str
    service: str
    revision: str
    previous: str
    fallback: str
    replicas: int
    ready: int
    error_rate: float
    ttft_p99: float | None
    queue: int
    kv: float
    state: str


class GpuPanel(TypedDict):
    """A GPU as the panel shows it: state ok, idle, lost or cordoned; temp in degrees C, util in per cent."""

    id: str
    node: str
    state: str
    xid: int
    temp: int | None
    util: int | None


@dataclass(frozen=True)
class View:
    """The state of the world at `now` (seconds since the epoch). `deployments` are the models; `canaries` run the
    candidate of the model they are found by."""

    now: float
    spec: FleetSpec
    hardware: Hardware
    deployments: dict[str, Deployment]
    canaries: dict[str, Deployment]

    def running(self) -> Iterator[Deployment]:
        """Every deployment, the models' first."""
        yield from self.deployments.values()
        yield from self.canaries.values()


class Fleet:
    """A simulated GPU fleet. `clock` gives wall time in seconds and may be driven by hand; `flags` is a file of flags
    that its gateway reads.

    Every public method first lets the fleet catch up with the clock, so a test that moves its clock by 20 s
    sees 20 s of traffic. Methods may be called from any thread.
    """

    def __init__(self, clock: Callable[[], float], spec: FleetSpec | None = None, *, flags: Path | None = None) -> None:
        self.spec = spec or FleetSpec()
        self.runtime = Runtime.of(self.spec.models)
        self._clock = clock
        self._lock = threading.RLock()
        self._now = clock() - SETTLE_S
        self._hardware = Hardware.build(self.spec.nodes, self.spec.gpus_per_node)
        self._models = {
            model.name: Deployment.start(model, self.spec, self._hardware, self._now) for model in self.spec.models
        }
        self._canaries = {
            model.name: Deployment.start(model.canary(), self.spec, self._hardware, self._now)
            for model in self.spec.models
            if model.candidate
        }
        self._faults = Faults(self.spec, self._models, self._hardware)
        self._flags = Flags(flags)
        self._sampled_at = -math.inf
        self._turns = 0
        self.advance(clock())

    def advance(self, now: float) -> None:
        """Let time pass up to `now` (seconds since the epoch); going back does nothing."""
        with self._lock:
            self._now = max(self._now, now - MAX_TICKS * TICK_S)
            start = self._now
            for tick in range(1, int((now - start) / TICK_S) + 1):
                self._now = start + tick * TICK_S
                self._step(TICK_S)

    def _step(self, dt: float) -> None:
        now = self._now
        if now - self._sampled_at >= 1.0:
            self._flags.refresh()
        for deployment in self._running():
            deployment.advance_rollout(now)
            deployment.place(now, self.spec.warm_up_s)
        presses = {name: self._faults.press(name) for name in self._models}
        arriving = loads(now, self._models, self._canaries, self.runtime, presses)
        for deployment in self._running():
            deployment.step(now, dt, arriving[deployment.spec.name])
        for deployment in self._models.values():
            self._drift(deployment, dt)
        for gpu in self._hardware.gpus():
            if gpu.holder in (None, TRAINING) and not gpu.lost:
                gpu.settle(1.0 if gpu.holder else 0.0, dt)
        if now - self._sampled_at >= 1.0:
            self._sampled_at = now
            for deployment in self._models.values():
                deployment.sample(now)

    def _running(self) -> Iterator[Deployment]:
        yield from self._models.values()
        yield from self._canaries.values()

    def _drift(self, deployment: Deployment, dt: float) -> None:
        name = deployment.spec.name
        drifting = self._faults.drifting(name) and not self._flags.on(guard_flag(name))
        for index, feature in enumerate(deployment.spec.features):
            target = (0.34, 0.27)[index % 2] if drifting else 0.04
            score = deployment.drift[feature]
            deployment.drift[feature] = score + (target - score) * (1 - math.exp(-dt / 1.5))

    def view(self) -> View:
        """The state of the world now, for the exporter. Read it while no other thread moves the fleet."""
        self.advance(self._clock())
        return View(self._now, self.spec, self._hardware, self._models, self._canaries)

    @contextmanager
    def held(self) -> Iterator[View]:
        """The world now, to read and to change, with the fleet held still meanwhile."""
        with self._lock:
            yield self.view()

    def render(self, read: Callable[[View], Read]) -> Read:
        """What `read` makes of the world now, with the fleet held still meanwhile."""
        with self.held() as world:
            return read(world)

    # --- control

    def models(self) -> list[ModelStatus]:
        """Every model, in the order of the fleet's description."""
        with self._lock:
            self.advance(self._clock())
            return [self._status(deployment) for deployment in self._models.values()]

    def model(self, name: str) -> ModelStatus:
        """One model; 404 when there is none of that name."""
        with self._lock:
            self.advance(self._clock())
            return self._status(self._find(name))

    def image(self, name: str, revision: str) -> str:
        """What the containers of a model run at a revision; 404 when there is none of that name."""
        with self._lock:
            return self._find(name).image(revision)

    def deploy(self, name: str, revision: str) -> ModelStatus:
        """Roll `name` to `revision`, one replica after another over the warm-up time."""
        with self._lock:
            self.advance(self._clock())
            deployment = self._find(name)
            if revision not in deployment.revisions:
                known = ", ".join(deployment.revisions)
                raise Refusal(
                    422, "unknown_revision", f"{name} has no revision {revision}.", f"Deploy one of: {known}."
                )
            if revision != deployment.target:
                deployment.roll(revision, self._now, self.spec.warm_up_s)
            return self._status(deployment)

    def set_fallback(self, name: str, mode: str) -> ModelStatus:
        """Answer the model's traffic from the cache ("cache") or from the model ("off")."""
        with self._lock:
            self.advance(self._clock())
            deployment = self._find(name)
            if mode not in ("cache", "off"):
                raise Refusal(422, "unknown_mode", f"There is no fallback mode {mode}.", 'Use "cache" or "off".')
            deployment.fallback = mode
            return self._status(deployment)

    def answers(self, name: str) -> bool:
        """Whether the replica that takes the next request has the wrong template; 503 when none serves."""
        with self._lock:
            self.advance(self._clock())
            deployment = self._find(name)
            ready = [replica for replica in deployment.ready(self._now) if not replica.stalled]
            if not ready:
                raise Refusal(503, "no_upstream", f"No replica of {name} serves.", "Try again later.")
            self._turns += 1
            return deployment.revisions[ready[self._turns % len(ready)].revision].wrong_template

    def set_token_cap(self, name: str, tokens: int) -> ModelStatus:
        """Let no answer of the model get longer than `tokens`; 0 takes the cap away."""
        with self._lock:
            self.advance(self._clock())
            deployment = self._find(name)
            if not 0 <= tokens <= MAX_TOKENS:
                hint = f"Use 1 to {MAX_TOKENS}, or 0 for none."
                raise Refusal(422, "bad_cap", f"A cap of {tokens} tokens cannot be.", hint)
            deployment.token_cap = tokens
            return self._status(deployment)

    def configure(self, changes: Mapping[str, str]) -> None:
        """Set keys of the gateway's runtime; an empty value goes back to what it was built with."""
        with self._lock:
            self.advance(self._clock())
            self.runtime.modify(changes)

    def scale(self, name: str, replicas: int) -> ModelStatus:
        """Set the number of replicas, 0 to 16; those without a free GPU stay pending."""
        with self._lock:
            self.advance(self._clock())
            deployment = self._find(name)
            if not 0 <= replicas <= MAX_REPLICAS:
                raise Refusal(422, "bad_replicas", f"{replicas} replicas cannot be.", f"Ask for 0 to {MAX_REPLICAS}.")
            deployment.scale(replicas, self._now, self.spec.warm_up_s)
            return self._status(deployment)

    def nodes(self) -> list[NodeStatus]:
        """Every node."""
        with self._lock:
            self.advance(self._clock())
            return [self._node_status(name) for name in self._hardware.nodes]

    def node(self, name: str) -> NodeStatus:
        """One node; 404 when there is none of that name."""
        with self._lock:
            self.advance(self._clock())
            return self._node_status(name)

    def drain(self, name: str) -> NodeStatus:
        """Cordon the node and move its replicas to other nodes, as far as GPUs are free there."""
        with self._lock:
            self.advance(self._clock())
            self._node_status(name)
            self._hardware.nodes[name].cordoned = True
            for deployment in self._running():
                deployment.evict(name)
            for deployment in self._running():
                deployment.place(self._now, self.spec.warm_up_s)
            return self._node_status(name)

    def uncordon(self, name: str) -> NodeStatus:
        """Let the node take replicas again; pending ones start there at once."""
        with self._lock:
            self.advance(self._clock())
            self._node_status(name)
            self._hardware.nodes[name].cordoned = False
            for deployment in self._running():
                deployment.place(self._now, self.spec.warm_up_s)
            return self._node_status(name)

    def _find(self, name: str) -> Deployment:
        if name not in self._models:
            names = ", ".join(self._models)
            raise Refusal(404, "unknown_model", f"There is no model {name}.", f"The models are: {names}.")
        return self._models[name]

    def _status(self, deployment: Deployment) -> ModelStatus:
        return ModelStatus(
            model=deployment.spec.name,
            service=deployment.spec.service,
            revision=deployment.revision,
            previous=deployment.previous,
            revisions=list(deployment.revisions),
            rolling_to=deployment.rollout.target if deployment.rollout else None,
            fallback=deployment.fallback,
            token_cap=deployment.token_cap,
            replicas=len(deployment.replicas),
            ready=len(deployment.ready(self._now)),
        )

    def _node_status(self, name: str) -> NodeStatus:
        node = self._hardware.nodes.get(name)
        if node is None:
            names = ", ".join(self._hardware.nodes)
            raise Refusal(404, "unknown_node", f"There is no node {name}.", f"The nodes are: {names}.")
        held = {gpu.holder for gpu in node.gpus if gpu.holder}
        return NodeStatus(
            node=name,
            schedulable=not node.cordoned,
            gpus=len(node.gpus),
            gpus_lost=sum(gpu.lost for gpu in node.gpus),
            replicas=sorted(held),
        )

    # --- faults

    def faults(self) -> list[FaultStatus]:
        """Every fault and whether it is on. What a rollback or a new pod mends is on until somebody did that."""
        with self._lock:
            self.advance(self._clock())
            return [
                FaultStatus(
                    id=fault.id,
                    group=fault.group,
                    title=fault.title,
                    description=fault.description,
                    alert=SCENARIOS[fault.id].alert,
                    runbook=SCENARIOS[fault.id].runbook,
                    on=self._faults.is_on(fault.id),
                )
                for fault in FAULTS
            ]

    def set_fault(self, fault: str, on: bool) -> None:
        """Switch a fault; the next scrape shows it. A switch already so does nothing; 404 for no such fault."""
        with self._lock:
            self.advance(self._clock())
            self._faults.switch(fault, on, self._now)

    # --- the panel

    def model_panel(self) -> list[ModelPanel]:
        """Every model as a person sees it, rates over the last 15 s."""
        with self._lock:
            self.advance(self._clock())
            now = self._now
            return [
                ModelPanel(
                    name=d.spec.name,
                    service=d.spec.service,
                    revision=d.revision,
                    previous=d.previous,
                    fallback=d.fallback,
                    replicas=len(d.replicas),
                    ready=len(d.ready(now)),
                    error_rate=round(d.error_ratio(), 4),
                    ttft_p99=None if (p99 := d.ttft_p99()) is None else round(p99, 2),
                    queue=round(d.traffic.waiting),
                    kv=round(d.kv(now), 3),
                    state=d.state(now),
                )
                for d in self._models.values()
            ]

    def gpu_panel(self) -> list[GpuPanel]:
        """Every GPU as a person sees it."""
        with self._lock:
            self.advance(self._clock())
            return [self._gpu(gpu) for gpu in self._hardware.gpus()]

    def _gpu(self, gpu: Gpu) -> GpuPanel:
        cordoned = self._hardware.nodes[gpu.node].cordoned
        state = "lost" if not gpu.usable else "cordoned" if cordoned else "ok" if gpu.holder else "idle"
        return GpuPanel(
            id=f"{gpu.node}/gpu{gpu.index}",
            node=gpu.node,
            state=state,
            xid=gpu.xid,
            temp=None if gpu.lost else round(gpu.temp),
            util=None if gpu.lost else round(gpu.util),
        )
