"""What Kubernetes shows of changes, through kube-state-metrics: who was rolled out, when, from which image to which.

A roll-out is a ReplicaSet that begins to have replicas while another of its Deployment had them: a new one, or an old
one that somebody went back to. A resize, by hand or by an autoscaler, changes no ReplicaSet and is no roll-out; a
generation number would count it. What has no ReplicaSets (StatefulSet, LeaderWorkerSet, DaemonSet) is known by the
images of its pods. A revision of KServe is a Deployment of its own, whose predecessors are found by its name.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from bot.health.observation import Sample
from bot.health.promql import quote
from bot.health.telemetry import Telemetry
from bot.incident.change import KUBERNETES, MOST, Change, ChangeKind, merged
from bot.incident.events import Precision

STEP_S: Final = 60
"""How closely the past is looked at where Kubernetes keeps no time of its own."""
SEEN_FROM_THE_START_S: Final = 1.5 * STEP_S
"""What is there so soon after the first sample of all was there before."""

Key = tuple[str, str]
"""Namespace and name."""

_SET = "namespace, replicaset"
_POD_OWNER = "max by (namespace, pod, owner_kind, owner_name) (last_over_time(kube_pod_owner{{{which}}}[{w}]))"
_CREATED = (
    f"max by ({_SET}) (last_over_time(kube_replicaset_created[{{w}}]))"
    f" * on ({_SET}) group_left (owner_name) max by ({_SET}, owner_name)"
    ' (last_over_time(kube_replicaset_owner{{owner_kind=~"Deployment|Rollout"}}[{w}]))'
    f" and on ({_SET}) max by ({_SET}) (max_over_time(kube_replicaset_spec_replicas[{{w}}])) > 0"
)
_FIRST = f"min by ({_SET}) (min_over_time(timestamp(kube_replicaset_spec_replicas > 0)[{{w}}:{STEP_S}s]))"
_ZERO = f"max by ({_SET}) (max_over_time(timestamp(kube_replicaset_spec_replicas == 0)[{{w}}:{STEP_S}s]))"
_NOW = f"max by ({_SET}) (kube_replicaset_spec_replicas) > 0"
_THEN = f"max by ({_SET}) (kube_replicaset_spec_replicas offset {{w}}) > 0"
_BY_IMAGE = "namespace, owner_kind, owner_name, container, image, image_id"
_IMAGES = (
    f"min by ({_BY_IMAGE}) (min_over_time(timestamp(kube_pod_container_info)[{{w}}:{STEP_S}s])"
    f" * on (namespace, pod) group_left (owner_kind, owner_name) {_POD_OWNER})"
)
_OF_SETS = (
    f"max by ({_BY_IMAGE}) (last_over_time(kube_pod_container_info[{{w}}])"
    f" * on (namespace, pod) group_left (owner_kind, owner_name) {_POD_OWNER})"
)
_OTHERS = 'owner_kind=~"StatefulSet|LeaderWorkerSet|DaemonSet"'
_RUNNING = (
    "vllm:num_requests_running|sglang:num_running_reqs|trtllm_num_requests_running|nv_inference_request_success"
    "|num_requests_running"
)
_SERVES = (
    "group by (namespace, owner_kind, owner_name, model_name, model) (max by (namespace, pod, model_name, model)"
    f' (last_over_time({{{{__name__=~"{_RUNNING}"}}}}[{{w}}]))'
    f" * on (namespace, pod) group_left (owner_kind, owner_name) {_POD_OWNER})"
)
_KNATIVE = re.compile(r"-\d{5}(-deployment)?$")
_GPU_INFRA = re.compile(r"nvidia|gpu|dcgm|mig-|nccl|rdma", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What was rolled out, the newest first; `missing` says why there may be more, empty when all could be asked."""

    changes: tuple[Change, ...]
    missing: str = ""


@dataclass(slots=True)
class _Set:
    """A ReplicaSet that had replicas. `began` is when it began to have them; None where it has had them all along, or
    no more. `before` says that it had them when the window began, `old` that it was there by then."""

    key: Key
    owner: Key
    created: float
    began: float | None = None
    exact: bool = False
    old: bool = False
    before: bool = False

    @property
    def family(self) -> Key:
        """What its predecessors are looked for under: its owner, or the service of which KServe made it a revision."""
        return self.owner[0], _KNATIVE.sub("", self.owner[1])

    @property
    def revision(self) -> str:
        """Its name without its owner's."""
        return self.key[1].removeprefix(f"{self.owner[1]}-")


