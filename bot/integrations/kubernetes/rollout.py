"""Step kind `k8s.rollout_undo`: back to a revision that is pinned by number at the preview, never to "the previous"."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from bot.contracts import Permanent, Plan
from bot.incident.run import Risk
from bot.incident.timeline import span
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import aimed, allowed, annotation, deployment_in, inside, keepers, named, pinned
from bot.integrations.kubernetes.change import Change, guard
from bot.integrations.kubernetes.facts import Budget, Deployment, Pod, Version
from bot.integrations.kubernetes.wire import (
    BUDGETS,
    BUDGETS_BEFORE_1_21,
    PODS,
    REPLICA_SETS,
    Json,
    Missing,
    Patch,
    Session,
    connected,
    read,
)


class RolloutUndo(Change):
    """Puts the template of an earlier revision back, which the cluster keeps as a ReplicaSet."""

    names: ClassVar[str] = "deployment"
    label: ClassVar[str] = facts.POD_HASH

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Finds the revision and pins it; asks the server whether it would take it."""
        target = self._target(args.get("target"))
        namespace, name = inside(target, named(args, "namespace")), named(args, self.names)
        with connected(target) as session:
            allowed(
                session,
                ("get", self.resource, namespace, ""),
                ("patch", self.resource, namespace, ""),
                ("list", REPLICA_SETS, namespace, ""),
                ("list", PODS, namespace, ""),
                ("list", BUDGETS, namespace, ""),
            )
            raw = session.get(self.resource, name, namespace)
            (found,) = read([raw], facts.deployment, target)
            now, goal = self._versions(session, found, args.get("revision"))
            request = {
                **aimed(target, found),
                "after": found.mark,
                "revision": goal.number,
                "replicaset": goal.name,
                "from_replicaset": now.name,
            }
            plan = Plan(
                lines=(
                    f"{found.shown}: revision {now.number} → {goal.number}",
                    *facts.changes(self._template(now), self._template(goal)),
                    *standing(session, found),
                    "the server would take it, and the bot may do it",
                    f"on {target.where}",
                ),
                request=request,
                before=pinned(found),
                risk=Risk.REVERSIBLE,
                undo=f"back to revision {now.number}",
                warnings=(*_older(now, goal), *keepers(session, found)),
            )
            self._send(session, plan, "preview", found, dry_run=True)
        return plan

    def undo(self, plan: Plan, key: str) -> None:
        """Puts the template that we left back; Permanent when it is no longer ours that stands there."""
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request, self.resource)
            before = self._kept(session, found, plan.request["from_replicaset"])
            if self._runs(found, before):
                return
            if not self._still(session, plan, found):
                raise Permanent(f"{found.shown} runs what this step did not bring; look before undoing")
            mark = {"op": "add", "path": annotation(facts.MARK), "value": f"{key} undo"}
            patch = [*guard(found.uid, found.generation), mark, _template_op(self._template(before))]
            session.patch(self.resource, found.name, found.namespace, patch)

    def _change(self, session: Session, plan: Plan, key: str, found: Deployment) -> Patch:  # noqa: ARG002
        return [_template_op(self._template(self._kept(session, found, plan.request["replicaset"])))]

    def _still(self, session: Session, plan: Plan, found: Deployment) -> bool:
        return self._runs(found, self._kept(session, found, plan.request["replicaset"]))

    def _runs(self, found: Deployment, version: Version) -> bool:
        """Whether it is this revision that is wanted now."""
        return bool(found.template == self._template(version))

    def _template(self, version: Version) -> Json:
        return facts.bare(version.template, self.label)

    def _kept(self, session: Session, found: Deployment, name: str) -> Version:
        (version,) = read([session.get(REPLICA_SETS, name, found.namespace)], facts.version, session.target)
        if version.owner != found.uid:
            raise Permanent(f"{name} belongs to something else now than {found.shown}; preview again")
        return version

    def _versions(self, session: Session, found: Deployment, wanted: object) -> tuple[Version, Version]:
        """The revision that stands, and the one to go to."""
        if found.paused:
            raise Permanent(f"{found.shown} is paused: nothing would roll; resume it first")
        listed = session.list(REPLICA_SETS, found.namespace, labels=found.selector)
        kept = [v for v in read(listed, facts.version, session.target) if v.owner == found.uid and v.number]
        kept.sort(key=lambda version: version.number)
        now = next((version for version in kept if self._runs(found, version)), None)
        if now is None:
            raise Permanent(f"{found.shown} has just been changed and has no number for it yet; preview again")
        if wanted is None:
            goal = next((version for version in reversed(kept) if version.number < now.number), None)
        else:
            goal = next((version for version in kept if str(version.number) == str(wanted)), None)
        if goal is None:
            known = ", ".join(str(version.number) for version in kept)
            what = "no earlier revision" if wanted is None else f"no revision {str(wanted)[:20]}"
            raise Permanent(f"{found.shown} has {what}; the cluster keeps {known}")
        if goal is now:
            raise Permanent(f"{found.shown} runs revision {now.number} already")
        return now, goal


def standing(session: Session, found: Deployment) -> list[str]:
    """How many pods there are, what their budget keeps, and how long new ones may take."""
    pods = [pod for pod in pods_of(session, found) if not pod.ending]
    lines = [f"{found.replicas} replicas, {found.ready} ready"]
    lines += [
        f"budget {budget.name} keeps {budget.wanted}, lets {budget.allowed} go now"
        for budget in budgets(session, found.namespace)
        if budget.covers(found.labels)
    ]
    took = facts.cold_start(pods)
    if took is not None:
        lines.append(f"a new pod takes about {span(timedelta(seconds=took))} to be ready, as the running ones did")
    return lines


def pods_of(session: Session, found: Deployment) -> Sequence[Pod]:
    """The pods that fit a deployment's selector."""
    return read(session.list(PODS, found.namespace, labels=found.selector), facts.pod, session.target)


def budgets(session: Session, namespace: str) -> Sequence[Budget]:
    """All budgets of a namespace, by whichever version the cluster knows."""
    try:
        listed = session.list(BUDGETS, namespace)
    except Missing:
        listed = session.list(BUDGETS_BEFORE_1_21, namespace)
    return read(listed, facts.budget, session.target)


def _template_op(template: Json) -> dict[str, Any]:
    return {"op": "replace", "path": "/spec/template", "value": dict(template)}


def _older(now: Version, goal: Version) -> tuple[str, ...]:
    """What runs may itself be a way back; then the one before it is what was left."""
    if goal.created <= now.created:
        return ()
    return (f"revision {goal.number} is newer than what runs: was it left before? Name `revision` for another",)
