"""Step kind `k8s.scale`: so many replicas, or so many more or fewer, by whoever decides about them."""

import re
from collections.abc import Mapping
from typing import Any, Final

from bot.contracts import Going, Observed, Permanent, Plan
from bot.incident.run import Risk
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.base import (
    aimed,
    allowed,
    deployment_in,
    inside,
    keepers,
    marking,
    named,
    ours,
    pinned,
)
from bot.integrations.kubernetes.change import Change, guard, put_back
from bot.integrations.kubernetes.facts import Deployment, Scaler
from bot.integrations.kubernetes.rollout import standing
from bot.integrations.kubernetes.wire import BUDGETS, PODS, SCALERS, Moved, Patch, Session, connected, read

_WANTED: Final = re.compile(r"([+-]?)([0-9]{1,4})")


class Scale(Change):
    """Where a HorizontalPodAutoscaler owns the deployment, its minimum is moved: it would undo anything else."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Turns "+2" into a number, and pins that."""
        target = self._target(args.get("target"))
        namespace, name = inside(target, named(args, "namespace")), named(args, "deployment")
        with connected(target) as session:
            allowed(
                session,
                ("get", self.resource, namespace, ""),
                ("list", SCALERS, namespace, ""),
                ("list", PODS, namespace, ""),
                ("list", BUDGETS, namespace, ""),
            )
            (found,) = read([session.get(self.resource, name, namespace)], facts.deployment, target)
            wanted, scaler = _wanted(args["replicas"], found.replicas), _owner(session, found)
            allowed(session, ("patch", SCALERS if scaler else self.resource, namespace, ""))
            request = {
                **aimed(target, found),
                "after": scaler.mark if scaler else found.mark,
                "replicas": wanted,
                "scaler": {"name": scaler.name, "uid": scaler.uid} if scaler else None,
            }
            before = pinned(found) | {"least": scaler.least if scaler else None}
            down = wanted < found.replicas
            lines, doubts = [f"{found.shown}: {found.replicas} → {wanted} replicas"], list(keepers(session, found))
            if scaler:
                lines += _by_scaler(found, scaler, wanted)
            lines += standing(session, found)
            if down:
                gone = max(0, found.ready - wanted)
                line, doubt = self._load(session, namespace, name, found.ready, gone)
                lines.append(line)
                doubts += [doubt] if doubt else []
            if wanted == found.replicas and (not scaler or scaler.least == wanted):
                doubts.append("it is so already")
            plan = Plan(
                lines=(*lines, "the server would take it, and the bot may do it", f"on {target.where}"),
                request=request,
                before=before,
                risk=Risk.DESTRUCTIVE if down else Risk.REVERSIBLE,
                undo=f"{scaler.name}'s minimum back to {scaler.least}"
                if scaler
                else f"back to {found.replicas} replicas",
                warnings=tuple(doubts),
            )
            if scaler:
                _move(session, plan, "preview", scaler, wanted, dry_run=True)
            else:
                self._send(session, plan, "preview", found, dry_run=True)
        return plan

    def apply(self, plan: Plan, key: str) -> None:
        """Sets the number; Permanent when the deployment or its autoscaler has moved since the preview."""
        if not plan.request["scaler"]:
            super().apply(plan, key)
            return
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request)
            scaler = _pinned(session, plan)
            if ours(scaler.mark, plan.request):
                return
            _unmoved(scaler, plan)
            self._still_bearable(session, plan, found)
            _move(session, plan, key, scaler, plan.request["replicas"])

    def observe(self, plan: Plan) -> Observed:
        """As of every change; by the autoscaler where that one was moved."""
        if not plan.request["scaler"]:
            return super().observe(plan)
        with connected(self._planned(plan)) as session:
            scaler = _pinned(session, plan)
        if ours(scaler.mark, plan.request):
            return Observed.DONE
        return Observed.NOT_DONE if scaler.least == plan.before["least"] else Observed.UNKNOWN

    def go_on(self, plan: Plan, key: str) -> Going | None:  # noqa: ARG002 - a look needs none
        """How many are ready, or still there; Permanent when somebody else has set another number."""
        wanted, up = plan.request["replicas"], plan.request["replicas"] >= plan.before["replicas"]
        with connected(self._planned(plan)) as session:
            found = deployment_in(session, plan.request)
            if plan.request["scaler"]:
                scaler = _pinned(session, plan)
                if scaler.least != wanted:
                    raise Permanent(
                        f"{scaler.name} has a minimum of {scaler.least} again, not {wanted}: look who did it"
                    )
                if up and found.replicas < wanted:
                    return Going(f"{scaler.name} has not raised it yet: {found.replicas} of {wanted} replicas")
            elif found.replicas != wanted:
                raise Permanent(f"{found.replicas} replicas are wanted again, not {wanted}: {put_back(found)}")
            if found.observed < found.generation:
                return Going("its controller has not taken it up yet")
            if up and found.ready < wanted:
                return Going(f"{found.ready} of {wanted} replicas are ready{self._troubles(session, found)}")
            if not up and not plan.request["scaler"] and found.total > wanted:
                return Going(f"{found.total - wanted} pods are still ending")
            return None

    def undo(self, plan: Plan, key: str) -> None:
        """Puts the number back; Permanent when it is no longer ours that stands there."""
        wanted, before = plan.request["replicas"], plan.before
        with connected(self._planned(plan)) as session:
            if plan.request["scaler"]:
                scaler = _pinned(session, plan)
                if scaler.least == before["least"]:
                    return
                if scaler.least != wanted:
                    raise Permanent(f"{scaler.name} has a minimum of {scaler.least}, which this step did not set; look")
                _move(session, plan, f"{key} undone", scaler, before["least"])
                return
            found = deployment_in(session, plan.request)
            if found.replicas == before["replicas"]:
                return
            if found.replicas != wanted:
                raise Permanent(f"{found.shown} has {found.replicas} replicas, which this step did not set; look")
            patch = [*guard(found.uid, found.generation), _replicas(before["replicas"])]
            try:
                session.patch(self.resource, found.name, found.namespace, patch)
            except Moved as refused:
                raise Permanent(f"{found.shown} was changed at this very moment; undo again") from refused

    def _going(self, plan: Plan, found: Deployment) -> int:
        fewer = plan.request["replicas"] < plan.before["replicas"]
        return max(0, found.ready - plan.request["replicas"]) if fewer else 0

    def _change(self, session: Session, plan: Plan, key: str, found: Deployment) -> Patch:  # noqa: ARG002
        return [_replicas(plan.request["replicas"])]

    def _still(self, session: Session, plan: Plan, found: Deployment) -> bool:  # noqa: ARG002
        return bool(found.replicas == plan.request["replicas"])


