"""What all kinds of steps on clusters share: the named target, what may be touched, and how an act of ours is known."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bot.contracts import Permanent, Plan, Transient
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.facts import Deployment
from bot.integrations.kubernetes.target import NAME, Target
from bot.integrations.kubernetes.wire import DEPLOYMENTS, Json, Patch, Resource, Session, read

Value = Callable[[str], float | None]
"""A PromQL query's one number; None when there is no data."""

_APPLICATIONS = Resource("argoproj.io", "v1alpha1", "Application", "applications")
_ARGO_CD_LIVES_IN = "argocd"


class Kind:
    """Base of the kinds: finds the target that a step names, and holds it to what its table allows."""

    def __init__(self, targets: Mapping[str, Target], value: Value | None = None) -> None:
        self._targets = dict(targets)
        self._value = value

    def _target(self, name: object) -> Target:
        target = self._targets.get(str(name))
        if target is None:
            known = ", ".join(sorted(self._targets)) or "none"
            raise Permanent(f"no target '{name}' is configured under [kubernetes]; known: {known}")
        return target

    def _planned(self, plan: Plan) -> Target:
        """The target that a plan is about. The configuration may have changed since it was made."""
        target = self._target(plan.request["target"])
        if target.address != plan.request["address"]:
            raise Permanent(f"the target '{target.name}' has moved since the preview; preview again")
        namespace = plan.request.get("namespace")
        if namespace is not None:
            inside(target, namespace)
        return target

    def _load(self, session: Session, namespace: str, name: str, ready: int, going: int) -> tuple[str, str]:
        """What remains of a deployment of which so many pods go: a line, and what cannot be told about its load.

        Raises Permanent when the rest could not carry the load: `load` times all that are ready, over who remains.
        """
        target, remain = session.target, max(0, ready - going)
        line = f"{namespace}/{name}: {remain} of {ready} replicas remain"
        if not target.load:
            return line, ""
        try:
            used = None if self._value is None or session.over else self._value(target.load_of(namespace, name))
        except (Transient, Permanent) as failure:
            return line, f"whether the rest of {namespace}/{name} can carry its load cannot be told: {failure}"
        if used is None:
            return line, f"whether the rest of {namespace}/{name} can carry its load cannot be told: no data"
        after = used * ready / remain if remain else float(used > 0) * 10
        if after > target.max_load:
            load = f"load {after * 100:.0f} %" if remain else "nobody carries its load"
            raise Permanent(f"{line}, {load} afterwards: more than the {target.max_load * 100:.0f} % of max_load")
        return f"{line}, load {after * 100:.0f} % afterwards", ""


def inside(target: Target, namespace: str) -> str:
    """The namespace, if steps may touch it."""
    if namespace not in target.namespaces:
        known = ", ".join(target.namespaces) or "none"
        raise Permanent(f"'{target.name}' takes steps only in these namespaces: {known}; not in {namespace[:60]!r}")
    return namespace


def named(args: Mapping[str, Any], key: str) -> str:
    """An object's name out of a step; nothing else may get into an address."""
    name = str(args[key])
    if not NAME.fullmatch(name):
        raise Permanent(f"{key} cannot be {name[:60]!r}: a name has lower-case letters, digits, - and .")
    return name


def allowed(session: Session, *wanted: tuple[str, Resource, str, str]) -> None:
    """Raises Permanent with every (verb, resource, namespace, part) that the bot's account may not do."""
    lacking = [
        f"{verb} {resource.called}{f'/{part}' if part else ''}{f' in {namespace}' if namespace else ''}"
        for verb, resource, namespace, part in wanted
        if not session.may(verb, resource, namespace, part)
    ]
    if lacking:
        raise Permanent(f"{session.target.where} does not let the bot {', '.join(lacking)}; its role needs that")


def digest(request: Mapping[str, Any]) -> str:
    """What tells this planned act from any other: also from the same one earlier, whose mark is in `after`.

    By which address the cluster is reached is no part of it.
    """
    act = {name: value for name, value in request.items() if name != "address"}
    return hashlib.sha256(json.dumps(act, sort_keys=True).encode()).hexdigest()[:16]


def ours(mark: str, request: Mapping[str, Any]) -> bool:
    """Whether a mark was left by this planned act."""
    return mark.endswith(f" {digest(request)}")


def annotation(name: str) -> str:
    """Where an annotation is, as a patch says it."""
    return f"/metadata/annotations/{name.replace('/', '~1')}"


def marking(bare_at: str, key: str, request: Mapping[str, Any], name: str = facts.MARK) -> Patch:
    """Leaves our mark in the same patch. An object without annotations is tested to be still without any."""
    add: Patch = [{"op": "add", "path": annotation(name), "value": f"{key} {digest(request)}"}]
    if not bare_at:
        return add
    still = {"op": "test", "path": "/metadata/resourceVersion", "value": bare_at}
    return [still, {"op": "add", "path": "/metadata/annotations", "value": {}}, *add]


def deployment_in(session: Session, request: Mapping[str, Any], resource: Resource = DEPLOYMENTS) -> Deployment:
    """The deployment of a plan; Permanent when there is another one by its name now."""
    raw = session.get(resource, request["name"], request["namespace"])
    (found,) = read([raw], facts.deployment, session.target)
    if found.uid != request["uid"]:
        raise Permanent(f"{found.shown} was deleted and made anew since the preview; preview again")
    return found


def aimed(target: Target, found: Deployment) -> dict[str, Any]:
    """What an act is meant for: this very object of this cluster, not another that has its name by then."""
    return {
        "target": target.name,
        "address": target.address,
        "namespace": found.namespace,
        "name": found.name,
        "uid": found.uid,
    }


def pinned(found: Deployment) -> dict[str, Any]:
    """What of a deployment must not have moved between preview and act, and what to say when it has."""
    return {
        "generation": found.generation,
        "revision": found.revision,
        "replicas": found.replicas,
        "images": facts.images(found.template),
        "stuck": found.stuck[0],
    }


def moved(found: Deployment, before: Mapping[str, Any]) -> str:
    """What has moved since `pinned`, as a sentence."""
    now = pinned(found)
    apart = [f"{name} {before[name]} → {now[name]}" for name in ("replicas", "revision") if now[name] != before[name]]
    for name, image in now["images"].items():
        if before["images"].get(name) != image:
            apart.append(f"image {name} {before['images'].get(name, 'none')} → {image}")
    what = ", ".join(apart) or f"generation {before['generation']} → {now['generation']}"
    by = f", last written by {found.writer}" if found.writer else ""
    return f"changed since the preview: {found.shown} {what}{by}; preview again"


def keepers(session: Session, found: Deployment) -> Iterable[str]:
    """Warnings about who would put back what is changed here."""
    system, name = found.keeper
    if not system:
        return
    called = f"{system} ({name})" if name else system
    automated: Json = {}
    if system == "Argo CD" and name:
        try:
            spec = session.get(_APPLICATIONS, name.rpartition("_")[2], _ARGO_CD_LIVES_IN)["spec"]
            automated = (spec.get("syncPolicy") or {}).get("automated") or {}
            if not automated.get("selfHeal"):
                yield f"{called} puts this back at its next sync"
                return
        except (Permanent, KeyError, AttributeError):
            pass  # it may be none of the bot's business to look there; then the warning says less
    if automated.get("selfHeal"):
        yield f"{called} heals itself: it will put this back at once"
    else:
        yield f"{called} keeps this as it stands in Git and may put it back"
