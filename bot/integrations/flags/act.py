"""Step kind `flag.set`: switches one flag to another of its variants, pinned to the one that held at the preview."""

from collections.abc import Mapping
from typing import Any

from bot.contracts import Observed, Permanent, Plan
from bot.incident.redact import holds_secret
from bot.integrations.flags.store import Store
from bot.integrations.flags.target import Target
from bot.integrations.targets import Targets, pin


class Set:
    """`bot.contracts.Act` over what keeps the flags.

    It has no room for our key of idempotency; with the wanted variant in it nothing is written.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = Targets("flags", targets)

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads the flag, and pins its default variant in `before`."""
        target = self._targets.named(args.get("target"))
        flag, variant = str(args["flag"]), str(args["variant"])
        _allowed(target, flag)
        found = target.store().look(flag)
        before = found.now
        if variant not in found.variants:
            known = ", ".join(found.variants) or "none"
            raise Permanent(f"{flag} has no variant {variant[:60]!r}; it has {known}")
        if found.asleep:
            raise Permanent(found.asleep)
        if holds_secret({flag: before}):
            raise Permanent(f"the variant of {flag} looks like a secret, which a plan must not keep")
        so_already = ("it is so already: nothing will be written",) if before == variant else ()
        return Plan(
            lines=(f"{flag}: {before} → {variant}", f"in {target.where}"),
            request=pin(target) | {"flag": flag, "variant": variant},
            before={"variant": before},
            risk=target.risk,
            undo=f"{flag} back to {before}",
            warnings=(*so_already, *found.warnings),
        )

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Switches it, unless it is so already; Permanent when it has been switched since the preview."""
        store, flag, wanted, before = self._planned(plan)
        now = store.look(flag).now
        if now == wanted:
            return
        if now != before:
            raise Permanent(f"changed since the preview: {flag} was {before}, is {now}; preview again")
        store.switch(flag, wanted)

    def observe(self, plan: Plan) -> Observed:
        """DONE when it is as wanted, NOT_DONE while it is as before, else UNKNOWN."""
        store, flag, wanted, before = self._planned(plan)
        now = store.look(flag).now
        if now == wanted:
            return Observed.DONE
        return Observed.NOT_DONE if now == before else Observed.UNKNOWN

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Switches it back; Permanent when somebody else has switched it meanwhile."""
        store, flag, wanted, before = self._planned(plan)
        now = store.look(flag).now
        if now not in (wanted, before):
            raise Permanent(f"{flag} is {now} now, which this step did not set; look before undoing")
        if now != before:
            store.switch(flag, before)

    def _planned(self, plan: Plan) -> tuple[Store, str, str, str]:
        target = self._targets.planned(plan.request)
        _allowed(target, plan.request["flag"])
        return target.store(), plan.request["flag"], plan.request["variant"], plan.before["variant"]


def _allowed(target: Target, flag: str) -> None:
    if flag not in target.flags:
        raise Permanent(f"'{target.name}' does not let {flag[:60]!r} be switched; it lets {', '.join(target.flags)}")
