"""Step kind `k8s.drain`: the pods of a cordoned node go by eviction, a few at a time, as their budgets let them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bot.contracts import Going, Observed, Permanent, Plan
from bot.incident.run import Risk
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import Kind, allowed, marking, named, ours
from bot.integrations.kubernetes.facts import Pod
from bot.integrations.kubernetes.node import same, seen
from bot.integrations.kubernetes.wire import (
    DEPLOYMENTS,
    NODES,
    PODS,
    Missing,
    Moved,
    Patch,
    Session,
    connected,
    read,
)

AT_ONCE: Final = 5
"""Pods that may be on their way at a time."""
KEPT_FOR_THE_END_S: Final = 1.0
"""Budgets are not asked for any more when so little of the target's time is left."""
MOST: Final = 110
"""Pods for which a node is made: https://kubernetes.io/docs/setup/best-practices/cluster-large/"""


class Drain(Kind):
    """`bot.contracts.Act`, and Lasting. The act itself only marks the node; every pod is known by its uid, so that
    going on after a crash moves none that came later."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Which pods would go, what remains of their deployments, and which budget would keep one now."""
        target, name, most = self._target(args.get("target")), named(args, "node"), _most(args.get("max_pods", 32))
        with connected(target) as session:
            allowed(
                session,
                ("get", NODES, "", ""),
                ("patch", NODES, "", ""),
                ("list", PODS, "", ""),
                ("create", PODS, "", "eviction"),
                ("get", DEPLOYMENTS, "", ""),
            )
            node = seen(session, name)
            pods = _pods(session, name)
            going = [pod for pod in pods if not pod.stays]
            _may_go(name, going, most)
            lines, doubts = self._remain(session, going)
            staying = [pod for pod in going if not pod.ending]
            kept: set[str] = set()
            for number, pod in enumerate(staying):
                if session.left < KEPT_FOR_THE_END_S:
                    doubts.append(f"the budgets of {len(staying) - number} pods were not asked for: it took too long")
                    break
                kept.add(_ask(session, pod, dry_run=True))
            doubts += sorted(f"{words}: such pods wait" for words in kept if words)
            local = sum(pod.local for pod in going)
            if local:
                doubts.append(f"{local} pods lose what they keep on the node (emptyDir)")
            if not node.cordoned:
                doubts.append("the node takes new pods: this step refuses to begin until it is cordoned (k8s.cordon)")
            return Plan(
                lines=(
                    f"{name}: {len(going)} of {len(pods)} pods go, the others belong to the node or are done",
                    *(f"  {pod.namespace}/{pod.name}" for pod in going[:8]),
                    *((f"  and {len(going) - 8} more",) if len(going) > 8 else ()),
                    *lines,
                    f"on {target.where}",
                ),
                request={
                    "target": target.name,
                    "address": target.address,
                    "node": name,
                    "uid": node.uid,
                    "after": node.drain,
                    "pods": [[pod.namespace, pod.name, pod.uid] for pod in going],
                },
                before={"cordoned": node.cordoned},
                risk=Risk.DESTRUCTIVE,
                warnings=tuple(doubts),
            )

    def apply(self, plan: Plan, key: str) -> None:
        """Marks the node, if it is cordoned; the pods go as it goes on."""
        with connected(self._planned(plan)) as session:
            node = same(session, plan)
            if ours(node.drain, plan.request):
                return
            if not node.cordoned:
                raise Permanent(f"{node.name} takes new pods: cordon it first, or what goes comes back")
            wanted = {uid for _, _, uid in plan.request["pods"]}
            self._remain(session, [pod for pod in _pods(session, node.name) if pod.uid in wanted])
            patch: Patch = [
                {"op": "test", "path": "/metadata/uid", "value": node.uid},
                {"op": "test", "path": "/spec/unschedulable", "value": True},
                *marking(node.bare_at, key, plan.request, facts.DRAIN),
            ]
            try:
                session.patch(NODES, node.name, "", patch)
            except Moved as refused:
                raise Permanent(f"{node.name} was changed at this very moment; preview again") from refused

    def observe(self, plan: Plan) -> Observed:
        """DONE with our mark on the node: then it goes on. No pod has been asked to go before."""
        with connected(self._planned(plan)) as session:
            return Observed.DONE if ours(same(session, plan).drain, plan.request) else Observed.NOT_DONE

    def go_on(self, plan: Plan, key: str) -> Going | None:  # noqa: ARG002 - the uids are key enough
        """Asks a few more pods to go, until all of them are gone; Permanent when the node takes new ones meanwhile."""
        wanted = [tuple(pod) for pod in plan.request["pods"]]
        with connected(self._planned(plan)) as session:
            node = same(session, plan)
            there = {pod.uid: pod for pod in _pods(session, node.name)}
            left = [there[uid] for _, _, uid in wanted if uid in there and not there[uid].finished]
            if not left:
                return None
            if not node.cordoned:
                raise Permanent(f"{node.name} takes new pods again: somebody let it, with {len(left)} pods to go")
            waits: Counter[str] = Counter()
            going = sum(pod.ending for pod in left)
            for pod in left:
                if pod.ending or going >= AT_ONCE or session.over:
                    continue
                words = _ask(session, pod)
                going += not words
                waits[words] += bool(words)
        parts = [f"{len(wanted) - len(left)} of {len(wanted)} pods moved", f"{going} under way"]
        parts += [f"{count} wait: {words}" for words, count in sorted(waits.items()) if count]
        return Going(", ".join(parts))

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - there is none
        """Raises Permanent: pods stay where they went."""
        raise Permanent("a drain cannot be taken back: pods stay where they went; undo the cordon to open the node")

    def _remain(self, session: Session, going: Sequence[Pod]) -> tuple[list[str], list[str]]:
        """By deployment: how many of its replicas remain, and with which load."""
        lines, doubts = [], []
        ready = Counter(pod.workload for pod in going if pod.ready)
        for kind, namespace, name in sorted({pod.workload for pod in going}):
            if kind != "Deployment":
                lines.append(f"{namespace}/{name}: {ready[kind, namespace, name]} ready pods of this {kind} go")
                continue
            (found,) = read([session.get(DEPLOYMENTS, name, namespace)], facts.deployment, session.target)
            line, doubt = self._load(session, namespace, name, found.ready, ready[kind, namespace, name])
            lines.append(line)
            doubts += [doubt] if doubt else []
        return lines, doubts


def _pods(session: Session, node: str) -> Sequence[Pod]:
    return read(session.list(PODS, fields=f"spec.nodeName={node}"), facts.pod, session.target)


def _may_go(node: str, going: Sequence[Pod], most: int) -> None:
    alone = [f"{pod.namespace}/{pod.name}" for pod in going if not pod.owner[0]]
    if alone:
        raise Permanent(f"nothing would bring {', '.join(alone[:3])} back elsewhere: move what has no owner by hand")
    if len(going) > most:
        raise Permanent(f"{len(going)} pods of {node} would have to go, more than max_pods {most}")


def _ask(session: Session, pod: Pod, *, dry_run: bool = False) -> str:
    """Asks a pod to go; what keeps it, or nothing."""
    try:
        return session.evict(pod.name, pod.namespace, pod.uid, dry_run=dry_run)
    except Missing:
        return ""


def _most(value: object) -> int:
    wanted = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= MOST:
        raise Permanent(f"max_pods must be a whole number from 1 to {MOST}, not {str(value)[:20]!r}")
    return wanted
