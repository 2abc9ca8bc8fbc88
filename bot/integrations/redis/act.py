"""Step kind `redis.set`: sets one key, pinned to what stood there at the preview, and can put that back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bot.contracts import Observed, Permanent, Plan
from bot.incident.redact import holds_secret
from bot.incident.timeline import span
from bot.integrations.redis.target import Target, ttl_ms
from bot.integrations.redis.wire import LONGEST_VALUE, SLACK_MS, Held, connected
from bot.integrations.targets import Targets, pin

LONGEST_KEY: Final = 512


class Set:
    """`bot.contracts.Act` over the named servers.

    The world has no room for our key of idempotency, so what stands in Redis tells: with the wanted value and kind of
    end there, nothing is sent. Only a value that has run out by itself since can be set anew by a late second try.
    """

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = Targets("redis", targets)

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads the old value and its end, and pins them in `before`."""
        target = self._targets.named(args.get("target"))
        key, value, ttl = str(args["key"]), str(args["value"]), ttl_ms(args)
        _key_fits(target, key)
        if not value or len(value) > LONGEST_VALUE:
            raise Permanent(f"the value must be 1 to {LONGEST_VALUE} characters")
        with connected(target) as session:
            now, before = session.look(key)
        for text, where in ((value, "the value to set"), (before.value, f"what stands under {key}")):
            if text is not None and holds_secret({key: text}):
                raise Permanent(f"{where} looks like a secret, which a plan must not keep; it is left alone")
        so_already = before == Held(value, None) and ttl is None
        return Plan(
            lines=(
                f"{key}: {_shown(Held(before.value, None))} → {value!r}",
                _ends(before, ttl, now),
                f"on {target.where}",
            ),
            request=pin(target) | {"key": key, "value": value, "ttl_ms": ttl},
            before=before.to_json(),
            risk=target.risk,
            undo=_undo_words(before),
            warnings=("it is so already: nothing will be sent",) if so_already else (),
        )

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Sets the value, unless it is set already; Permanent when something else stands there than at the preview."""
        target, request, before = self._planned(plan)
        with connected(target) as session:
            now, held = session.look(request["key"])
            if _done(request, before, held, now):
                return
            name = request["key"]
            if not held.same(before):
                raise Permanent(
                    f"changed since the preview: {name} was {_shown(before)}, is {_shown(held)}; preview again"
                )
            if not session.swap(name, held, request["value"], ttl=request["ttl_ms"]):
                raise Permanent(f"{name} was changed by somebody else at this very moment; preview again")

    def observe(self, plan: Plan) -> Observed:
        """DONE when it stands there, NOT_DONE while the old value does, else UNKNOWN."""
        target, request, before = self._planned(plan)
        with connected(target) as session:
            now, held = session.look(request["key"])
        if _done(request, before, held, now):
            return Observed.DONE
        return Observed.NOT_DONE if held.same(before.at(now)) else Observed.UNKNOWN

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Puts the old value back until its own end; Permanent when somebody else has changed it meanwhile."""
        target, request, before = self._planned(plan)
        with connected(target) as session:
            now, held = session.look(request["key"])
            restored = before.at(now)
            if held.same(restored):
                return
            ran_out = request["ttl_ms"] is not None and held.value is None
            if not _ours(request, held, now) and not ran_out:
                raise Permanent(
                    f"{request['key']} is {_shown(held)} now, which this step did not set; look before undoing"
                )
            if not session.swap(request["key"], held, restored.value, at=restored.expires):
                raise Permanent(f"{request['key']} was changed by somebody else at this very moment; undo again")

    def _planned(self, plan: Plan) -> tuple[Target, Mapping[str, Any], Held]:
        """What a plan is about. The configuration may have changed since it was made."""
        target = self._targets.planned(plan.request)
        _key_fits(target, plan.request["key"])
        return target, plan.request, Held.from_json(plan.before)


def _key_fits(target: Target, key: str) -> None:
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise Permanent(f"the key cannot be {key[:40]!r}")
    if not target.takes(key):
        raise Permanent(f"'{target.name}' takes only keys that begin with {' or '.join(target.prefixes)}")


def _ours(request: Mapping[str, Any], held: Held, now: int) -> bool:
    """Whether this is what the step sets: the value, with an end no later than it gives, or with none."""
    if held.value != request["value"]:
        return False
    if request["ttl_ms"] is None or held.expires is None:
        return request["ttl_ms"] is None and held.expires is None
    return bool(held.expires <= now + request["ttl_ms"] + SLACK_MS)


def _done(request: Mapping[str, Any], before: Held, held: Held, now: int) -> bool:
    """Set by us. The same value with the end it had at the preview is not: the step gives it a new one."""
    return _ours(request, held, now) and (request["ttl_ms"] is None or not held.same(before))


def _shown(held: Held) -> str:
    if held.value is None:
        return "not there"
    text = held.value if len(held.value) <= 80 else f"{held.value[:80]}…"
    return f"{text!r}" if held.expires is None else f"{text!r} until {_moment(held.expires)}"


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _ends(before: Held, ttl: int | None, now: int) -> str:
    was = "" if before.value is None else f"{_in(before.expires, now)} → "
    return f"expires: {was}{_in(now + ttl if ttl else None, now)}"


def _in(expires: int | None, now: int) -> str:
    return "never" if expires is None else f"in {span(timedelta(milliseconds=expires - now))}"


def _undo_words(before: Held) -> str:
    return "removes the key again" if before.value is None else f"back to {_shown(before)}"
