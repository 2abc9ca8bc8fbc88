"""The labelled incidents as data, and what a seed makes of their ranges. README.md explains every key."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

SCENARIOS = Path(__file__).with_name("scenarios.toml")
HISTORY_MIN = 90.0
# A range of these is a number of things; every other range is a magnitude.
_COUNTS = frozenset({"count", "restarts", "errors", "gpus", "nodes", "pods", "held", "queue"})


@dataclass(frozen=True, slots=True)
class Service:
    """A model that is served. gpus: per replica, MIG instances where the fleet has them; rps: per healthy replica."""

    name: str
    engine: str
    replicas: int
    gpus: int
    rps: float
    used: float
    shape: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The machines and who tells of them."""

    nodes: int
    gpus_per_node: int
    exporter: str
    mig_profile: str
    mig_per_gpu: int
    missing: frozenset[str]
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect on one target, its ranges drawn. onset: seconds before now; infinite: from the first sample on."""

    kind: str
    target: str
    onset: float
    values: Mapping[str, Any]

    @property
    def at(self) -> float:
        """The onset on the axis of the history, where now is 0."""
        return -self.onset


@dataclass(frozen=True, slots=True)
class Scenario:
    """One labelled incident. faults, red_herrings: as written, ranges and lists included."""

    id: str
    story: str
    fleet: Fleet
    faults: tuple[Mapping[str, Any], ...]
    red_herrings: tuple[Mapping[str, Any], ...]
    noise: str
    impact: str
    cause: str
    also: tuple[str, ...]
    unsafe: tuple[str, ...]

    @property
    def scope(self) -> str | None:
        """The model that the incident would carry: the first one that a fault names; None is the whole fleet.

        Where no fault names one (nothing is wrong, or a node or all the telemetry is meant), it is the fleet, unless
        the fleet serves one model only and is not silent as a whole.
        """
        targets = [target for fault in self.faults for target in _targets(fault)]
        named = next((name for target in targets if (name := _service(target))), None)
        if named:
            return named
        if len(self.fleet.services) == 1 and "exporter:all" not in targets:
            return self.fleet.services[0].name
        return None

    def effects(self, seed: int) -> tuple[Effect, ...]:
        """Faults, then red herrings, with what this seed draws: the same seed always draws the same."""
        rng = Random(f"{self.id}:{seed}")
        return tuple(effect for raw in (*self.faults, *self.red_herrings) for effect in _drawn(raw, rng))


def _targets(raw: Mapping[str, Any]) -> list[str]:
    target = raw["target"]
    return [target] if isinstance(target, str) else list(target)


def _service(target: str) -> str | None:
    """`chat` of `service:chat`, `replica:chat/1`, `gpu:chat/1/0`, `revision:chat/new` and `exporter:engine/chat`."""
    kind, _, rest = target.partition(":")
    if kind in {"service", "replica", "gpu", "revision"}:
        return rest.split("/")[0]
    return rest.removeprefix("engine/") if rest.startswith("engine/") else None


def _drawn(raw: Mapping[str, Any], rng: Random) -> Iterator[Effect]:
    low, high = raw["onset"]
    onset = rng.uniform(low, high)
    # A reading from the first sample on has no beginning within the history; older roll-outs and Xids keep their time.
    seconds = float("inf") if low >= HISTORY_MIN and high <= HISTORY_MIN else 60 * onset
    for target in _targets(raw):
        values = {key: _value(key, raw[key], rng) for key in raw if key not in {"kind", "target", "onset"}}
        yield Effect(raw["kind"], target, seconds, values)


def _value(key: str, written: Any, rng: Random) -> Any:
    if isinstance(written, Sequence) and not isinstance(written, str):
        low, high = written
        drawn = rng.uniform(low, high)
        return round(drawn) if key in _COUNTS else drawn
    return written


def load(path: Path = SCENARIOS) -> tuple[Scenario, ...]:
    """All labelled incidents, in the order of the file."""
    return tuple(_scenario(raw) for raw in tomllib.loads(path.read_text())["scenario"])


def _scenario(raw: Mapping[str, Any]) -> Scenario:
    fleet = raw["fleet"]
    services = tuple(Service(**service, **raw["load"][service["name"]]) for service in fleet["services"])
    return Scenario(
        id=raw["id"],
        story=raw["story"],
        fleet=Fleet(
            nodes=fleet["nodes"],
            gpus_per_node=fleet["gpus_per_node"],
            exporter=fleet["exporter"],
            mig_profile=fleet["mig_profile"] if fleet["mig"] else "",
            mig_per_gpu=fleet["mig_per_gpu"] if fleet["mig"] else 1,
            missing=frozenset(fleet["missing"]),
            services=services,
        ),
        faults=tuple(raw["faults"]),
        red_herrings=tuple(raw["red_herrings"]),
        noise=raw["noise"],
        impact=raw["impact"],
        cause=raw["cause"],
        also=tuple(raw["also"]),
        unsafe=tuple(raw["unsafe"]),
    )
