"""One incident for every cause that the report can name, told in the names of any server: `STORIES`, by the cause's id.

Each is of a model of its own, so that all stand side by side in one Prometheus.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot.contracts import Container
from tests.health.conftest import Past
from tests.health.dialects import EngineName, Replica, grows, steps
from tests.health.fleet import Exporter, Fleet

MINUTE = 60.0
CROWD = Replica(ago=6 * MINUTE, arriving=20, waiting=70, late=0.4)
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB"
NCCL = "[rank3]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=81, OpType=ALLREDUCE)"

Story = Callable[[Fleet], None]


def _well(fleet: Fleet) -> None:
    """Nothing happens."""


def _fails(fleet: Fleet) -> None:
    """Requests fail, and nothing tells why."""
    fleet.all(Replica(ago=20 * MINUTE, failing=0.3))


def _silence(fleet: Fleet) -> None:
    fleet.silent_ago = 15 * MINUTE


def _rollout(fleet: Fleet) -> None:
    fleet.deployed_ago = 7 * MINUTE
    fleet.all(Replica(ago=5 * MINUTE, failing=0.3))


def _dead_gpu(fleet: Fleet) -> None:
    fleet.replicas[2] = Replica(ago=3 * MINUTE, failing=0.9)
    fleet.xids[f"{fleet.node(2)}:1"] = (79, 4 * MINUTE)


def _dead_gpu_in_a_full_fleet(fleet: Fleet) -> None:
    fleet.all(Replica(ago=30 * MINUTE, kv=0.8, waiting=4))
    fleet.replicas[2] = Replica(ago=3 * MINUTE, failing=0.9, kv=0.8, waiting=4)
    fleet.xids[f"{fleet.node(2)}:1"] = (79, 4 * MINUTE)


def _dead_gpu_under_all_there_is(fleet: Fleet) -> None:
    fleet.count = 1
    fleet.replicas[0] = Replica(ago=3 * MINUTE, failing=0.05)
    fleet.xids[f"{fleet.node(0)}:1"] = (79, 4 * MINUTE)


def _hang(fleet: Fleet) -> None:
    fleet.replicas[1] = Replica(ago=10 * MINUTE, arriving=0, tokens=0, waiting=8)


def _restarts(reason: str) -> Story:
    def story(fleet: Fleet) -> None:
        fleet.available = 3
        fleet.restarted[1] = (4, reason, 5 * MINUTE)

    return story


def _crowd(fleet: Fleet) -> None:
    fleet.all(CROWD)


def _full_cache(fleet: Fleet) -> None:
    fleet.all(replace(CROWD, kv=0.97, put_back=1))


def _nothing_free(fleet: Fleet) -> None:
    fleet.pending_ago = 15 * MINUTE
    fleet.all(Replica(ago=8 * MINUTE, arriving=6, waiting=70, kv=0.97, put_back=1))


def _slowed(fleet: Fleet) -> None:
    fleet.replicas[0] = Replica(ago=8 * MINUTE, late=0.6, waiting=4)
    if fleet.engine == "triton":  # without a histogram only the mean of all replicas tells
        fleet.replicas[0] = Replica(ago=8 * MINUTE, mean=14, waiting=4)
    fleet.slowed[f"{fleet.node(0)}:0"] = (0.9, 12 * MINUTE)


def _gone(fleet: Fleet) -> None:
    """Two of four replicas do not serve; their containers run on and their GPUs are well."""
    fleet.available = 2


def _leaked_key(fleet: Fleet) -> None:
    fleet.all(Replica(ago=12 * MINUTE, arriving=8, tokens=900, waiting=30, late=0.3))
    for key in range(4):
        labels = {"job": "litellm", "model": fleet.model, "hashed_api_key": f"k{key}"}
        pace = grows(1, 20 if key == 0 else 1, 45 * MINUTE)
        fleet.past.gauge("litellm_spend_metric_total", labels, pace)


def _worse_answers(fleet: Fleet) -> None:
    score = {"job": "drift", "model": fleet.model, "metric": "canary"}
    fleet.past.gauge("model_quality_score", score, steps(0.93, 0.74, 70 * MINUTE))


@dataclass(frozen=True)
class Incident:
    """log: the last line of a container that ended, where somebody keeps it."""

    story: Story
    log: str = ""


STORIES: dict[str, tuple[Incident, ...]] = {
    "blind": (Incident(_silence),),
    "none": (Incident(_well), Incident(_fails)),
    "recent-change": (Incident(_rollout),),
    "hardware": (Incident(_dead_gpu), Incident(_dead_gpu_in_a_full_fleet), Incident(_dead_gpu_under_all_there_is)),
    "stall": (Incident(_hang),),
    "host-oom": (Incident(_restarts("OOMKilled")),),
    "gpu-oom": (Incident(_restarts("Error"), CUDA),),
    "crash": (Incident(_restarts("Error"), NCCL),),
    "restarts": (Incident(_restarts("Error")),),
    "saturation": (Incident(_full_cache),),
    "no-capacity": (Incident(_nothing_free),),
    "throttle": (Incident(_slowed),),
    "token-spike": (Incident(_leaked_key),),
    "drift": (Incident(_worse_answers),),
    "capacity": (Incident(_gone),),
    "demand": (Incident(_crowd),),
}


UNSEEN: dict[EngineName, frozenset[str]] = {"triton": frozenset({"saturation"})}
"""Plain Triton says nothing of a cache: a full one is told as more demand than is served."""


@dataclass(frozen=True)
class Told:
    """One incident of one server, ready to be asked about by the name of its model."""

    cause: str
    model: str
    log: str

    def tail(self, container: Container, now: datetime) -> Sequence[str]:
        """What the container wrote last, as the part that reads logs gives it."""
        return (self.log,)


def write(past: Past, engine: EngineName, exporter: Exporter) -> list[Told]:
    """All incidents in the names of this server, on GPUs of this generation of the exporter."""
    told: list[Told] = []
    for cause, incidents in STORIES.items():
        for place, incident in enumerate(incidents):
            at = len(told)
            model = f"{cause}-{place}"
            fleet = Fleet(engine, exporter, model, first_node=10 * at, subnet=f"10.2.{at}", past=past)
            incident.story(fleet)
            fleet.write()
            seen = "demand" if cause in UNSEEN.get(engine, ()) else cause
            told.append(Told(seen, model, incident.log))
    return told