@dataclass(frozen=True, slots=True)
class _Image:
    container: str
    image: str
    image_id: str
    first: float

    @property
    def reference(self) -> str:
        """The image, with its digest where the tag alone does not tell it from another."""
        digest = self.image_id.rpartition("@")[2]
        return f"{self.image}@{digest}" if "sha256:" in digest and "@" not in self.image else self.image


@dataclass(slots=True)
class _World:
    """The answers, joined."""

    now: datetime
    window: timedelta
    sets: list[_Set] = field(default_factory=list)
    images: dict[tuple[str, str, str], list[_Image]] = field(default_factory=dict)
    models: dict[Key, set[str]] = field(default_factory=dict)
    namespaces: dict[str, set[str]] = field(default_factory=dict)
    history: float = 0.0


def find(telemetry: Telemetry, model: str, now: datetime, window: timedelta) -> Found:
    """The roll-outs within `window` before `now` that may concern the model; without one, all beside models.

    Takes at most the telemetry's budget. Never raises for what Prometheus does.
    """
    began = time.monotonic()
    w = f"{int(window.total_seconds())}s"
    asked = {
        "created": _CREATED.format(w=w),
        "first": _FIRST.format(w=w),
        "zero": _ZERO.format(w=w),
        "now": _NOW,
        "then": _THEN.format(w=w),
        "others": _IMAGES.format(w=w, which=_OTHERS),
        "serves": _SERVES.format(w=w, which='owner_kind!~"Job|Node"'),
    }
    answers, missing = _split(telemetry.ask(asked))
    world = _World(now, window)
    _read_sets(world, answers)
    moved = {one.family for one in world.sets if one.began is not None}
    if moved:
        names = {one.key[1] for one in world.sets if one.family in moved}
        which = f'owner_kind="ReplicaSet",owner_name=~{quote("|".join(map(re.escape, sorted(names))))}'
        left = max(0.0, telemetry.budget - (time.monotonic() - began))
        more, late = _split(telemetry.ask({"images": _OF_SETS.format(w=w, which=which)}, left))
        answers |= more
        missing = missing or late
    _read_images(world, [*answers.get("others", ()), *answers.get("images", ())])
    _read_models(world, answers.get("serves", ()))
    seen = [*_of_sets(world), *_of_images(world)]
    return Found(merged(one for one in seen if _may_concern(world, one, model))[:MOST], missing)


def _split(answers: Mapping[str, Sequence[Sample] | str]) -> tuple[dict[str, Sequence[Sample]], str]:
    """What was answered, and the first reason why something was not."""
    told = {name: said for name, said in answers.items() if not isinstance(said, str)}
    return told, next((said for said in answers.values() if isinstance(said, str)), "")


def _key(labels: Mapping[str, str], name: str) -> Key:
    return labels.get("namespace", ""), labels.get(name, "")


def _read_sets(world: _World, answers: Mapping[str, Sequence[Sample]]) -> None:
    def values(name: str) -> dict[Key, float]:
        return {_key(sample.labels, "replicaset"): sample.value for sample in answers.get(name, ())}

    first, zero, now, then = (values(name) for name in ("first", "zero", "now", "then"))
    since = (world.now - world.window).timestamp()
    world.history = min([*first.values(), *zero.values()], default=0.0)
    for sample in answers.get("created", ()):
        one = _Set(_key(sample.labels, "replicaset"), _key(sample.labels, "owner_name"), sample.value)
        one.old = one.created < since
        if not one.old:
            one.began, one.exact = one.created, True
        elif one.key not in then and first.get(one.key, 0.0) > world.history + SEEN_FROM_THE_START_S:
            one.began = first[one.key]
        else:
            one.before = True
            one.began = zero.get(one.key) if one.key in now else None
        world.sets.append(one)


def _read_images(world: _World, rows: Iterable[Sample]) -> None:
    for row in rows:
        labels = row.labels
        owner = (labels.get("namespace", ""), labels.get("owner_kind", ""), labels.get("owner_name", ""))
        image = _Image(labels.get("container", ""), labels.get("image", ""), labels.get("image_id", ""), row.value)
        world.images.setdefault(owner, []).append(image)
    for owner, images in world.images.items():
        # Until the node has pulled it, an image has no id; that is no other image.
        pulled = {(one.container, one.image) for one in images if one.image_id}
        world.images[owner] = [one for one in images if one.image_id or (one.container, one.image) not in pulled]


def _read_models(world: _World, rows: Iterable[Sample]) -> None:
    owners = {one.key: one.owner for one in world.sets}
    for row in rows:
        named = row.labels.get("model_name") or row.labels.get("model", "")
        key = _key(row.labels, "owner_name")
        if named:
            world.models.setdefault(owners.get(key, key), set()).add(named)
            world.namespaces.setdefault(key[0], set()).add(named)


