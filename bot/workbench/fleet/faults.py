"""What goes wrong on request: each fault changes the fleet as the real one would, and is over once that is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bot.workbench.fleet.deployment import Deployment
from bot.workbench.fleet.gateway import Press
from bot.workbench.fleet.hardware import XID_CONTAINED, XID_OFF_BUS, XID_UNCONTAINED, Gpu, Hardware
from bot.workbench.fleet.serving import Replica
from bot.workbench.fleet.spec import FAULTS, FleetSpec, Refusal

TRAINING = "training/pretrain-0"
"""Who holds the GPUs that were taken away: namespace and pod."""


@dataclass
class Faults:
    """The switches. Most are as somebody set them; what a pod's end or a rollback mends is on while it can be seen."""

    spec: FleetSpec
    models: dict[str, Deployment]
    hardware: Hardware
    _set: set[str] = field(default_factory=set)

    def is_on(self, fault: str) -> bool:
        """Whether it hurts, or would as soon as somebody worked there again."""
        seen = self._seen().get(fault)
        return seen() if seen else fault in self._set

    def switch(self, fault: str, on: bool, now: float) -> None:
        """Break it, or mend it as the repair of people outside this fleet would; 404 for no such fault."""
        if fault not in {known.id for known in FAULTS}:
            names = ", ".join(known.id for known in FAULTS)
            raise Refusal(404, "unknown_fault", f"There is no fault {fault}.", f"The faults are: {names}.")
        if self.is_on(fault) == on:
            return
        (self._set.add if on else self._set.discard)(fault)
        act = self._acts().get(fault)
        if act:
            act(on, now)

    def press(self, model: str) -> Press:
        """What the faults that are on add to a model's traffic."""
        return Press(
            batch=2.0 if "kv-saturation" in self._set and model == self.spec.traffic_fault_model else 0.0,
            users=2.0 if "queue-saturated" in self._set and model == self.spec.queue_fault_model else 0.0,
            tokens=12.0 if "token-spike" in self._set and model == self.spec.token_fault_model else 1.0,
        )

    def drifting(self, model: str) -> bool:
        """Whether the model's inputs are unlike its reference set."""
        return "drift" in self._set and model == self.spec.drift_fault_model

    def _seen(self) -> dict[str, Callable[[], bool]]:
        models, spec = self.models, self.spec
        deployed, hungry = models[spec.deploy_fault_model], models[spec.oom_fault_model]
        return {
            "bad-deploy": lambda: deployed.revisions[deployed.target] == deployed.spec.bad,
            "wrong-template": lambda: deployed.revisions[deployed.target] == deployed.spec.muddled,
            "gpu-oom": lambda: hungry.revisions[hungry.target] == hungry.spec.hungry,
            "ecc-contained": lambda: any(replica.dead for _, replica in self._replicas()),
            "engine-stalled": lambda: any(replica.stalled for _, replica in self._replicas()),
            "telemetry-blind": lambda: not self.hardware.nodes[spec.blind_node].exporting,
        }

    def _acts(self) -> dict[str, Callable[[bool, float], None]]:
        return {
            "bad-deploy": self._bad_deploy,
            "wrong-template": self._wrong_template,
            "gpu-oom": self._gpu_oom,
            "gpu-off-bus": self._gpu_off_bus,
            "ecc-contained": self._ecc_contained,
            "ecc-uncontained": self._ecc_uncontained,
            "thermal": self._thermal,
            "engine-stalled": self._engine_stalled,
            "capacity-lost": self._capacity_lost,
            "model-down": self._model_down,
            "telemetry-blind": self._telemetry_blind,
        }

    def _bad_deploy(self, on: bool, now: float) -> None:
        deployment = self.models[self.spec.deploy_fault_model]
        if on:
            deployment.roll(deployment.new_revision(deployment.spec.bad, now), now, 0.0)
        else:
            deployment.roll(deployment.good, now, self.spec.warm_up_s)

    def _wrong_template(self, on: bool, now: float) -> None:
        deployment = self.models[self.spec.deploy_fault_model]
        if on:
            deployment.roll(deployment.new_revision(deployment.spec.muddled, now), now, 0.0)
        else:
            deployment.roll(deployment.good, now, self.spec.warm_up_s)

    def _gpu_oom(self, on: bool, now: float) -> None:
        deployment = self.models[self.spec.oom_fault_model]
        if on:
            deployment.roll(deployment.new_revision(deployment.spec.hungry, now), now, 0.0)
        else:
            deployment.roll(deployment.good, now, self.spec.warm_up_s)

    def _gpu_off_bus(self, on: bool, now: float) -> None:
        gpu = self._gpu(self.spec.faulty_gpu)
        gpu.lost = on
        gpu.xid = XID_OFF_BUS if on else 0  # the repair is a cold restart: the last Xid goes with it
        self._restart_on(gpu, on, now)

    def _ecc_uncontained(self, on: bool, now: float) -> None:
        gpu = self._gpu(self.spec.uncontained_gpu)
        gpu.broken = on
        gpu.xid = XID_UNCONTAINED if on else 0
        gpu.remapped_rows += on
        self._restart_on(gpu, on, now)

    def _restart_on(self, gpu: Gpu, broke: bool, now: float) -> None:
        for deployment, replica in self._replicas():
            if gpu in replica.gpus and not broke:
                deployment.restart(replica, now, self.spec.warm_up_s)
            elif gpu in replica.gpus:
                deployment.requeue(replica)

    def _ecc_contained(self, on: bool, now: float) -> None:
        wanted = self._gpu(self.spec.contained_gpu)
        if on:
            serving = [(d, r) for d, r in self._replicas() if r.gpus]
            deployment, replica = next(((d, r) for d, r in serving if wanted in r.gpus), serving[0])
            gpu = wanted if wanted in replica.gpus else replica.gpus[0]
            gpu.xid = XID_CONTAINED
            gpu.remapped_rows += 1
            replica.dead = True
            deployment.traffic.fail(replica)
            return
        for deployment, replica in self._replicas():
            if replica.dead:
                deployment.restart(replica, now, self.spec.warm_up_s)
        for gpu in self.hardware.gpus():
            gpu.xid = 0 if gpu.xid == XID_CONTAINED else gpu.xid

    def _thermal(self, on: bool, _: float) -> None:
        for gpu in self.hardware.nodes[self.spec.hot_node].gpus:
            gpu.hot = on

    def _engine_stalled(self, on: bool, now: float) -> None:
        model, ordinal = self.spec.stalled_replica
        if on:
            replicas = self.models[model].replicas
            replicas[min(ordinal, len(replicas) - 1)].stalled = True
            return
        for deployment, replica in self._replicas():
            if replica.stalled:
                deployment.restart(replica, now, self.spec.warm_up_s)

    def _capacity_lost(self, on: bool, _: float) -> None:
        if not on:
            self.hardware.release([gpu for gpu in self.hardware.gpus() if gpu.holder == TRAINING])
            return
        deployment = self.models[self.spec.preempted_model]
        for replica in deployment.replicas[1:]:
            deployment.unseat(replica)
        for gpu in self.hardware.gpus():
            gpu.holder = gpu.holder or TRAINING

    def _model_down(self, on: bool, now: float) -> None:
        deployment = self.models[self.spec.down_fault_model]
        for replica in deployment.replicas:
            replica.crashing = on
            if not on:
                deployment.restart(replica, now, self.spec.warm_up_s)
            replica.running = 0.0

    def _telemetry_blind(self, on: bool, now: float) -> None:
        node = self.hardware.nodes[self.spec.blind_node]
        if on:
            node.exporting = False
        else:
            node.restart_exporter(now)

    def _replicas(self) -> Iterator[tuple[Deployment, Replica]]:
        for deployment in self.models.values():
            for replica in deployment.replicas:
                yield deployment, replica

    def _gpu(self, place: tuple[str, int]) -> Gpu:
        node, index = place
        return self.hardware.nodes[node].gpus[index]