def _wanted(replicas: object, now: int) -> int:
    found = _WANTED.fullmatch(str(replicas))
    if not found or isinstance(replicas, bool) or (isinstance(replicas, int) and replicas < 0):
        raise Permanent(f'replicas must be a number, or more or fewer such as "+2", not {str(replicas)[:20]!r}')
    number = int(found[2])
    wanted = {"+": now + number, "-": now - number, "": number}[found[1]]
    if wanted < 0:
        raise Permanent(f"{now} replicas cannot become {number} fewer")
    return wanted


def _owner(session: Session, found: Deployment) -> Scaler | None:
    scalers = read(session.list(SCALERS, found.namespace), facts.scaler, session.target)
    return next((scaler for scaler in scalers if scaler.owns == ("Deployment", found.name)), None)


def _by_scaler(found: Deployment, scaler: Scaler, wanted: int) -> list[str]:
    """What is done instead; Permanent where that would have no effect, or is not allowed."""
    owner = f"{scaler.name} ({scaler.least} to {scaler.most})"
    if wanted > scaler.most:
        raise Permanent(f"{owner} owns {found.shown} and would take it back: raise its maxReplicas first")
    if wanted < 1:
        raise Permanent(f"{owner} owns {found.shown} and takes no minimum of {wanted}")
    if wanted < found.replicas and scaler.least <= wanted:
        raise Permanent(f"{owner} keeps {found.replicas} replicas for their load: a lower minimum would change nothing")
    if wanted > found.replicas and scaler.least > wanted:
        raise Permanent(f"{owner} owns {found.shown} and is raising it above {wanted} already")
    return [f"{owner} owns it: its minimum {scaler.least} → {wanted}"]


def _pinned(session: Session, plan: Plan) -> Scaler:
    name, uid = plan.request["scaler"]["name"], plan.request["scaler"]["uid"]
    raw = session.get(SCALERS, name, plan.request["namespace"])
    (scaler,) = read([raw], facts.scaler, session.target)
    if scaler.uid != uid:
        raise Permanent(f"{name} was deleted and made anew since the preview; preview again")
    return scaler


def _unmoved(scaler: Scaler, plan: Plan) -> None:
    if scaler.least != plan.before["least"]:
        raise Permanent(
            f"changed since the preview: the minimum of {scaler.name} {plan.before['least']} → {scaler.least}; "
            "preview again"
        )


def _move(session: Session, plan: Plan, key: str, scaler: Scaler, least: int, *, dry_run: bool = False) -> None:
    patch: Patch = [
        {"op": "test", "path": "/metadata/uid", "value": scaler.uid},
        {"op": "test", "path": "/spec/minReplicas", "value": scaler.least},
        *marking(scaler.bare_at, key, plan.request),
        {"op": "replace", "path": "/spec/minReplicas", "value": least},
    ]
    try:
        session.patch(SCALERS, scaler.name, plan.request["namespace"], patch, dry_run=dry_run)
    except Moved as refused:
        _unmoved(_pinned(session, plan), plan)
        raise Permanent(str(refused)) from refused


def _replicas(number: int) -> dict[str, Any]:
    return {"op": "replace", "path": "/spec/replicas", "value": number}
