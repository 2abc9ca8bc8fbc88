"""Step kind `flag.set`: switches the default variant of one flag in a file that flagd reads."""

from collections.abc import Mapping
from typing import Any

from bot.contracts import Observed, Permanent, Plan
from bot.incident.redact import holds_secret
from bot.integrations.flags.file import FlagFile
from bot.integrations.flags.target import Target
from bot.integrations.targets import Targets, pin


class Set:
    """`bot.contracts.Act` over the named files.

    A file has no room for our key of idempotency; with the wanted variant in it nothing is written.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = Targets("flags", targets)

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads the flag, and pins its default variant in `before`."""
        target = self._targets.named(args.get("target"))
        flag, variant = str(args["flag"]), str(args["variant"])
        _allowed(target, flag)
        found = FlagFile(target.file).flag(flag)
        variants, before = found.get("variants"), found["defaultVariant"]
        if not isinstance(variants, dict) or variant not in variants:
            known = ", ".join(sorted(variants)) if isinstance(variants, dict) else "none"
            raise Permanent(f"{flag} has no variant {variant[:60]!r}; it has {known}")
        if found.get("state") != "ENABLED":
            raise Permanent(f"{flag} is not ENABLED, so no variant of it holds; enable it in {target.file.name} first")
        if holds_secret({flag: before}):
            raise Permanent(f"the variant of {flag} looks like a secret, which a plan must not keep")
        warnings = ["it is so already: nothing will be written"] if before == variant else []
        if found.get("targeting"):
            warnings.append("it has targeting rules: whom they match does not follow the default variant")
        return Plan(
            lines=(f"{flag}: {before} → {variant}", f"in {target.file}"),
            request=pin(target) | {"flag": flag, "variant": variant},
            before={"variant": before},
            risk=target.risk,
            undo=f"{flag} back to {before}",
            warnings=tuple(warnings),
        )

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Switches it, unless it is so already; Permanent when it has been switched since the preview."""
        file, flag, wanted, before = self._planned(plan)
        now = file.flag(flag)["defaultVariant"]
        if now == wanted:
            return
        if now != before:
            raise Permanent(f"changed since the preview: {flag} was {before}, is {now}; preview again")
        file.switch(flag, wanted)

    def observe(self, plan: Plan) -> Observed:
        """DONE when it is as wanted, NOT_DONE while it is as before, else UNKNOWN."""
        file, flag, wanted, before = self._planned(plan)
        now = file.flag(flag)["defaultVariant"]
        if now == wanted:
            return Observed.DONE
        return Observed.NOT_DONE if now == before else Observed.UNKNOWN

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Switches it back; Permanent when somebody else has switched it meanwhile."""
        file, flag, wanted, before = self._planned(plan)
        now = file.flag(flag)["defaultVariant"]
        if now not in (wanted, before):
            raise Permanent(f"{flag} is {now} now, which this step did not set; look before undoing")
        if now != before:
            file.switch(flag, before)

    def _planned(self, plan: Plan) -> tuple[FlagFile, str, str, str]:
        target = self._targets.planned(plan.request)
        _allowed(target, plan.request["flag"])
        return FlagFile(target.file), plan.request["flag"], plan.request["variant"], plan.before["variant"]


def _allowed(target: Target, flag: str) -> None:
    if flag not in target.flags:
        raise Permanent(f"'{target.name}' does not let {flag[:60]!r} be switched; it lets {', '.join(target.flags)}")
