"""Step kind `k8s.cordon`: no new pods for a node."""

from collections.abc import Mapping
from typing import Any

from bot.contracts import Observed, Permanent, Plan
from bot.incident.run import Risk
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import Kind, allowed, annotation, marking, named, ours
from bot.integrations.kubernetes.facts import Node
from bot.integrations.kubernetes.wire import NODES, PODS, Moved, Patch, Session, connected, read


class Cordon(Kind):
    """`bot.contracts.Act`: reversible, and undone only where it was this step that did it."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """What the node is, and what stays on it."""
        target, name = self._target(args.get("target")), named(args, "node")
        with connected(target) as session:
            allowed(session, ("get", NODES, "", ""), ("patch", NODES, "", ""), ("list", PODS, "", ""))
            node = seen(session, name)
            pods = read(session.list(PODS, fields=f"spec.nodeName={name}"), facts.pod, target)
            gpus = [f"{count} {kind} take no new work" for kind, count in sorted(node.gpus.items())]
            plan = Plan(
                lines=(
                    f"{name}: {'cordoned already' if node.cordoned else 'takes new pods → takes none'}",
                    f"{len(pods)} pods on it stay" + ("" if node.ready else "; it is not ready"),
                    *gpus,
                    f"on {target.where}",
                ),
                request={
                    "target": target.name,
                    "address": target.address,
                    "node": name,
                    "uid": node.uid,
                    "after": node.mark,
                },
                before={"cordoned": node.cordoned},
                risk=Risk.REVERSIBLE,
                undo="stays cordoned, as it is now" if node.cordoned else "takes new pods again",
                warnings=("it is so already: nothing will be sent",) if node.cordoned else (),
            )
            if not node.cordoned:
                _set(session, node, [*marking(node.bare_at, "preview", plan.request), _cordoned(True)], dry_run=True)
        return plan

    def apply(self, plan: Plan, key: str) -> None:
        """Cordons it, unless it is."""
        with connected(self._planned(plan)) as session:
            node = same(session, plan)
            if not node.cordoned:
                _set(session, node, [*marking(node.bare_at, key, plan.request), _cordoned(True)])

    def observe(self, plan: Plan) -> Observed:
        """DONE once it is cordoned."""
        with connected(self._planned(plan)) as session:
            return Observed.DONE if same(session, plan).cordoned else Observed.NOT_DONE

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - our mark goes with it
        """Lets new pods come again; Permanent where somebody else has cordoned it since the preview."""
        with connected(self._planned(plan)) as session:
            node = same(session, plan)
            if not node.cordoned or plan.before["cordoned"]:
                return
            if not ours(node.mark, plan.request):
                raise Permanent(f"{node.name} was cordoned by somebody else than this step; look before undoing")
            path = annotation(facts.MARK)
            mark: Patch = [{"op": "test", "path": path, "value": node.mark}, {"op": "remove", "path": path}]
            _set(session, node, [*mark, _cordoned(False)])


def seen(session: Session, name: str) -> Node:
    """The node as it is now."""
    (node,) = read([session.get(NODES, name)], facts.node, session.target)
    return node


def same(session: Session, plan: Plan) -> Node:
    """The node of a plan; Permanent when another one bears its name now."""
    node = seen(session, plan.request["node"])
    if node.uid != plan.request["uid"]:
        raise Permanent(f"{node.name} was taken away and added anew since the preview; preview again")
    return node


def _set(session: Session, node: Node, patch: Patch, *, dry_run: bool = False) -> None:
    try:
        patch = [{"op": "test", "path": "/metadata/uid", "value": node.uid}, *patch]
        session.patch(NODES, node.name, "", patch, dry_run=dry_run)
    except Moved as refused:
        raise Permanent(f"{node.name} was changed at this very moment; preview again") from refused


def _cordoned(wanted: bool) -> dict[str, Any]:
    return {"op": "add", "path": "/spec/unschedulable", "value": wanted}
