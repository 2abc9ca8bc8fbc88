"""What steps must know of a cluster's objects, out of their JSON. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Final

Json = Mapping[str, Any]

MARK: Final = "fixfirst.dev/act"
"""The annotation by which an act of ours is known: our key, a blank, and the digest of what was planned."""
DRAIN: Final = "fixfirst.dev/drain"
"""The same of a drain, which must not hide by which step its node was cordoned."""
REVISION: Final = "deployment.kubernetes.io/revision"
POD_HASH: Final = "pod-template-hash"
ARGO_HASH: Final = "rollouts-pod-template-hash"
_MIRROR: Final = "kubernetes.io/config.mirror"
_ARGO_CD: Final = "argocd.argoproj.io/"
_FLUX: Final = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment, or a Rollout of Argo. `unavailable` is how many pods may be missing while it rolls.

    `stuck` is since when it does not get on, and why in the controller's words; both empty while it does. `bare_at` is
    the resourceVersion of an object without annotations, else empty. `keeper` is which system keeps it as it stands in
    Git, and under which name; both empty when none is seen. `writer` wrote its spec last. `hashed` is by which hash
    Argo calls the present template.
    """

    uid: str
    namespace: str
    name: str
    generation: int
    observed: int
    revision: int
    replicas: int
    total: int
    updated: int
    ready: int
    available: int
    unavailable: int
    paused: bool
    stuck: tuple[str, str]
    selector: str
    labels: Mapping[str, str]
    template: Json
    hashed: str
    mark: str
    bare_at: str
    keeper: tuple[str, str]
    writer: str

    @property
    def shown(self) -> str:
        """How people are told which one it is."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Version:
    """A ReplicaSet: one revision of a deployment that the cluster still keeps."""

    uid: str
    name: str
    number: int
    owner: str
    created: str
    hashed: str
    template: Json


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod. `owner` is the kind and name of what would replace it; `took` is seconds from its node to ready."""

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    owner: tuple[str, str]
    ready: bool
    ending: bool
    finished: bool
    mirror: bool
    local: bool
    took: float | None
    trouble: str

    @property
    def stays(self) -> bool:
        """Whether a drain leaves it: it belongs to the node, or is done."""
        return self.owner[0] == "DaemonSet" or self.mirror or self.finished

    @property
    def workload(self) -> tuple[str, str, str]:
        """Kind, namespace and name of what people know it by: of a deployment's pod the deployment."""
        kind, name = self.owner
        found = self.labels.get(POD_HASH)
        if kind == "ReplicaSet" and found and name.endswith(f"-{found}"):
            return "Deployment", self.namespace, name.removesuffix(f"-{found}")
        return kind, self.namespace, name


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: `allowed` more pods may go by eviction now."""

    name: str
    selector: Json
    allowed: int
    wanted: int

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels counts."""
        return fits(self.selector, labels)


@dataclass(frozen=True, slots=True)
class Scaler:
    """A HorizontalPodAutoscaler, which sets the replicas of what it owns."""

    uid: str
    name: str
    owns: tuple[str, str]
    least: int
    most: int
    mark: str
    bare_at: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `cordoned` says that no new pod comes to it."""

    uid: str
    name: str
    cordoned: bool
    ready: bool
    gpus: Mapping[str, str]
    mark: str
    drain: str
    bare_at: str


def deployment(raw: Json) -> Deployment:
    """From JSON, as the other readers here; KeyError, TypeError or ValueError where it is something else."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    replicas = _whole(spec.get("replicas"), 1)
    annotations = meta.get("annotations") or {}
    return Deployment(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        generation=int(meta["generation"]),
        observed=_whole(status.get("observedGeneration")),
        revision=int(annotations.get(REVISION) or annotations.get("rollout.argoproj.io/revision") or 0),
        replicas=replicas,
        total=_whole(status.get("replicas")),
        updated=_whole(status.get("updatedReplicas")),
        ready=_whole(status.get("readyReplicas")),
        available=_whole(status.get("availableReplicas")),
        unavailable=_may_be_missing(spec.get("strategy") or {}, replicas),
        paused=bool(spec.get("paused")),
        stuck=_stuck(status),
        selector=selector(spec.get("selector") or {}),
        labels=(spec.get("template") or {}).get("metadata", {}).get("labels") or {},
        template=spec.get("template") or {},
        hashed=str(status.get("currentPodHash") or ""),
        mark=annotations.get(MARK, ""),
        bare_at="" if annotations else meta["resourceVersion"],
        keeper=_keeper(meta),
        writer=_writer(meta),
    )


