"""Step kind `shell.run`: a command of the allow-list, as a check where it only reads, else as an act."""

from collections.abc import Mapping
from typing import Any, Final

from bot.contracts import Observed, Permanent, Plan
from bot.incident.redact import holds_secret
from bot.incident.run import Reading, Risk, Sample
from bot.integrations.shell.allowed import STEP_KEY, Allowed, quoted
from bot.integrations.shell.process import Ended, Room, there

PREVIEW_LINES: Final = 10
"""Lines of a preview's output that people are shown."""
_SAMPLES: Final = {0: Sample.HOLDS, 1: Sample.FAILS}
_SEEN: Final = {0: Observed.DONE, 1: Observed.NOT_DONE}
"""By exit status, as test(1) and grep(1) have it; anything else, and a signal, tells nothing."""


class _Commands:
    """The commands by name."""

    def __init__(self, commands: Mapping[str, Allowed]) -> None:
        self._commands = dict(commands)

    def _command(self, name: object) -> Allowed:
        command = self._commands.get(str(name))
        if command is None:
            known = ", ".join(sorted(self._commands)) or "none"
            raise Permanent(f"no command '{name}' is allowed; known: {known}")
        return command

    def _given(self, args: Mapping[str, Any]) -> tuple[Allowed, dict[str, str]]:
        """The command of a step, and its values."""
        command = self._command(args.get(STEP_KEY))
        values = {name: str(value) for name, value in args.items() if name != STEP_KEY}
        if values.keys() != command.needs:
            given, wanted = (", ".join(sorted(names)) or "nothing" for names in (values, command.needs))
            raise Permanent(f"the command '{command.name}' takes {wanted}, the step gives {given}")
        if holds_secret(values):
            raise Permanent(f"a value for '{command.name}' looks like a secret, which a plan must not keep")
        return command, values


class Look(_Commands):
    """`bot.contracts.Check`: a command that only reads. Exit 0 holds, 1 does not, anything else is INCONCLUSIVE."""

    def check(self, args: Mapping[str, Any]) -> Reading:
        """Runs it once; what it says is what people are shown."""
        command, values = self._given(args)
        if command.risk is not Risk.READ:
            raise Permanent(f"the command '{command.name}' changes something, so it cannot be run as a check")
        ended = Room(command).run(command.rendered(command.argv, values))
        sample = _SAMPLES.get(ended.status, Sample.INCONCLUSIVE)
        if sample is Sample.INCONCLUSIVE:
            return Reading(sample, ended.how)
        return Reading(sample, ended.output or f"ended with {ended.status} and said nothing")


class Run(_Commands):
    """`bot.contracts.Act`: a command that changes something.

    The world has no room for our key of idempotency: with `observe` a look tells what was done, without it a second try
    is never made.
    """

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Runs nothing but `observe` and `preview`, and pins every argv and what was observed."""
        command, values = self._given(args)
        if command.risk is Risk.READ:
            raise Permanent(f"the command '{command.name}' only reads; take the risk out of the step")
        request = _request(command, values)
        if not there(request["argv"]):
            raise Permanent(f"'{command.name}' cannot run {request['argv'][0]}: there is no such program")
        room = Room(command)
        seen = _observed(room, request)
        told = _foretold(room.run(request["preview"])) if request["preview"] else []
        warnings = [] if request["preview"] else ["CANNOT BE PREVIEWED: what it will do is known only once it is done"]
        if seen is Observed.DONE:
            warnings.append("it is so already: nothing will be run")
        elif seen is Observed.UNKNOWN and request["observe"]:
            warnings.append("a look cannot tell whether it is so already")
        if not request["observe"]:
            warnings.append("it cannot be looked at: after a crash only a person can tell whether it was done")
        return Plan(
            lines=(f"runs {quoted(request['argv'])}", *told),
            request=request,
            before={"observed": seen.value},
            risk=command.risk,
            undo=f"runs {quoted(request['undo'])}" if request["undo"] else None,
            warnings=tuple(warnings),
        )

    def apply(self, plan: Plan, key: str) -> str | None:  # noqa: ARG002 - see the class
        """Runs it to its end, unless it is done already; gives what it printed.

        Raises Permanent when it ends with anything but 0.
        """
        command = self._planned(plan)
        room = Room(command)
        if plan.request["observe"]:
            seen = _observed(room, plan.request)
            if seen is Observed.DONE:
                return None
            if seen.value != plan.before["observed"]:
                raise Permanent(f"changed since the preview: it was {plan.before['observed']}, now {seen.value}")
        ended = room.run(plan.request["argv"], acts=True)
        if ended.status != 0:  # half of it may be done
            raise Permanent(f"'{command.name}' {ended.how}", ambiguous=True)
        return ended.output.strip() or None

    def observe(self, plan: Plan) -> Observed:
        """What `observe` says; without it nobody knows."""
        return _observed(Room(self._planned(plan)), plan.request)

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Runs `undo`, unless a look says that nothing is in force; a look that cannot tell leaves it to a person."""
        command = self._planned(plan)
        if not plan.request["undo"]:
            raise Permanent(f"the command '{command.name}' has no undo")
        room = Room(command)
        seen = _observed(room, plan.request)
        if seen is Observed.UNKNOWN:
            raise Permanent(f"a look cannot tell whether '{command.name}' is in force; look before undoing")
        if seen is Observed.DONE:
            _must(command, room.run(plan.request["undo"], acts=True))

    def _planned(self, plan: Plan) -> Allowed:
        """The command of a plan. What is run is always what the allow-list says now, never only what was stored."""
        command = self._command(plan.request[STEP_KEY])
        if _request(command, plan.request["args"]) != plan.request:
            raise Permanent(f"the command '{command.name}' has changed since the preview; preview again")
        return command


def _request(command: Allowed, values: Mapping[str, str]) -> dict[str, Any]:
    """Everything that may be run, with the values in it."""
    return {
        STEP_KEY: command.name,
        "args": dict(values),
        "argv": command.rendered(command.argv, values),
        "preview": command.rendered(command.preview, values),
        "observe": command.rendered(command.observe, values),
        "undo": command.rendered(command.undo, values),
        "user": command.user,
        "cwd": command.cwd,
    }


def _observed(room: Room, request: Mapping[str, Any]) -> Observed:
    if not request["observe"]:
        return Observed.UNKNOWN
    return _SEEN.get(room.run(request["observe"]).status, Observed.UNKNOWN)


def _foretold(ended: Ended) -> list[str]:
    if ended.status != 0:
        raise Permanent(f"its preview {ended.how}")
    lines = [line for line in ended.output.splitlines() if line.strip()]
    more = [f"… and {len(lines) - PREVIEW_LINES} more lines"] if len(lines) > PREVIEW_LINES else []
    return [*lines[:PREVIEW_LINES], *more]


def _must(command: Allowed, ended: Ended) -> None:
    if ended.status != 0:
        raise Permanent(f"'{command.name}' {ended.how}")
