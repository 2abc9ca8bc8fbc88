"""What can be wrong with an inference fleet, and which explanation comes first. Pure.

The order is documented and simple; timing and place correct it. What began long after the users' trouble is its
consequence; what was there long before does not explain it; and a fault on one GPU explains what only its replicas do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.health.logs import Kind, ended
from bot.health.observation import entry, pod_of
from bot.health.signals import BEFORE, FAULTS, Signals

ROLLBACK = "rollback-model-deploy"
CACHE = "serve-from-cache"
SCALE_OUT = "queue-scale-out"
SMALLER = "fall-back-to-smaller-model"
DRAINING = frozenset({"gpu-off-the-bus", "gpu-ecc-uncontained", "gpu-thermal-throttling"})
"""The runbooks that drain a node."""

SOON = timedelta(minutes=15)
"""A change shows within this: weights load for minutes, and replicas are replaced one after the other."""
AFTER = timedelta(minutes=5)
"""What begins so much later than the trouble is a consequence of it."""
CHRONIC = timedelta(minutes=20)
"""What was there so much earlier than the trouble does not explain why it began when it did."""
GREW = 1.5
"""So many times the requests of the hour before, or the tokens of an answer, are growth, and not a day's noise."""
ONE_KEY = 0.25
"""When a quarter of all spend has moved to one key, that key is the story."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation. `holds` decides; the rest gives the confidence, in which what is unknown counts on no side.

    speak: the checks that agree when past a limit, in the order in which they are told. A cause shows in some of them
    and seldom in all, so one that is within its limit says nothing; but when all in `must` are, that speaks against it.
    silent: the checks that agree when within their limit, for past it they tell another story. own: the checks whose
    beginning is the cause's; empty where it is the users' own. guess: it names what is seen and not what is behind it.
    runbooks: the best first; `by_check` takes those of the checks in `own` that are bad."""

    id: str
    title: str
    holds: Callable[[Signals], bool]
    speak: tuple[str, ...]
    must: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    guess: bool = False
    runbooks: tuple[str, ...] = ()
    by_check: bool = False


def _recent_change(signals: Signals) -> bool:
    """A deploy, then trouble of the same model. A deployment whose model nobody names may be anyone's."""
    if not (signals.changes and (signals.trouble or signals.bad("E3"))):
        return False
    at, onset = signals.changed, signals.onset or signals.since("E3")
    return at is None or onset is None or onset >= at - BEFORE


def _tokens_explain(signals: Signals) -> bool:
    """Whether answers grew longer, or one key asks for most of them, as far as that is told: more requests of everybody
    bring more tokens too, and are demand."""
    model = next(iter(sorted(signals.models("M2", "M2b"))), "")
    longer, key = signals.value("T2", model), signals.value("T3", model)
    if longer is None and key is None:
        return not _demand_grew(signals)
    return (longer or 0.0) >= GREW or (key or 0.0) >= ONE_KEY


def _tokens_run_away(signals: Signals) -> bool:
    """Without a queue the spend alone is the trouble, whoever makes it."""
    spikes = signals.bad("M2", "M2b") and (_tokens_explain(signals) or not signals.bad("U3"))
    return spikes or signals.crit("M2c")


def _ended_by(signals: Signals, *reasons: str) -> bool:
    restarts = signals.get("E3")
    if restarts is None or not restarts.bad:
        return False
    return any(sample.labels.get("reason") in reasons for sample in restarts.series)


def _log_tells(signals: Signals, *kinds: Kind) -> bool:
    """What the log of a container that restarts says last."""
    log = signals.get("L1")
    return signals.bad("E3") and log is not None and ended(log) in kinds


def _model_changed(signals: Signals) -> bool:
    """Answers that are cut off because they fail or come late are no sign of the model itself."""
    odd = signals.bad("M1d") and not signals.bad("U1", "U1b", "U2", "U2b")
    return odd or signals.crit("M1", "M1b", "M1e") or signals.bad("M1f", "M1g")


RESTARTS = ("host-oom", "gpu-oom", "crash", "restarts")
"""Why containers end, as far as it is told; by the last of them nobody tells."""

TAKING = frozenset({"recent-change", "hardware", *RESTARTS, "no-capacity"})
"""What takes replicas away."""

