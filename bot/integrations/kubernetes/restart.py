"""Step kind `k8s.restart`: all pods of a deployment by rolling, or one pod, known by its uid."""

from collections.abc import Mapping
from typing import Any, Final

from bot.contracts import Going, Observed, Permanent, Plan
from bot.incident.run import Risk
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import (
    Kind,
    Value,
    aimed,
    allowed,
    annotation,
    digest,
    inside,
    keepers,
    named,
    pinned,
)
from bot.integrations.kubernetes.change import Change
from bot.integrations.kubernetes.facts import Deployment, Pod
from bot.integrations.kubernetes.rollout import budgets, standing
from bot.integrations.kubernetes.target import Target
from bot.integrations.kubernetes.wire import (
    BUDGETS,
    DEPLOYMENTS,
    PODS,
    STATEFUL_SETS,
    Missing,
    Patch,
    Session,
    connected,
    read,
)

RESTARTED: Final = "fixfirst.dev/restarted"
_NO_WAY_BACK: Final = "a restart cannot be taken back"


class Restart:
    """`bot.contracts.Act`, and Lasting: by `deployment` or by `pod`, whichever the step gives."""

    def __init__(self, targets: Mapping[str, Target], value: Value | None = None) -> None:
        self._all = _Deployment(targets, value)
        self._one = _Pod(targets, value)

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """What goes, what remains meanwhile, and how long it takes."""
        if ("deployment" in args) == ("pod" in args):
            raise Permanent("a restart is of a deployment or of a pod: give one of the two")
        return self._all.plan(args) if "deployment" in args else self._one.plan(args)

    def apply(self, plan: Plan, key: str) -> None:
        """Once: the same plan again is the same template, and a pod is known by its uid."""
        self._of(plan).apply(plan, key)

    def observe(self, plan: Plan) -> Observed:
        """Whether it has begun."""
        return self._of(plan).observe(plan)

    def go_on(self, plan: Plan, key: str) -> Going | None:
        """Until the new pods are there."""
        return self._of(plan).go_on(plan, key)

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - there is none
        """Raises Permanent: requests and caches of the old pods are gone."""
        raise Permanent(_NO_WAY_BACK)

    def _of(self, plan: Plan) -> "_Deployment | _Pod":
        return self._one if "pod" in plan.request else self._all


class _Deployment(Change):
    def plan(self, args: Mapping[str, Any]) -> Plan:
        target = self._target(args.get("target"))
        namespace, name = inside(target, named(args, "namespace")), named(args, "deployment")
        with connected(target) as session:
            allowed(
                session,
                ("get", DEPLOYMENTS, namespace, ""),
                ("patch", DEPLOYMENTS, namespace, ""),
                ("list", PODS, namespace, ""),
                ("list", BUDGETS, namespace, ""),
            )
            (found,) = read([session.get(DEPLOYMENTS, name, namespace)], facts.deployment, target)
            if found.paused:
                raise Permanent(f"{found.shown} is paused: nothing would roll; resume it first")
            gone = min(found.ready, found.unavailable)
            line, doubt = self._load(session, namespace, name, found.ready, gone)
            plan = Plan(
                lines=(
                    f"{found.shown}: all its pods are replaced, {max(1, found.unavailable)} at a time",
                    f"meanwhile {line}",
                    *standing(session, found),
                    "what the old pods hold in memory and what they are answering is lost",
                    f"on {target.where}",
                ),
                request={
                    **aimed(target, found),
                    "after": found.mark,
                },
                before=pinned(found),
                risk=Risk.DESTRUCTIVE,
                warnings=tuple(text for text in (doubt, *keepers(session, found)) if text),
            )
            self._send(session, plan, "preview", found, dry_run=True)
        return plan

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - there is none
        raise Permanent(_NO_WAY_BACK)

    def _going(self, plan: Plan, found: Deployment) -> int:  # noqa: ARG002
        return min(found.ready, found.unavailable)

    def _change(self, session: Session, plan: Plan, key: str, found: Deployment) -> Patch:  # noqa: ARG002
        meta = found.template.get("metadata") or {}
        path = f"/spec/template{annotation(RESTARTED)}"
        add: Patch = [{"op": "add", "path": path, "value": digest(plan.request)}]
        if meta.get("annotations"):
            return add
        return [{"op": "add", "path": "/spec/template/metadata/annotations", "value": {}}, *add]

    def _still(self, session: Session, plan: Plan, found: Deployment) -> bool:  # noqa: ARG002
        """Replicas may have changed; our annotation on the template is what rolls the pods."""
        annotations = (found.template.get("metadata") or {}).get("annotations") or {}
        return bool(annotations.get(RESTARTED) == digest(plan.request))


