"""A deployment changed by one patch: that it is still as it was seen, our mark, and the change itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from bot.contracts import Going, Observed, Permanent, Plan
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import Kind, deployment_in, marking, moved, ours
from bot.integrations.kubernetes.facts import Deployment
from bot.integrations.kubernetes.wire import DEPLOYMENTS, PODS, Moved, Patch, Resource, Session, connected, read


class Change(Kind, ABC):
    """`bot.contracts.Act`, and Lasting, for whatever rolls a deployment's pods."""

    resource: ClassVar[Resource] = DEPLOYMENTS

    @abstractmethod
    def _change(self, session: Session, plan: Plan, key: str, found: Deployment) -> Patch:
        """What is changed, beside the mark."""

    @abstractmethod
    def _still(self, session: Session, plan: Plan, found: Deployment) -> bool:
        """Whether what was changed stands as we left it."""

    def apply(self, plan: Plan, key: str) -> None:
        """Changes it, unless that is done already; Permanent when it has moved since the preview."""
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request, self.resource)
            if ours(found.mark, plan.request):
                return
            if found.generation != plan.before["generation"]:
                raise Permanent(moved(found, plan.before))
            self._still_bearable(session, plan, found)
            self._send(session, plan, key, found)

    def observe(self, plan: Plan) -> Observed:
        """DONE with our mark on it, NOT_DONE while nothing has moved, else UNKNOWN."""
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request, self.resource)
        if ours(found.mark, plan.request):
            return Observed.DONE
        return Observed.NOT_DONE if found.generation == plan.before["generation"] else Observed.UNKNOWN

    def go_on(self, plan: Plan, key: str) -> Going | None:  # noqa: ARG002 - a look needs none
        """How far its pods are; Permanent when they are stuck, or somebody else has changed it again."""
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request, self.resource)
            if found.generation != plan.before["generation"] + 1 and not self._still(session, plan, found):
                raise Permanent(put_back(found))
            text = rolling(found, plan.before)
            return Going(f"{text}{self._troubles(session, found)}") if text else None

    def _going(self, plan: Plan, found: Deployment) -> int:  # noqa: ARG002 - see restart and scale
        """How many ready pods it takes away beyond what a rollout does anyway."""
        return 0

    def _still_bearable(self, session: Session, plan: Plan, found: Deployment) -> None:
        """The load is measured again right before: Permanent when it has risen too high since the preview."""
        going = self._going(plan, found)
        if going:
            self._load(session, found.namespace, found.name, found.ready, going)

    def _send(self, session: Session, plan: Plan, key: str, found: Deployment, *, dry_run: bool = False) -> None:
        patch = [
            *guard(found.uid, found.generation),
            *marking(found.bare_at, key, plan.request),
            *self._change(session, plan, key, found),
        ]
        try:
            session.patch(self.resource, found.name, found.namespace, patch, dry_run=dry_run)
        except Moved as refused:
            # The server does not say which test failed.
            again = deployment_in(session, plan.request, self.resource)
            stale = again.generation != found.generation
            raise Permanent(moved(again, plan.before) if stale else str(refused)) from refused

    def _troubles(self, session: Session, found: Deployment) -> str:
        """Why pods are not ready, where the cluster says it."""
        pods = read(session.list(PODS, found.namespace, labels=found.selector), facts.pod, session.target)
        words = sorted({f"{pod.name}: {pod.trouble}" for pod in pods if pod.trouble and not pod.ending})
        return f"; {words[0]}" + (f" and {len(words) - 1} more" if len(words) > 1 else "") if words else ""


def guard(uid: str, generation: int) -> Patch:
    """Not resourceVersion: any change of status moves that."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/generation", "value": generation},
    ]


def put_back(found: Deployment) -> str:
    """Somebody else has changed what we did."""
    by = f", last written by {found.writer}" if found.writer else ""
    keeper = f"; {found.keeper[0]} keeps it as it stands in Git" if found.keeper[0] else ""
    return f"{found.shown} was changed again by somebody else{by}{keeper}; look who reverts it"


def rolling(found: Deployment, before: Mapping[str, Any]) -> str:
    """How far a rollout is, in words; empty once it has ended. Permanent when the controller has given it up.

    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
    """
    if found.observed < found.generation:
        return "its controller has not taken it up yet"
    since, words = found.stuck
    # Until a pod has moved, the condition of an earlier rollout that got stuck stands there still.
    if since and since != before["stuck"]:
        raise Permanent(
            f"{found.shown} is stuck: {words.rstrip('.')}; {found.updated} of {found.replicas} pods are new"
        )
    if found.updated < found.replicas:
        return f"{found.updated} of {found.replicas} pods are new"
    if found.total > found.updated:
        return f"{found.total - found.updated} old pods are still ending"
    if found.available < found.updated:
        return f"{found.available} of {found.updated} new pods are available"
    return ""
