"""Who is where and when in a scenario: pods, their GPUs, roll-outs and restarts, on an axis where now is 0."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tests.quality.scenarios import Effect, Fleet, Scenario, Service

WEEK = 7 * 86_400.0
FOREVER = math.inf
ROLLED_WITHIN_S = 300.0
NAMESPACE = "inference"


@dataclass(frozen=True, slots=True)
class Span:
    """From `begin` up to, not including, `end`."""

    begin: float
    end: float = FOREVER

    def holds(self, t: float) -> bool:
        """Whether `t` lies within."""
        return self.begin <= t < self.end


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU or, with MIG, one instance of it. `instance` is "" without MIG."""

    node: int
    index: int
    instance: str = ""

    @property
    def physical(self) -> tuple[int, int]:
        """Node and GPU, whatever the instance."""
        return self.node, self.index


@dataclass(frozen=True, slots=True)
class Revision:
    """A ReplicaSet. `wanted`: how many replicas it is asked for, from which time on."""

    service: str
    name: str
    created: float
    image: str
    wanted: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class End:
    """A container's end, as Kubernetes tells of it, and when it was ready again."""

    at: float
    ready: float
    reason: str
    exit_code: int
    waiting: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. away: it is not ready and its engine tells nothing; mute: so too, but its node is silent as a whole."""

    name: str
    service: str
    container: str
    revision: str
    image: str
    node: int
    life: Span
    gpus: tuple[Gpu, ...] = ()
    away: tuple[Span, ...] = ()
    ends: tuple[End, ...] = ()
    sidecar_ends: tuple[End, ...] = ()
    pending: bool = False


@dataclass
class Slot:
    """The place of one replica, and the pods that hold it one after the other."""

    service: Service
    index: int
    node: int
    gpus: tuple[Gpu, ...]
    pods: list[Pod]

    def ready(self, t: float) -> bool:
        """Whether a pod is there and takes requests."""
        return any(pod.life.holds(t) and not any(gap.holds(t) for gap in pod.away) for pod in self.pods)


@dataclass
class World:
    """Everything of a scenario that happens to things with a name."""

    scenario: Scenario
    effects: tuple[Effect, ...]
    slots: list[Slot] = field(default_factory=list)
    others: list[Pod] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    generations: dict[str, list[float]] = field(default_factory=dict)
    wanted: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    lost_gpus: dict[Gpu, tuple[float, int | None]] = field(default_factory=dict)
    lost_nodes: dict[int, float] = field(default_factory=dict)
    cordoned: dict[int, float] = field(default_factory=dict)

    @property
    def fleet(self) -> Fleet:
        """The fleet of the scenario."""
        return self.scenario.fleet

    @property
    def pods(self) -> Iterator[Pod]:
        """Every pod that ever was."""
        for slot in self.slots:
            yield from slot.pods
        yield from self.others

    def of(self, service: str) -> list[Slot]:
        """The replicas of a service, in order."""
        return [slot for slot in self.slots if slot.service.name == service]

    def touched(self, target: str) -> list[Slot]:
        """The replicas that a target names: its own, those of its service or revision, that of its GPU."""
        kind, _, rest = target.partition(":")
        name, *more = rest.split("/")
        slots = self.of(name)
        if kind == "service":
            return slots
        if kind == "revision":
            first = next(e.values["new_from"] for e in self.effects if e.kind == "rollout" and e.target.endswith(name))
            return slots[first:]
        return [slots[int(more[0])]] if kind in {"replica", "gpu"} else []

    def gpus(self, target: str) -> list[Gpu]:
        """The GPUs that a target names; all instances of a physical one with MIG."""
        kind, _, rest = target.partition(":")
        everything = list(hardware(self.fleet))
        if kind == "node":
            return [gpu for gpu in everything if gpu.node == int(rest)]
        if kind == "gpu":
            _, _, number = rest.split("/")
            meant = self.touched(target)[0].gpus[int(number)].physical
            return [gpu for gpu in everything if gpu.physical == meant]
        return [gpu for slot in self.touched(target) for gpu in slot.gpus]


def hardware(fleet: Fleet) -> Iterator[Gpu]:
    """Every GPU, or every instance, node by node in the order in which they are handed out."""
    for node in range(fleet.nodes):
        for index in range(fleet.gpus_per_node):
            for instance in range(fleet.mig_per_gpu):
                # Instances that hold a memory slice or more are numbered from 1 by the driver, upwards.
                yield Gpu(node, index, str(instance + 1) if fleet.mig_profile else "")


def _name(rng: Random, letters: int) -> str:
    return "".join(rng.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(letters))


def build(scenario: Scenario, seed: int) -> World:
    """The world of a scenario under a seed: healthy, and then everything that befalls it."""
    rng = Random(f"{scenario.id}:{seed}:names")
    world = World(scenario, scenario.effects(seed))
    free = {node: [gpu for gpu in hardware(world.fleet) if gpu.node == node] for node in range(world.fleet.nodes)}
    for service in world.fleet.services:
        revision = _first_revision(world, service.name, service.replicas, rng)
        for index in range(service.replicas):
            node = index % world.fleet.nodes
            gpus = tuple(free[node].pop(0) for _ in range(service.gpus))
            pod = _pod(service.name, service.engine.removesuffix("-old"), revision, node, gpus, Span(-WEEK), rng)
            world.slots.append(Slot(service, index, node, gpus, [pod]))
    listed = {service.name for service in world.fleet.services}
    for name in dict.fromkeys(e.target.removeprefix("service:") for e in world.effects if e.kind == "rollout"):
        if name not in listed:
            revision = _first_revision(world, name, 3, rng)
            world.others += [_pod(name, "app", revision, n % world.fleet.nodes, (), Span(-WEEK), rng) for n in range(3)]
    spare = [gpu for gpus in free.values() for gpu in gpus]
    order = ("hpa-resize", "rollout", "node-cordon", "gpu-lost", "replicas-missing", "node-lost", "nvlink-fault")
    effects = sorted(world.effects, key=lambda effect: order.index(effect.kind) if effect.kind in order else len(order))
    for effect in effects:
        _befall(world, effect, spare, rng)
    return world


def _first_revision(world: World, service: str, replicas: int, rng: Random) -> Revision:
    revision = Revision(service, f"{service}-{_name(rng, 9)}", -WEEK, f"{service}:1", ((-WEEK, replicas),))
    world.revisions.append(revision)
    world.generations[service] = [-WEEK]
    world.wanted[service] = [(-WEEK, replicas)]
    return revision


def _pod(
    service: str, container: str, revision: Revision, node: int, gpus: tuple[Gpu, ...], life: Span, rng: Random
) -> Pod:
    name = f"{revision.name}-{_name(rng, 5)}"
    return Pod(name, service, container, revision.name, revision.image, node, life, gpus)


def _befall(world: World, effect: Effect, spare: list[Gpu], rng: Random) -> None:
    """What an effect does to things with a name. What it does to numbers stands in `load` and `gpus`."""
    match effect.kind:
        case "hpa-resize":
            _resize(world, effect)
        case "rollout":
            _roll_out(world, effect, rng)
        case "node-cordon":
            node = int(effect.target.removeprefix("node:"))
            world.cordoned[node] = effect.at
            if effect.values["evicts"]:
                for slot in world.slots:
                    if slot.node == node:
                        _end_life(slot, effect.at)
        case "gpu-lost":
            _lose_gpus(world, effect, spare, rng)
        case "replicas-missing":
            for slot in world.touched(effect.target):
                if effect.values["seen"] == "gone":
                    _end_life(slot, effect.at)
                    _want(world, slot.service.name, effect.at, -1)
                else:
                    _keep_away(slot, Span(effect.at))
        case "node-lost":
            first = int(effect.target.removeprefix("node:"))
            for node in range(first, first + effect.values["nodes"]):
                world.lost_nodes[node] = effect.at
                for slot in world.slots:
                    if slot.node == node:
                        _keep_away(slot, Span(effect.at))
        case "nvlink-fault" if effect.values["effect"] == "dead":
            for slot in world.touched(effect.target):
                _keep_away(slot, Span(effect.at))
        case "restarts":
            _restart(world, effect, rng)
        case "pods-pending":
            _leave_pending(world, effect, rng)


def _change(slot: Slot, changed: Iterable[Pod]) -> None:
    slot.pods[:] = list(changed)


def _keep_away(slot: Slot, gap: Span) -> None:
    _change(slot, (replace(pod, away=(*pod.away, gap)) for pod in slot.pods))


def _end_life(slot: Slot, at: float) -> None:
    cut = (replace(pod, life=Span(pod.life.begin, min(pod.life.end, at))) for pod in slot.pods)
    _change(slot, (pod for pod in cut if pod.life.begin < pod.life.end))


def _want(world: World, service: str, at: float, more: int) -> None:
    steps = world.wanted[service]
    steps.append((at, steps[-1][1] + more))
    steps.sort()
    if at > -FOREVER:
        world.generations[service].append(at)


def _resize(world: World, effect: Effect) -> None:
    service = effect.target.removeprefix("service:")
    start, goal = effect.values["from"], effect.values["to"]
    world.wanted[service] = [(-WEEK, start), (effect.at, goal)]
    world.generations[service].append(effect.at)
    for slot in world.of(service)[start:goal]:
        _change(slot, (replace(pod, life=Span(effect.at)) for pod in slot.pods))


def _roll_out(world: World, effect: Effect, rng: Random) -> None:
    service = effect.target.removeprefix("service:")
    old = next(revision for revision in world.revisions if revision.service == service)
    image = f"{service}:2" if effect.values["change"] == "image" else old.image
    slots = world.of(service)
    first = effect.values["new_from"]
    count = (len(slots) or 3) - first
    moments = [effect.at + ROLLED_WITHIN_S * (n + 1) / count for n in range(count)]
    total = old.wanted[-1][1]
    new = Revision(
        service,
        f"{service}-{_name(rng, 9)}",
        effect.at,
        image,
        ((effect.at, 1), *((moment, n + 1) for n, moment in enumerate(moments))),
    )
    going = tuple((moment, total - n - 1) for n, moment in enumerate(moments))
    world.revisions[world.revisions.index(old)] = replace(old, wanted=(*old.wanted, *going))
    world.revisions.append(new)
    world.generations[service].append(effect.at)
    for slot, moment in zip(slots[first:], moments, strict=False):
        before = slot.pods[-1]
        _end_life(slot, moment)
        slot.pods.append(_pod(service, before.container, new, slot.node, slot.gpus, Span(moment), rng))
    if not slots:
        gone = [pod for pod in world.others if pod.service == service][first:]
        for pod, moment in zip(gone, moments, strict=True):
            world.others.remove(pod)
            world.others.append(replace(pod, life=Span(pod.life.begin, moment)))
            world.others.append(_pod(service, "app", new, pod.node, (), Span(moment), rng))


def _lose_gpus(world: World, effect: Effect, spare: list[Gpu], rng: Random) -> None:
    _, _, rest = effect.target.partition(":")
    number = int(rest.split("/")[2])
    slot = world.touched(effect.target)[0]
    told = effect.values["xid"] if rng.random() < 0.5 else None
    for gpu in slot.gpus[number : number + effect.values["gpus"]]:
        world.lost_gpus[gpu] = (effect.at, told)
    _keep_away(slot, Span(effect.at))
    if "replaced_after" not in effect.values:
        return
    back = effect.at + 60 * effect.values["replaced_after"]
    on_one_node = next(
        [gpu for gpu in spare if gpu.node == node][: slot.service.gpus]
        for node in range(world.fleet.nodes)
        if sum(gpu.node == node for gpu in spare) >= slot.service.gpus
    )
    before = slot.pods[-1]
    _end_life(slot, back)
    revision = next(revision for revision in world.revisions if revision.name == before.revision)
    node = on_one_node[0].node
    slot.pods.append(_pod(slot.service.name, before.container, revision, node, tuple(on_one_node), Span(back), rng))


def _ends(effect: Effect, rng: Random, never: bool) -> Iterator[End]:
    """The ends, evenly spread; with `waiting` the last one is so fresh that its container waits at now."""
    count, values = effect.values["restarts"], effect.values
    last = 60.0 if values["waiting"] else effect.onset / count
    step = (effect.onset - last) / max(count - 1, 1)
    for n in range(count):
        at = effect.at + n * step
        down = FOREVER if never else at + rng.uniform(120, 240)
        yield End(at, down, values["reason"], values["exit_code"], values["waiting"])


def _restart(world: World, effect: Effect, rng: Random) -> None:
    kind, _, rest = effect.target.partition(":")
    never = effect.values["log"] == "config"
    if kind == "pod" and not rest.endswith("/sidecar"):
        node, ends = rng.randrange(world.fleet.nodes), tuple(_ends(effect, rng, never))
        name = f"{rest}-{_name(rng, 5)}"
        world.others.append(Pod(name, rest, rest, "", f"{rest}:1", node, Span(-WEEK), ends=ends))
        return
    if kind == "pod":
        slot = world.touched("replica:" + rest.removesuffix("/sidecar"))[0]
        ends = tuple(_ends(effect, rng, never))
        _change(slot, (replace(pod, sidecar_ends=ends) for pod in slot.pods))
        return
    for slot in world.touched(effect.target):
        ends, pod = tuple(_ends(effect, rng, never)), slot.pods[-1]
        # A new revision that cannot start was never ready, from its first second on.
        born = (Span(pod.life.begin),) if never else ()
        slot.pods[-1] = replace(pod, ends=ends, away=(*pod.away, *born, *(Span(end.at, end.ready) for end in ends)))


def _leave_pending(world: World, effect: Effect, rng: Random) -> None:
    service = effect.target.removeprefix("service:")
    revision = [revision for revision in world.revisions if revision.service == service][-1]
    slots = world.of(service)
    count = effect.values["pods"]
    if effect.values["added"]:
        goal = len(slots) + count
        if world.wanted[service][-1][1] < goal:
            _want(world, service, effect.at, goal - world.wanted[service][-1][1])
    for n in range(count):
        like = slots[n % len(slots)].gpus
        pod = _pod(service, slots[0].service.engine.removesuffix("-old"), revision, -1, like, Span(effect.at), rng)
        world.others.append(replace(pod, pending=True))
