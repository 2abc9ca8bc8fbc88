"""Whether the other replicas can carry the load when a node is drained. Pure.

What a replica can hold is its KV cache, 1 being full. Where no engine tells its use, the most requests that any replica
of the model was seen to run at once stand for a full one: an under-estimate, hence on the safe side. A cache may be
half empty and the replica at its end all the same; a queue before it tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FULL = 0.9
"""Past this share a cache is near full (NVIDIA's AIPerf reference), and requests begin to be put back."""
QUEUE = 10.0
"""So many requests waiting before one replica are a queue that users feel: the standard limit of check U3."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine as Prometheus sees it.

    name: `namespace/pod`, else the scrape target. node: where it runs, "" when nobody tells. running, waiting: requests
    now. kv: share of its cache in use; None when the engine does not tell. most: most requests it ran at once in the
    last hour. serving: it takes requests; False for one that is not ready or does not answer its scrape. stalled: it
    holds requests and produces nothing. broken, late: shares of its answers that broke off or began after the SLA.
    """

    name: str
    model: str
    node: str = ""
    running: float = 0.0
    waiting: float = 0.0
    kv: float | None = None
    most: float = 0.0
    serving: bool = True
    stalled: bool = False
    broken: float | None = None
    late: float | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """What draining does to one model.

    where: the node. serving, leaving: replicas that take requests now, and those of them that would go. load: what each
    of the others would have to carry, 1 being full; None when it cannot be told. refused: too little would remain, or
    nobody can tell that enough would. reason: one clause that holds the numbers.
    """

    where: str
    model: str
    serving: int
    leaving: int
    load: float | None
    refused: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Drain":
        """What `to_dict` wrote."""
        return cls(**data)


def drains(
    replicas: Sequence[Replica], nodes: Iterable[str], full: float = FULL, queue: float = QUEUE
) -> tuple[Drain, ...]:
    """What it would do to each model with a replica there if all of these nodes were drained at once.

    full, queue: load and requests waiting before one replica past which there is no replica to spare.
    """
    leaving = frozenset(nodes) - {""}
    if not leaving:
        return ()
    where = ", ".join(sorted(leaving))
    models = sorted({replica.model for replica in replicas if replica.node in leaving})
    return tuple(
        _drain([replica for replica in replicas if replica.model == model], leaving, where, full, queue)
        for model in models
    )


def _drain(replicas: Sequence[Replica], nodes: frozenset[str], where: str, full: float, queue: float) -> Drain:
    """What draining `nodes` leaves of one model, whose replicas these are, at least one."""
    model = replicas[0].model
    serving = [replica for replica in replicas if replica.serving]
    going = [replica for replica in serving if replica.node in nodes]
    staying = [replica for replica in serving if replica.node not in nodes]

    def judged(load: float | None, reason: str, *, refused: bool) -> Drain:
        return Drain(where, model, len(serving), len(going), load, refused, reason)

    if not going:
        return judged(_load(serving, staying), f"no replica of {model} serves from {where}", refused=False)
    if not staying:
        return judged(None, f"no replica of {model} would be left", refused=True)
    load = _load(serving, staying)
    count = f"{len(staying)} of {len(serving)} replicas of {model}"
    if load is None:
        reason = f"{count} would remain, and nothing tells how full they are"
        # Nobody waits and most remain: what one of several carried, the others can be trusted with.
        calm = not sum(replica.waiting for replica in serving) and len(going) * 4 <= len(serving)
        return judged(None, reason, refused=not calm)
    if load > full:
        return judged(load, f"{count} would have to carry {load:.0%} of what they can hold", refused=True)
    longest = max(replica.waiting for replica in serving)
    if longest > queue:
        # What serves badly serves: without it its requests wait before the others.
        return judged(load, f"{longest:.0f} requests wait before one replica of {model} already", refused=True)
    return judged(load, f"{count} remain, at {load:.0%} of what they can hold", refused=False)


def _load(serving: Sequence[Replica], staying: Sequence[Replica]) -> float | None:
    """What each staying replica would carry, 1 being full: what runs, and what waits for room."""
    if not staying:
        return None
    running = sum(replica.running for replica in serving)
    waiting = sum(replica.waiting for replica in serving)
    caches = [replica.kv for replica in serving if replica.kv is not None]
    if caches and len(caches) == len(serving):
        each = sum(caches) / running if running else 0.0
        return (sum(caches) + waiting * each) / len(staying)
    most = max((replica.most for replica in serving), default=0.0)
    return (running + waiting) / (most * len(staying)) if most else None