CAUSES: tuple[Cause, ...] = (
    Cause(
        "recent-change",
        "Recent change",
        _recent_change,
        speak=("E4", "U1", "U1b", "U2", "E3"),
        must=("U1", "U1b", "U2", "E3"),
        silent=("H1", "H2", "H3"),
        own=("E4",),
        runbooks=(ROLLBACK,),
    ),
    Cause(
        "hardware",
        "Hardware",
        lambda signals: signals.crit(*FAULTS),
        speak=(*FAULTS, "U5"),
        silent=("E4",),
        own=FAULTS,
        by_check=True,
    ),
    Cause(
        "stall",
        "Engine hangs",
        lambda signals: signals.bad("U4"),
        speak=("U4", "U3", "U2"),
        silent=("E4", "H1", "H2"),
        runbooks=("engine-stalled",),
    ),
    Cause(
        "host-oom",
        "Containers run out of host memory",
        lambda signals: _ended_by(signals, "OOMKilled") or _log_tells(signals, Kind.HOST_OOM),
        speak=("E3", "L1", "U5"),
        silent=("E4", "H1", "H2"),
        own=("E3",),
        runbooks=("gpu-oom-restart-loop",),
    ),
    Cause(
        "gpu-oom",
        "Containers run out of GPU memory",
        lambda signals: _log_tells(signals, Kind.GPU_OOM),
        speak=("E3", "L1", "U5"),
        silent=("E4", "H1", "H2"),
        own=("E3",),
        runbooks=("gpu-oom-restart-loop",),
    ),
    Cause(
        "crash",
        "Containers crash",
        lambda signals: _log_tells(signals, Kind.NCCL, Kind.GPU_FAULT, Kind.CRASH, Kind.ENGINE),
        speak=("E3", "L1", "U5"),
        silent=("E4", "H1", "H2"),
        own=("E3",),
        runbooks=("gpu-oom-restart-loop",),
    ),
    Cause(
        "restarts",
        "Containers restart, most often out of GPU memory",
        lambda signals: signals.bad("E3"),
        speak=("E3", "U5"),
        silent=("E4", "H1", "H2"),
        own=("E3",),
        guess=True,
        runbooks=("gpu-oom-restart-loop",),
    ),
    Cause(
        "saturation",
        "Saturation",
        lambda signals: signals.bad("U3") and signals.bad("E1", "E2"),
        speak=("U3", "E1", "E2", "U2"),
        must=("U2",),
        silent=("E4", "H1", "U5"),
        runbooks=("kv-cache-saturated", CACHE),
    ),
    Cause(
        "no-capacity",
        "No capacity",
        lambda signals: signals.bad("E5"),
        speak=("E5", "U5", "U3"),
        must=("U5",),
        silent=("E4", "H1", "H2"),
        own=("E5",),
        runbooks=(SMALLER, CACHE),
    ),
    Cause(
        "throttle",
        "GPUs are slowed down",
        lambda signals: signals.bad("H4", "H4b", "H5", "H5b"),
        speak=("H4", "H4b", "H5", "H5b", "U2", "U3"),
        must=("U2", "U3"),
        silent=("E4", "H1", "H2"),
        own=("H4", "H4b", "H5", "H5b"),
        by_check=True,
    ),
    Cause(
        "token-spike",
        "Token spike",
        _tokens_run_away,
        speak=("M2", "M2b", "M2c", "E1"),
        silent=("E4",),
        own=("M2", "M2b", "M2c"),
        runbooks=("token-cost-spike",),
    ),
    Cause(
        "drift",
        "The model no longer answers as it did",
        _model_changed,
        speak=("M1", "M1b", "M1d", "M1e", "M1f", "M1g"),
        silent=("U1", "U2"),
        own=("M1", "M1b", "M1d", "M1e", "M1f", "M1g"),
        runbooks=("drift-threshold-crossed",),
    ),
    Cause(
        "capacity",
        "Replicas are down, why is not visible from here",
        lambda signals: signals.missing,
        speak=("U5", "U5b", "U1", "U3"),
        silent=("E4", "H1", "H2"),
        guess=True,
        runbooks=(CACHE,),
    ),
    Cause(
        "demand",
        "More arrives than is served",
        lambda signals: signals.bad("U3"),
        speak=("U3", "U2"),
        must=("U2",),
        silent=("E4", "U5", "H1"),
        runbooks=(SCALE_OUT,),
    ),
)
RANK = {cause.id: place for place, cause in enumerate(CAUSES)}


