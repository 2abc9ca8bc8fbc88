"""Step kinds `argo.abort` and `argo.undo`: a Rollout of Argo stopped where it is, or taken back to a revision."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from bot.contracts import Going, Observed, Permanent, Plan
from bot.incident.run import Risk
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import Kind, aimed, allowed, deployment_in, inside, keepers, named, pinned
from bot.integrations.kubernetes.facts import Deployment, Version
from bot.integrations.kubernetes.rollout import RolloutUndo
from bot.integrations.kubernetes.wire import Json, Missing, Resource, Session, connected, read

ROLLOUTS: Final = Resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")


class Undo(RolloutUndo):
    """As of a deployment: Argo keeps its revisions as ReplicaSets too, with a label of its own."""

    resource: ClassVar[Resource] = ROLLOUTS
    names: ClassVar[str] = "rollout"
    label: ClassVar[str] = facts.ARGO_HASH

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Finds the revision and pins it; a sentence where Argo Rollouts is not installed."""
        _there(self, args)
        return super().plan(args)

    def _runs(self, found: Deployment, version: Version) -> bool:
        """By Argo's own word: the server fills defaults into a ReplicaSet's template, but into no Rollout's."""
        return bool(version.hashed) and version.hashed == found.hashed

    def go_on(self, plan: Plan, key: str) -> Going | None:  # noqa: ARG002 - a look needs none
        """What Argo says of it; Permanent when it has given it up, or somebody else has changed it again."""
        with connected(self._planned(plan)) as session:
            raw = session.get(ROLLOUTS, plan.request["name"], plan.request["namespace"])
            (found,) = read([raw], facts.deployment, session.target)
            if found.generation != plan.before["generation"] + 1 and not self._still(session, plan, found):
                raise Permanent(f"{found.shown} was changed again by somebody else; look who reverts it")
            return _phase(raw, found)


class Abort(Kind):
    """Sends all traffic back to the stable revision. Undo goes on with the rollout that was aborted."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Where the rollout stands; Permanent where there is nothing to abort."""
        target = self._target(args.get("target"))
        with connected(target) as session:
            raw, found = _rollout(session, args)
            allowed(session, ("patch", ROLLOUTS, found.namespace, "status"))
            status = raw.get("status") or {}
            aborted = bool(status.get("abort"))
            if not aborted and status.get("currentPodHash") == status.get("stableRS"):
                raise Permanent(f"{found.shown} is not rolling anything out: there is nothing to abort")
            plan = Plan(
                lines=(
                    f"{found.shown}: the rollout of revision {found.revision} is aborted",
                    *(f"image {name}: {image} goes" for name, image in facts.images(found.template).items()),
                    f"all traffic goes to the stable revision; {found.ready} replicas are ready",
                    f"on {target.where}",
                ),
                request=aimed(target, found),
                before=pinned(found) | {"aborted": aborted},
                risk=Risk.REVERSIBLE,
                undo="the aborted rollout goes on",
                warnings=(*keepers(session, found), *(("it is so already: nothing will be sent",) if aborted else ())),
            )
            if not aborted:
                session.set_status(ROLLOUTS, found.name, found.namespace, {"abort": True}, dry_run=True)
        return plan

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - twice is once
        """Aborts it, unless it is; Permanent when another template has come since the preview."""
        with connected(self._planned(plan)) as session:
            found, aborted = self._seen(session, plan)
            if aborted:
                return
            if found.generation != plan.before["generation"]:
                raise Permanent(f"{found.shown} was changed since the preview; preview again")
            session.set_status(ROLLOUTS, found.name, found.namespace, {"abort": True})

    def observe(self, plan: Plan) -> Observed:
        """DONE once it is aborted."""
        with connected(self._planned(plan)) as session:
            return Observed.DONE if self._seen(session, plan)[1] else Observed.NOT_DONE

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - twice is once
        """Lets the rollout go on, if this step stopped it."""
        with connected(self._planned(plan)) as session:
            found, aborted = self._seen(session, plan)
            if not aborted or plan.before["aborted"]:
                return
            if found.generation != plan.before["generation"]:
                raise Permanent(f"{found.shown} was changed since it was aborted; look before undoing")
            session.set_status(ROLLOUTS, found.name, found.namespace, {"abort": False})

    def _seen(self, session: Session, plan: Plan) -> tuple[Deployment, bool]:
        raw = session.get(ROLLOUTS, plan.request["name"], plan.request["namespace"])
        return deployment_in(session, plan.request, ROLLOUTS), bool((raw.get("status") or {}).get("abort"))


def _rollout(session: Session, args: Mapping[str, Any]) -> tuple[Json, Deployment]:
    namespace, name = inside(session.target, named(args, "namespace")), named(args, "rollout")
    allowed(session, ("get", ROLLOUTS, namespace, ""))
    try:
        raw = session.get(ROLLOUTS, name, namespace)
    except Missing as missing:
        raise Permanent(f"{missing}, or Argo Rollouts is not installed on {session.target.where}") from missing
    if raw["spec"].get("workloadRef"):
        raise Permanent(f"{namespace}/{name} takes its template from a workload: undo that one")
    (found,) = read([raw], facts.deployment, session.target)
    return raw, found


def _there(kind: Undo, args: Mapping[str, Any]) -> None:
    with connected(kind._target(args.get("target"))) as session:
        _rollout(session, args)


def _phase(raw: Json, found: Deployment) -> Going | None:
    status = raw.get("status") or {}
    if found.observed < found.generation:
        return Going("Argo Rollouts has not taken it up yet")
    phase, message = str(status.get("phase") or "Progressing"), str(status.get("message") or "")
    if phase == "Degraded":
        raise Permanent(f"{found.shown} is degraded: {message or 'Argo Rollouts does not say why'}")
    return None if phase == "Healthy" else Going(f"{phase}{f': {message}' if message else ''}")