def version(raw: Json) -> Version:
    meta = raw["metadata"]
    annotations = meta.get("annotations") or {}
    return Version(
        uid=meta["uid"],
        name=meta["name"],
        number=int(annotations.get(REVISION) or annotations.get("rollout.argoproj.io/revision") or 0),
        owner=next((owner["uid"] for owner in meta.get("ownerReferences") or () if owner.get("controller")), ""),
        created=meta["creationTimestamp"],
        hashed=(meta.get("labels") or {}).get(ARGO_HASH, ""),
        template=raw["spec"]["template"],
    )


def pod(raw: Json) -> Pod:
    meta, status = raw["metadata"], raw.get("status") or {}
    owners = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {}).get("status") == "True"
    placed = conditions.get("PodScheduled", {}).get("lastTransitionTime")
    took = _moment(conditions["Ready"]["lastTransitionTime"]) - _moment(placed) if ready and placed else None
    return Pod(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        labels=meta.get("labels") or {},
        owner=(owners[0]["kind"], owners[0]["name"]) if owners else ("", ""),
        ready=ready,
        ending="deletionTimestamp" in meta,
        finished=status.get("phase") in ("Succeeded", "Failed"),
        mirror=_MIRROR in (meta.get("annotations") or {}),
        local=any("emptyDir" in volume for volume in raw["spec"].get("volumes") or ()),
        took=took,
        trouble=_trouble(status, conditions),
    )


def budget(raw: Json) -> Budget:
    status = raw.get("status") or {}
    return Budget(
        name=raw["metadata"]["name"],
        selector=raw["spec"].get("selector") or {},
        allowed=_whole(status.get("disruptionsAllowed")),
        wanted=_whole(status.get("desiredHealthy")),
    )


def scaler(raw: Json) -> Scaler:
    spec, owned = raw["spec"], raw["spec"]["scaleTargetRef"]
    annotations = raw["metadata"].get("annotations") or {}
    return Scaler(
        uid=raw["metadata"]["uid"],
        name=raw["metadata"]["name"],
        owns=(owned["kind"], owned["name"]),
        least=_whole(spec.get("minReplicas"), 1),
        most=int(spec["maxReplicas"]),
        mark=annotations.get(MARK, ""),
        bare_at="" if annotations else raw["metadata"]["resourceVersion"],
    )


def node(raw: Json) -> Node:
    meta, status = raw["metadata"], raw.get("status") or {}
    annotations = meta.get("annotations") or {}
    allocatable = status.get("allocatable") or {}
    return Node(
        uid=meta["uid"],
        name=meta["name"],
        cordoned=bool((raw.get("spec") or {}).get("unschedulable")),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        gpus={name: str(count) for name, count in allocatable.items() if "gpu" in name and str(count) != "0"},
        mark=annotations.get(MARK, ""),
        drain=annotations.get(DRAIN, ""),
        bare_at="" if annotations else meta["resourceVersion"],
    )


def bare(template: Json, label: str = POD_HASH) -> Json:
    """A revision's template as it stood in the deployment: without the label that the controller adds."""
    meta = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (meta.get("labels") or {}).items() if name != label}
    return {**template, "metadata": {**meta, "labels": labels}}


def images(template: Json) -> dict[str, str]:
    """Image by container."""
    spec = template.get("spec") or {}
    return {c["name"]: c.get("image", "") for c in (*spec.get("initContainers", ()), *spec.get("containers", ()))}


