"""From observations to a judgement: how bad it is for users, why, how sure we are, and what to do first. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.health.findings import Report, Verdict
from bot.health.observation import Observation
from bot.health.scope import Scope

ROLLBACK = "rollback-model-deploy"
CACHE = "serve-from-cache"
USERS = ("U1", "U1b", "U2", "U2b", "U3", "U4", "U5")


class Signals:
    """The observations by check id, and the questions the causes ask of them."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self._by_id = {observation.check: observation for observation in observations}

    def get(self, check: str) -> Observation | None:
        """The observation, if this check was made."""
        return self._by_id.get(check)

    def known(self, *checks: str) -> bool:
        """All of them were answered."""
        return all((seen := self.get(check)) is not None and seen.status != "unknown" for check in checks)

    def ok(self, *checks: str) -> bool:
        """All of them are known and within their limits."""
        return all((seen := self.get(check)) is not None and seen.status == "ok" for check in checks)

    def bad(self, *checks: str) -> bool:
        """One of them is past a limit."""
        return any((seen := self.get(check)) is not None and seen.bad for check in checks)

    def crit(self, *checks: str) -> bool:
        """One of them is critical."""
        return any((seen := self.get(check)) is not None and seen.status == "crit" for check in checks)

    def models(self, *checks: str) -> frozenset[str]:
        """The models past a limit in any of these checks, as far as their series name one."""
        past = [seen for check in checks if (seen := self.get(check)) and seen.bad]
        return frozenset(sample.labels.get("model_name", "") for seen in past for sample in seen.series) - {""}


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation. `holds` decides; `speak` are the checks that agree when past a limit, `silent` those that agree
    when within it. Together they give the confidence; what is unknown counts on neither side."""

    id: str
    title: str
    holds: Callable[[Signals], bool]
    speak: tuple[str, ...]
    silent: tuple[str, ...] = ()
    runbooks: tuple[str, ...] = ()


def _recent_change(signals: Signals) -> bool:
    """A deploy and trouble of the same model. A deployment whose model nobody names may be anyone's."""
    if not (signals.bad("E4") and signals.bad(*USERS, "E3")):
        return False
    changed, troubled = signals.models("E4"), signals.models(*USERS)
    return not changed or not troubled or bool(changed & troubled)


# In this order the first that holds is named, the next one as second hypothesis. A recent change comes first because
# rolling back is quick, safe and most often right; hardware next because it explains what follows from it.
CAUSES: tuple[Cause, ...] = (
    Cause(
        "recent-change",
        "Recent change",
        _recent_change,
        speak=("E4", "U1", "U1b", "U2", "E3"),
        silent=("H1", "H2", "H3"),
        runbooks=(ROLLBACK,),
    ),
    Cause(
        "hardware",
        "Hardware",
        lambda signals: signals.crit("H1", "H2", "H3"),
        speak=("H1", "H2", "H3", "U5"),
        silent=("E4",),  # what to do depends on the Xid, and the alert about it names its runbook
    ),
    Cause(
        "stall",
        "Engine hangs",
        lambda signals: signals.bad("U4"),
        speak=("U4", "U3", "U2"),
        silent=("E4", "H1", "H2"),
        runbooks=("engine-stalled",),
    ),
    Cause(
        "restarts",
        "Containers restart",
        lambda signals: signals.bad("E3"),
        speak=("L1", "E3", "U5"),
        silent=("E4", "H1", "H2"),
        runbooks=("gpu-oom-restart-loop",),
    ),
    Cause(
        "saturation",
        "Saturation",
        lambda signals: signals.bad("U3") and signals.bad("E1", "E2"),
        speak=("U3", "E1", "E2", "U2"),
        silent=("E4", "H1", "U5"),
        runbooks=("kv-cache-saturated", CACHE),
    ),
    Cause(
        "token-spike",
        "Token spike",
        lambda signals: signals.bad("M2"),
        speak=("M2", "E1"),
        silent=("E4",),
        runbooks=("token-cost-spike",),
    ),
    Cause(
        "drift",
        "Drift",
        lambda signals: signals.crit("M1"),
        speak=("M1",),
        silent=("U1", "U2"),
        runbooks=("drift-threshold-crossed",),
    ),
    Cause(
        "capacity",
        "Replicas are down, why is not visible from here",
        lambda signals: signals.bad("U5"),
        speak=("U5", "U1", "U3"),
        silent=("E4", "H1", "H2"),
        runbooks=(CACHE,),
    ),
    Cause(
        "demand",
        "More arrives than is served",
        lambda signals: signals.bad("U3"),
        speak=("U3", "U2"),
        silent=("E4", "U5", "H1"),
        runbooks=("queue-scale-out",),
    ),
)


def judge(observations: Sequence[Observation], now: datetime, scope: Scope | None = None) -> Report:
    """The report over these observations, made at `now` (timezone-aware), about `scope` (default: the fleet)."""
    scope = scope or Scope()
    model = scope.model or None
    signals = Signals(observations)
    verdict = _verdict(signals)
    causes = [] if verdict is Verdict.BLIND else [cause for cause in CAUSES if cause.holds(signals)]
    cause = causes[0] if causes else None
    agree, spoken = _agreement(signals, cause)
    return Report(
        at=now,
        model=model,
        verdict=verdict,
        impact=_impact(signals, verdict, model),
        cause_id=cause.id if cause else "blind" if verdict is Verdict.BLIND else "none",
        cause=_cause_sentence(signals, verdict, cause, model),
        agree=agree,
        signals=spoken,
        second=_evidence(signals, causes[1], model) if len(causes) > 1 else "",
        runbooks=_runbooks(signals, verdict, cause),
        not_advised=_not_advised(signals, verdict, cause, model),
        unknowns=_unknowns(observations),
        checks=tuple(observations),
        scope=scope,
    )