def _of_sets(world: _World) -> Iterator[Change]:
    families: dict[Key, list[_Set]] = {}
    for one in world.sets:
        families.setdefault(one.family, []).append(one)
    for (namespace, name), members in families.items():
        before = max((one for one in members if one.before), key=lambda one: one.created, default=None)
        for one in sorted((one for one in members if one.began is not None), key=lambda one: one.began or 0.0):
            if before is not one and (before is not None or not one.old):  # else it was scaled up from nothing
                yield _rolled_out(world, namespace, name, one, before)
            before = one


def _rolled_out(world: _World, namespace: str, name: str, one: _Set, before: _Set | None) -> Change:
    at = datetime.fromtimestamp(one.began or one.created, UTC)
    image, previous = _which_image(world, one, before)
    back = one.old or (before is not None and one.created < before.created)
    return Change(
        id=f"{namespace}/{one.key[1]}@{at:%Y-%m-%dT%H:%M}",
        source=KUBERNETES,
        at=at,
        title=f"Rolled back {name}" if back else "",
        model=_only(world.models.get(one.owner, set()) or (world.models.get(before.owner, set()) if before else set())),
        workload=f"{namespace}/{name}",
        revision=one.revision,
        previous=before.revision if before else "",
        image=image,
        previous_image=previous,
        precision=Precision.EXACT if one.exact else Precision.MINUTE,
    )


def _which_image(world: _World, one: _Set, before: _Set | None) -> tuple[str, str]:
    """The image that differs, else the first; with what it was before."""
    new = _by_container(world, one)
    old = _by_container(world, before) if before else {}
    differing = [name for name in new if name in old and new[name].image != old[name].image]
    moved = [name for name in new if name in old and new[name].image_id != old[name].image_id]
    for name in (*differing, *moved, *new):
        now, then = new[name], old.get(name)
        if then is None:
            return now.image, ""
        if now.image == then.image and now.image_id != then.image_id:
            return now.reference, then.reference
        return now.image, then.image
    return "", ""


def _by_container(world: _World, one: _Set) -> dict[str, _Image]:
    images = world.images.get((one.key[0], "ReplicaSet", one.key[1]), [])
    return {image.container: image for image in sorted(images, key=lambda image: (image.container, image.first))}


def _of_images(world: _World) -> Iterator[Change]:
    others = {owner: images for owner, images in world.images.items() if owner[1] != "ReplicaSet"}
    begin = min((one.first for images in others.values() for one in images), default=0.0)
    for (namespace, kind, name), images in others.items():
        infra = kind == "DaemonSet"
        if infra and not _GPU_INFRA.search(f"{namespace}/{name}"):
            continue
        for container in sorted({one.container for one in images}):
            versions = sorted((one for one in images if one.container == container), key=lambda one: one.first)
            for old, new in pairwise(versions):
                if new.first > begin + SEEN_FROM_THE_START_S:
                    yield _new_image(world, (namespace, name), old, new, infra=infra)


def _new_image(world: _World, owner: Key, old: _Image, new: _Image, *, infra: bool) -> Change:
    at = datetime.fromtimestamp(new.first, UTC)
    named = new.image != old.image
    return Change(
        id=f"{owner[0]}/{owner[1]}/{new.container}@{at:%Y-%m-%dT%H:%M}",
        source=KUBERNETES,
        at=at,
        kind=ChangeKind.INFRA if infra else ChangeKind.DEPLOY,
        title=f"Deployed {owner[1]}" if infra else "",
        model="" if infra else _only(world.models.get(owner, set())),
        workload="/".join(owner),
        image=new.image if named else new.reference,
        previous_image=old.image if named else old.reference,
        precision=Precision.MINUTE,
    )


def _only(models: set[str]) -> str:
    """The one model that is served there; empty where there are several, or none that is known."""
    return next(iter(models)) if len(models) == 1 else ""


def _may_concern(world: _World, change: Change, model: str) -> bool:
    """Of the model, or of something unnamed beside it: a gateway and a cache stand in its namespace as a rule."""
    if change.kind is ChangeKind.INFRA:
        return True
    namespace, _, name = change.workload.partition("/")
    beside = world.namespaces.get(namespace, set())
    if not model:
        return bool(beside) or not world.namespaces
    if change.model or name == model:
        return model in (change.model, name)
    return model in beside or model in world.models.get((namespace, name), set())