class _Pod(Kind):
    """A ready pod goes by eviction, so that budgets hold; one that serves nothing is deleted whatever they say."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        target = self._target(args.get("target"))
        namespace, name = inside(target, named(args, "namespace")), named(args, "pod")
        with connected(target) as session:
            allowed(
                session,
                ("get", PODS, namespace, ""),
                ("delete", PODS, namespace, ""),
                ("create", PODS, namespace, "eviction"),
                ("list", BUDGETS, namespace, ""),
            )
            (pod,) = read([session.get(PODS, name, namespace)], facts.pod, target)
            kind, _, owner = pod.workload
            if not kind:
                raise Permanent(f"{namespace}/{name} has no owner: nothing would bring it back")
            if pod.ending:
                raise Permanent(f"{namespace}/{name} is ending already")
            lines = [f"{namespace}/{name} goes; its {kind} {owner} brings another"]
            doubts = []
            owned = self._owned(session, pod)
            if owned is not None:
                line, doubt = self._load(session, namespace, owner, owned.ready, int(pod.ready))
                lines += [line, *standing(session, owned)]
                doubts += [doubt] if doubt else []
            else:
                lines += [
                    f"budget {budget.name} keeps {budget.wanted}, lets {budget.allowed} go now"
                    for budget in budgets(session, namespace)
                    if budget.covers(pod.labels)
                ]
            kept = session.evict(name, namespace, pod.uid, dry_run=True) if pod.ready else ""
            if kept:
                raise Permanent(f"{namespace}/{name} may not go now: {kept}")
            if not pod.ready:
                lines.append(f"it is not ready{f' ({pod.trouble})' if pod.trouble else ''}, so no budget counts it")
            return Plan(
                lines=(*lines, "what it holds in memory and what it is answering is lost", f"on {target.where}"),
                request={
                    "target": target.name,
                    "address": target.address,
                    "namespace": namespace,
                    "pod": name,
                    "uid": pod.uid,
                    "owner": [kind, owner],
                },
                before={"ready": pod.ready, "owner_ready": owned.ready if owned else None},
                risk=Risk.DESTRUCTIVE,
                warnings=tuple(doubts),
            )

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - the uid is key enough
        with connected(self._planned(plan)) as session:
            pod = self._seen(session, plan)
            if pod is None or pod.ending:
                return
            try:
                if pod.ready:
                    kept = session.evict(pod.name, pod.namespace, pod.uid)
                    if kept:
                        raise Permanent(f"{pod.namespace}/{pod.name} may not go now: {kept}")
                else:
                    session.delete_pod(pod.name, pod.namespace, pod.uid)
            except Missing:
                return

    def observe(self, plan: Plan) -> Observed:
        with connected(self._planned(plan)) as session:
            pod = self._seen(session, plan)
        return Observed.DONE if pod is None or pod.ending else Observed.NOT_DONE

    def go_on(self, plan: Plan, key: str) -> Going | None:  # noqa: ARG002 - a look needs none
        kind, owner = plan.request["owner"]
        with connected(self._planned(plan)) as session:
            if self._seen(session, plan) is not None:
                return Going(f"{plan.request['pod']} is still ending")
            if kind == "StatefulSet":
                raw = session.get(STATEFUL_SETS, owner, plan.request["namespace"])
                ready, wanted = (raw.get("status") or {}).get("readyReplicas", 0), raw["spec"].get("replicas", 1)
            elif kind == "Deployment":
                raw = session.get(DEPLOYMENTS, owner, plan.request["namespace"])
                (found,) = read([raw], facts.deployment, session.target)
                ready, wanted = found.ready, found.replicas
            else:
                return None
            least = min(wanted, plan.before["owner_ready"] or wanted)
            return None if ready >= least else Going(f"{ready} of {wanted} pods of {owner} are ready")

    def _seen(self, session: Session, plan: Plan) -> Pod | None:
        """The pod, if it is still that one."""
        try:
            raw = session.get(PODS, plan.request["pod"], plan.request["namespace"])
        except Missing:
            return None
        (pod,) = read([raw], facts.pod, session.target)
        return pod if pod.uid == plan.request["uid"] else None

    def _owned(self, session: Session, pod: Pod) -> Deployment | None:
        kind, namespace, name = pod.workload
        if kind != "Deployment":
            return None
        (found,) = read([session.get(DEPLOYMENTS, name, namespace)], facts.deployment, session.target)
        return found
