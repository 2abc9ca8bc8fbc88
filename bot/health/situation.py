"""Everything one survey brought home, and how its parts belong together: replicas, their pods, nodes and GPUs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.health.capacity import Replica
from bot.health.observation import Observation, Sample, pod_of, uuid_of
from bot.health.scope import Gpu

Facts = Mapping[str, Sequence[Sample]]
"""What was asked beside the checks, by name: the parts of `queries.serving.REPLICAS`, `held`, `placed`, `not_ready`."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The observations, in the order of the catalogue, and the fleet they are about; empty where nothing tells."""

    observations: tuple[Observation, ...]
    replicas: tuple[Replica, ...] = ()
    gpus: tuple[Gpu, ...] = ()


def gpus_of(held: Sequence[Sample]) -> tuple[Gpu, ...]:
    """The GPUs, each with the pod that holds it; one that changed hands lately stands there once per pod."""
    found = {
        Gpu(
            node=sample.labels.get("host", ""),
            index=sample.labels.get("gpu", ""),
            uuid=uuid_of(sample.labels),
            pod=pod_of(sample.labels),
        )
        for sample in held
    }
    return tuple(sorted(found))


def replicas_of(facts: Facts) -> tuple[Replica, ...]:
    """One per target that serves, or lately served, a model; where it runs is told by itself, its pod or its GPUs."""
    places = {pod_of(sample.labels): sample.labels.get("node", "") for sample in facts.get("placed", ())}
    for gpu in gpus_of(facts.get("held", ())):
        if gpu.pod:
            places.setdefault(gpu.pod, gpu.node)
    unready = {pod_of(sample.labels) for sample in facts.get("not_ready", ()) if sample.value}
    numbers: dict[tuple[str, str], dict[str, float]] = {}
    nodes: dict[tuple[str, str], str] = {}
    for part, samples in facts.items():
        for sample in samples if part not in {"placed", "held", "not_ready"} else ():
            labels = sample.labels
            key = (pod_of(labels) or labels.get("instance", ""), labels.get("model_name", ""))
            if not all(key) or sample.value != sample.value:  # a rate over no traffic is NaN
                continue
            numbers.setdefault(key, {})[part] = sample.value
            nodes.setdefault(key, labels.get("node", "") or places.get(key[0], ""))
    return tuple(
        Replica(
            name=name,
            model=model,
            node=nodes[name, model],
            running=told.get("running", 0.0),
            waiting=told.get("waiting", 0.0),
            kv=told.get("kv"),
            most=told.get("most", 0.0),
            serving=bool({"running", "waiting"} & told.keys()) and name not in unready,
            stalled=told.get("stalled", 0.0) > 0,
            broken=told.get("broken"),
            late=told.get("late"),
        )
        for (name, model), told in sorted(numbers.items())
    )


def workload(pod: str) -> str:
    """The deployment in a pod's name: `chat/llama` of `chat/llama-7c9f-x2k4p`; the name itself without hashes."""
    parts = pod.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else pod


def of_model(sample: Sample, replicas: Sequence[Replica]) -> str:
    """The model that a series is about, by its own word, its pod or its deployment; "" when nobody tells."""
    labels = sample.labels
    if labels.get("model_name"):
        return labels["model_name"]
    pod = pod_of(labels)
    for replica in replicas if pod else ():
        if replica.name == pod or workload(replica.name) == workload(pod):
            return replica.model
    deployment = labels.get("deployment", "")
    if deployment:
        for replica in replicas:
            if replica.model == deployment or workload(replica.name).rpartition("/")[2] == deployment:
                return replica.model
    return ""


def with_model(sample: Sample, replicas: Sequence[Replica]) -> Sample:
    """The series with its model beside its other labels, where that can be told."""
    model = of_model(sample, replicas)
    return Sample({**sample.labels, "model_name": model}, sample.value) if model else sample


def told_apart(observation: Observation, replicas: Sequence[Replica]) -> Observation:
    """The observation with the model of each of its series, which the words about whom it is do not need."""
    return replace(observation, series=tuple(with_model(sample, replicas) for sample in observation.series))