def _verdict(signals: Signals) -> Verdict:
    """Impact comes from the users' side only.

    A tenth of the requests failing, a hang of every replica, or half of the capacity gone is an outage; but lost
    capacity that users verifiably do not feel (a cache or the other replicas answer them) is degradation.
    """
    hung = signals.get("U4")
    all_hung = hung is not None and hung.value is not None and hung.value >= 1
    if signals.crit("U1", "U1b") or all_hung or (signals.crit("U5") and not signals.ok("U1")):
        return Verdict.OUTAGE
    if signals.bad(*USERS):
        return Verdict.DEGRADED
    # Fine needs proof from both of what users feel: that answers come, and that they come in time.
    if signals.ok("U1", "U2"):
        return Verdict.OK
    return Verdict.BLIND


def _impact(signals: Signals, verdict: Verdict, model: str | None) -> str:
    felt = [seen for check in ("U1", "U2") if (seen := signals.get(check))]
    cached = " (from the cache)" if signals.bad("C1") else ""
    if verdict is Verdict.OK:
        return f"users are served{cached}: " + ", ".join(seen.text for seen in felt)
    if verdict is Verdict.BLIND:
        missing = [seen for seen in felt if seen.status == "unknown"]
        names = " and ".join(seen.title.lower() for seen in missing) or "errors and first token"
        reasons = ", ".join(dict.fromkeys(seen.text for seen in missing)) or "nothing was asked"
        return f"cannot say how users are: {names} unknown ({reasons})"
    trouble = [seen for check in USERS if signals.bad(check) and (seen := signals.get(check))]
    told = [_clause(seen, model) for seen in sorted(trouble, key=lambda seen: seen.status != "crit")]
    if signals.bad("C1") and signals.ok("U1"):
        told.append("users are answered from the cache")
    return "; ".join(told)


def _clause(seen: Observation, model: str | None) -> str:
    """The observation with whom it is about, unless the report's title says so already."""
    whom = f"{seen.offender} ".removeprefix(f"{model} ").strip()
    return f"{seen.text} ({whom})" if whom else seen.text


def _evidence(signals: Signals, cause: Cause, model: str | None) -> str:
    told = [_clause(seen, model) for check in cause.speak if signals.bad(check) and (seen := signals.get(check))]
    return f"{cause.title}: {'; '.join(told)}"


def _cause_sentence(signals: Signals, verdict: Verdict, cause: Cause | None, model: str | None) -> str:
    if cause is not None:
        return _evidence(signals, cause, model)
    if verdict is Verdict.BLIND:
        return "What users get cannot be seen from here: look at the service itself"
    if verdict is Verdict.OK:
        return "Nothing to explain"
    return "No cause found in these signals"


def _agreement(signals: Signals, cause: Cause | None) -> tuple[int, int]:
    if cause is None:
        return 0, 0
    agree = [signals.bad(check) for check in cause.speak if signals.known(check)]
    agree += [not signals.bad(check) for check in cause.silent if signals.known(check)]
    return sum(agree), len(agree)


def _runbooks(signals: Signals, verdict: Verdict, cause: Cause | None) -> tuple[str, ...]:
    """Users first: with a model down and nothing to roll back, answer from the cache before mending anything."""
    wanted = cause.runbooks if cause else ()
    if verdict is Verdict.OUTAGE:
        wanted = (*wanted, CACHE) if ROLLBACK in wanted else (CACHE, *wanted)
    done = {CACHE} if signals.bad("C1") else set()
    return tuple(runbook for runbook in dict.fromkeys(wanted) if runbook not in done)


def _not_advised(signals: Signals, verdict: Verdict, cause: Cause | None, model: str | None) -> tuple[str, ...]:
    out = []
    if verdict in {Verdict.OUTAGE, Verdict.DEGRADED} and (cause is None or ROLLBACK not in cause.runbooks):
        change = signals.get("E4")
        if change is not None and change.status == "ok":
            out.append(f"rollback: nothing changed lately, {_clause(change, model)}")
    if cause is not None and cause.id == "hardware":
        if signals.crit("U5"):
            out.append("draining the node before other replicas serve: half of the capacity is already gone")
        elif signals.bad("U3", "E1"):
            out.append("draining the node before there is more capacity: the other replicas are full")
    xid = signals.get("H2")
    if xid is not None and xid.status == "ok" and xid.value:
        out.append(f"GPU reset: {_clause(xid, model)}")
    return tuple(out)


def _unknowns(observations: Sequence[Observation]) -> tuple[str, ...]:
    by_reason: dict[str, list[str]] = {}
    for seen in observations:
        if seen.status == "unknown":
            by_reason.setdefault(seen.text, []).append(seen.title)
    if len(by_reason) == 1 and all(seen.status == "unknown" for seen in observations):
        return (f"everything: {next(iter(by_reason))}",)
    return tuple(f"{', '.join(titles)}: {reason}" for reason, titles in by_reason.items())