def changes(now: Json, then: Json) -> list[str]:
    """What going from one template to the other changes: each image, then the names of what else differs.

    Values are left out: a template may hold a secret.
    """
    was, will = images(now), images(then)
    lines = [
        f"image {name}: {was.get(name, 'none')} → {will.get(name, 'none')}"
        for name in sorted(was | will)
        if was.get(name) != will.get(name)
    ]
    others = sorted({path for path in _differing(now, then, ()) if not path.endswith(".image")})
    if others:
        more = f" and {len(others) - 6} more" if len(others) > 6 else ""
        lines.append(f"also changes {', '.join(others[:6])}{more}")
    return lines


def cold_start(pods: Iterable[Pod]) -> float | None:
    """Seconds that the running pods took from their node to ready, the middle one; None when none is ready."""
    times = [found.took for found in pods if found.took is not None and found.took >= 0]
    return median(times) if times else None


def selector(raw: Json) -> str:
    """A LabelSelector as the API takes it in a query."""
    parts = [f"{name}={value}" for name, value in (raw.get("matchLabels") or {}).items()]
    for rule in raw.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        words = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(words[rule["operator"]])
    return ",".join(parts)


def fits(raw: Json, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a LabelSelector; an empty one takes all."""
    if any(labels.get(name) != value for name, value in (raw.get("matchLabels") or {}).items()):
        return False
    for rule in raw.get("matchExpressions") or ():
        held, values = labels.get(rule["key"]), rule.get("values") or ()
        fit = {
            "In": held in values,
            "NotIn": held is None or held not in values,
            "Exists": held is not None,
            "DoesNotExist": held is None,
        }[rule["operator"]]
        if not fit:
            return False
    return True


def _differing(now: Any, then: Any, path: tuple[str, ...]) -> Iterable[str]:
    """Dotted paths at which two values differ; of a list with names, by name."""
    if now == then:
        return
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in {*now, *then}:
            yield from _differing(now.get(key), then.get(key), (*path, key))
        return
    if _named(now) and _named(then):
        left, right = ({item["name"]: item for item in items} for items in (now, then))
        for key in {*left, *right}:
            yield from _differing(left.get(key), right.get(key), (*path, key))
        return
    yield ".".join(path[1:] if path[:1] == ("spec",) else path)


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def _may_be_missing(strategy: Json, replicas: int) -> int:
    """https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable"""
    if strategy.get("type") == "Recreate":
        return replicas
    rolling = strategy.get("rollingUpdate") or {}
    allowed = rolling.get("maxUnavailable", "25%")
    surge = rolling.get("maxSurge", "25%")
    missing = _share(allowed, replicas, up=False)
    if missing == 0 and _share(surge, replicas, up=True) == 0:
        return 1  # as the controller has it: otherwise nothing could move
    return min(missing, replicas)


def _share(value: Any, replicas: int, *, up: bool) -> int:
    if not isinstance(value, str):
        return int(value)
    part = int(value.removesuffix("%")) * replicas / 100
    return math.ceil(part) if up else math.floor(part)


def _stuck(status: Json) -> tuple[str, str]:
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition["lastUpdateTime"]), str(condition.get("message") or "its progress deadline has passed")
    return "", ""


def _trouble(status: Json, conditions: Json) -> str:
    """Why a pod is not ready, in one word of the cluster's."""
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] != "ContainerCreating":
            return str(waiting["reason"])
    scheduled = conditions.get("PodScheduled") or {}
    return str(scheduled.get("reason") or "") if scheduled.get("status") == "False" else ""


def _keeper(meta: Json) -> tuple[str, str]:
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    tracked = annotations.get(f"{_ARGO_CD}tracking-id", "").partition(":")[0] or labels.get(f"{_ARGO_CD}instance", "")
    managers = [str(entry.get("manager", "")) for entry in meta.get("managedFields") or ()]
    if tracked or any(name.startswith("argocd") for name in managers):
        return "Argo CD", tracked
    flux = next((labels[name] for name in _FLUX if name in labels), "")
    return ("Flux", flux) if flux else ("", "")


def _writer(meta: Json) -> str:
    """Who wrote the object's spec last, by the server's own book-keeping."""
    wrote = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in meta.get("managedFields") or ()
        if "f:spec" in (entry.get("fieldsV1") or {})
    ]
    return max(wrote)[1] if wrote else ""


def _whole(value: Any, default: int = 0) -> int:
    return default if value is None else int(value)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