def explanations(signals: Signals) -> list[Cause]:
    """The causes that hold, the likeliest first."""
    holding = [cause for cause in CAUSES if cause.holds(signals)]
    ids = {cause.id for cause in holding}
    first = _first(signals, ids)
    return sorted(
        holding,
        key=lambda cause: (_elsewhere(signals, cause), cause.id != first, _unlikely(signals, cause), RANK[cause.id]),
    )


def _elsewhere(signals: Signals, cause: Cause) -> bool:
    """Its fault is known to lie where those in trouble do not run. Without trouble it is the one thing to tell."""
    if not signals.trouble or cause.id not in {"hardware", "throttle", *RESTARTS, "no-capacity"}:
        return False
    if cause.id == "hardware":
        return signals.idle(signals.faulty(*FAULTS))
    if cause.id == "throttle":
        return signals.idle(signals.faulty(*cause.own, critical=False))
    models, troubled = signals.models(*cause.own), signals.troubled
    unnamed = any(not sample.labels.get("model_name") for seen in signals.past(*cause.own) for sample in seen.series)
    return bool(models and troubled) and not unnamed and not models & troubled


def untimely(signals: Signals, cause: Cause) -> bool:
    """It began long after the users' trouble, or was there long before."""
    return _early(signals, cause) or _late(signals, cause)


def lacking(signals: Signals, cause: Cause) -> bool:
    """What the cause can hardly be without is looked at, and nowhere to be seen."""
    known = [check for check in cause.must if signals.known(check)]
    return bool(known) and not signals.bad(*known)


def doubtful(signals: Signals, cause: Cause) -> bool:
    """Time or place speaks against it, and it is named for want of a better one."""
    if _elsewhere(signals, cause):
        return True
    if cause.id == "recent-change":
        return untimely(signals, cause) and not _only_new_ones(signals)
    return _unlikely(signals, cause)


def proven(signals: Signals, cause: Cause) -> bool:
    """Whether place settles it, or two checks of one kind do.

    A change whose new pods alone fail. A GPU whose replicas alone fail, on which containers end since, or which two
    checks call unfit; unless others than its own fail: then it is broken, and not why users suffer.
    """
    if cause.id == "recent-change":
        return _only_new_ones(signals)
    if cause.id != "hardware":
        return False
    confined = signals.confined(signals.touched(signals.faulty(*FAULTS)), late=False)
    told_twice = sum(signals.crit(check) for check in FAULTS) >= 2
    return confined is True or (confined is None and (told_twice or _ends_containers(signals)))


def _only_new_ones(signals: Signals) -> bool:
    """Whether the pods of the change fail, or end, and no others."""
    if signals.confined(signals.renewed(), late=False):
        return True
    sets = tuple(f"{name}-" for sample in signals.changes if (name := sample.labels.get("replicaset", "")))
    ending = [pod_of(sample.labels).rpartition("/")[2] for seen in signals.past("E3") for sample in seen.series]
    return bool(sets and ending) and all(pod.startswith(sets) for pod in ending)


def rivals(signals: Signals, cause: Cause, second: Cause) -> bool:
    """The second might as well be it: its time fits, and what it shows is no part of the first one's story."""
    if not (cause.own and second.own) or untimely(signals, second):
        return False
    return any(seen.check not in cause.speak for seen in signals.past(*second.own))


def _began(signals: Signals, cause: Cause) -> list[datetime]:
    return [seen.since for seen in signals.past(*cause.own) if seen.since]


def _early(signals: Signals, cause: Cause) -> bool:
    onset = signals.onset
    if onset is None:
        return False
    if cause.id == "recent-change":
        return (at := signals.changed) is not None and onset - at > SOON
    began = _began(signals, cause)
    return any(at < onset - CHRONIC for at in began) and not any(onset - CHRONIC <= at <= onset + AFTER for at in began)


def _late(signals: Signals, cause: Cause) -> bool:
    onset, began = signals.onset, _began(signals, cause)
    return onset is not None and cause.id != "recent-change" and bool(began) and min(began) > onset + AFTER


def _unlikely(signals: Signals, cause: Cause) -> bool:
    """Whether its time speaks against it.

    While replicas are missing, what takes replicas away and still stands explains that, however long ago it began: it
    comes before "why is not visible". The pods that wait for a GPU then are the missing ones, whenever they began to.
    A GPU that was ill before the containers on it began to end explains their ends. A spike that goes on fills a queue
    slowly.
    """
    if _late(signals, cause):
        return not (cause.id == "no-capacity" and signals.missing)
    if not _early(signals, cause):
        return False
    if signals.missing and cause.id in TAKING:
        return False
    if cause.id == "hardware" and _ends_containers(signals):
        return False
    return not (cause.id == "token-spike" and _tokens_explain(signals))


def _ends_containers(signals: Signals) -> bool:
    """Whether containers end on a GPU that was at fault before they did."""
    fault, ends = signals.since(*FAULTS), signals.since("E3")
    ending = {pod_of(sample.labels) for seen in signals.past("E3") for sample in seen.series}
    faulty = signals.faulty(*FAULTS)
    on = {pod_of(sample.labels) for sample in faulty} | {replica.name for replica in signals.touched(faulty)}
    return fault is not None and ends is not None and fault <= ends + BEFORE and bool((ending & on) - {""})


def _first(signals: Signals, ids: set[str]) -> str:
    """The cause that timing and place put before the documented order; "" for none."""
    if {"recent-change", "hardware"} <= ids and _fault_explains_more(signals):
        return "hardware"
    if "recent-change" in ids and signals.confined(signals.renewed(), late=False):
        return "recent-change"
    if "recent-change" in ids and ids & {"saturation", "demand"} and _demand_explains_more(signals):
        return "saturation" if "saturation" in ids else "demand"
    if ids & {"recent-change", "hardware", "stall", *RESTARTS}:
        return ""
    if {"saturation", "no-capacity"} <= ids and _came_first(signals, "E5"):
        return "no-capacity"
    if "throttle" in ids and ids & {"saturation", "demand"} and _slowness_is_local(signals):
        return "throttle"
    return ""


def _demand_grew(signals: Signals) -> bool:
    grew = signals.value("T1", next(iter(sorted(signals.models("U3"))), ""))
    return grew is not None and grew >= GREW


def _demand_explains_more(signals: Signals) -> bool:
    """Whether more users, and not the change, make people wait. A deploy brings no users, and where nothing fails they
    are no retries either."""
    if not _demand_grew(signals) or signals.bad("U1", "U1b", "E3", "U5"):
        return False
    at, onset = signals.changed, signals.onset
    return at is None or onset is None or onset - at > AFTER


def _came_first(signals: Signals, check: str) -> bool:
    """It was there when the users' trouble began."""
    began, onset = signals.since(check), signals.onset
    return began is not None and onset is not None and began <= onset + BEFORE


def _fault_explains_more(signals: Signals) -> bool:
    """Whether a faulty GPU explains the trouble better than the change does: by place where the replicas tell, else by
    what came last before it."""
    faulty = signals.faulty(*FAULTS)
    if signals.idle(faulty):
        return False
    confined = signals.confined(signals.touched(faulty), late=False)
    if confined is not None:
        return confined
    fault, change, onset = signals.since(*FAULTS), signals.changed, signals.onset
    if fault is None or change is None or onset is None:
        return False
    return change < fault - BEFORE and fault <= onset + BEFORE


def _slowness_is_local(signals: Signals) -> bool:
    """Whether the slowed GPUs, and not more demand, make people wait."""
    where = signals.touched(signals.faulty("H4", "H4b", "H5", "H5b", critical=False))
    confined = signals.confined(where, late=True)
    if confined is not None:
        return confined
    return signals.crit("H4") and _came_first(signals, "H4") and not _demand_grew(signals)


def headline(signals: Signals, cause: Cause) -> str:
    """The cause in a few words: `Xid 79 on node-7 gpu 3`, `Saturation`."""
    if cause.id != "hardware":
        return cause.title
    worst = next((seen for seen in signals.past(*FAULTS) if seen.status == "crit"), None)
    if worst is None:
        return cause.title
    what = f"Xid {entry(worst.series[0]).number}" if worst.unit == "xid" else worst.title
    return f"{what} on {worst.offender}" if worst.offender else what
