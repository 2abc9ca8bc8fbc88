"""From a situation to a judgement: how bad it is for users, why, how sure we are, and what to do first. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.health.capacity import QUEUE, Drain, Replica, drains
from bot.health.causes import (
    CACHE,
    DRAINING,
    ROLLBACK,
    SCALE_OUT,
    SMALLER,
    Cause,
    doubtful,
    explanations,
    headline,
    lacking,
    proven,
    rivals,
)
from bot.health.findings import Certainty, Report, Verdict
from bot.health.observation import Observation, Sample
from bot.health.recent import CHANGE_CHECK, at_onset
from bot.health.scope import FLEET, Scope
from bot.health.signals import FAULTS, Signals
from bot.health.situation import Situation

BLIND_SHARE = 0.5
"""Of the checks that could answer an hour ago, when so many no longer do, no explanation is to be trusted."""
FEWEST_GONE = 3
"""One exporter that is restarted takes a check or two along; that is not blindness."""
SLOWED = ("H4", "H4b")


def judge(found: Situation, now: datetime, scope: Scope = FLEET) -> Report:
    """The report over this situation, made at `now` (timezone-aware), about `scope`."""
    signals = _with_suspects(Signals(found, now))
    found = signals.found
    model = scope.model or None
    verdict = _verdict(signals)
    causes = explanations(signals)
    blind = _gone(signals) or (verdict is Verdict.BLIND and not _certain_fault(signals, causes))
    cause = None if blind or not causes else causes[0]
    second = next(iter(causes[0 if blind else 1 :]), None)
    agree, spoken = _agreement(signals, cause)
    drained = _drains(signals, cause)
    return Report(
        at=now,
        model=model,
        verdict=verdict,
        impact=_impact(signals, verdict, model),
        cause_id=cause.id if cause else "blind" if blind else "none",
        cause=_cause_sentence(signals, verdict, cause, model, blind=blind),
        agree=agree,
        signals=spoken,
        second=_evidence(signals, second, model) if second else "",
        runbooks=_runbooks(signals, verdict, cause, drained),
        not_advised=_not_advised(signals, verdict, cause, model, drained),
        unknowns=_unknowns(found.observations),
        checks=found.observations,
        scope=scope,
        certainty=_certainty(signals, cause, second, agree, spoken),
        headline_cause=headline(signals, cause) if cause else "Telemetry is blind" if blind else "",
        second_id=second.id if second else "",
        drains=drained,
    )


def _with_suspects(signals: Signals) -> Signals:
    """The same, the check of changes seen from when the trouble began."""
    onset, troubled = signals.onset, signals.troubled
    seen = tuple(
        at_onset(one, onset, troubled, signals.now) if one.check == CHANGE_CHECK else one
        for one in signals.found.observations
    )
    return Signals(replace(signals.found, observations=seen), signals.now)


def _certain_fault(signals: Signals, causes: Sequence[Cause]) -> bool:
    """What a GPU itself reports is a fault, whatever else cannot be seen; what is inferred from silence is not."""
    return bool(causes) and causes[0].id == "hardware" and signals.crit("H2", "H3", "H3c")


def _verdict(signals: Signals) -> Verdict:
    """Impact comes from the users' side only.

    A tenth of the requests failing, a hang of every replica, or half of the capacity gone is an outage; but lost
    capacity that users verifiably do not feel (a cache or the other replicas answer them) is degradation. Replicas that
    are only not seen any more must be felt, for they may have been taken away on purpose. Answers that are plainly
    worse are felt too.
    """
    hung = signals.get("U4")
    all_hung = hung is not None and hung.value is not None and hung.value >= 1
    felt = not signals.ok("U1") or signals.bad("U1b", "U2", "U2b", "U3")
    trouble = signals.trouble
    if signals.crit("U1", "U1b") or all_hung or (signals.crit("U5") and felt):
        return Verdict.OUTAGE
    if any(seen.check == "U5b" for seen in trouble):
        return Verdict.OUTAGE
    if trouble:
        return Verdict.DEGRADED
    # Fine needs proof from both of what users feel: that answers come, and that they come in time.
    if signals.ok("U1", "U2"):
        return Verdict.OK
    return Verdict.BLIND


def _gone(signals: Signals) -> bool:
    """Whether half of what could be known cannot be asked any more."""
    states = _by_number(signals.found.observations)
    gone = sum(all(one.status == "unknown" for one in parts) and any(one.gone for one in parts) for parts in states)
    known = sum(any(one.status != "unknown" for one in parts) for parts in states)
    return gone >= FEWEST_GONE and gone >= BLIND_SHARE * (gone + known)


def _by_number(observations: Sequence[Observation]) -> list[list[Observation]]:
    """The observations by the check that they are a part of; what is only told beside them is left out."""
    numbers: dict[str, list[Observation]] = {}
    for seen in observations:
        if seen.group != "context":
            numbers.setdefault(seen.number, []).append(seen)
    return list(numbers.values())


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
    told = [_clause(seen, model) for seen in sorted(signals.trouble, key=lambda seen: seen.status != "crit")]
    if signals.bad("C1") and signals.ok("U1"):
        told.append("users are answered from the cache")
    return "; ".join(told)


def _clause(seen: Observation, model: str | None) -> str:
    """The observation with whom it is about, unless the report's title says so already."""
    whom = f"{seen.offender} ".removeprefix(f"{model} ").strip()
    return f"{seen.text} ({whom})" if whom else seen.text


def _evidence(signals: Signals, cause: Cause, model: str | None) -> str:
    told = [_clause(seen, model) for seen in signals.past(*cause.speak)]
    return f"{cause.title}: {'; '.join(told)}"


def _cause_sentence(signals: Signals, verdict: Verdict, cause: Cause | None, model: str | None, *, blind: bool) -> str:
    if cause is not None:
        return _evidence(signals, cause, model)
    if verdict is Verdict.BLIND:
        return "What users get cannot be seen from here: look at the service itself"
    if blind:
        return "Half of what could be seen an hour ago no longer answers: mend the telemetry before trusting a cause"
    if verdict is Verdict.OK:
        return "Nothing to explain"
    return "No cause found in these signals"


def _agreement(signals: Signals, cause: Cause | None) -> tuple[int, int]:
    """How many of the signals that have a say on the cause agree, and how many there are."""
    if cause is None:
        return 0, 0
    agree = len(signals.past(*cause.speak)) + sum(signals.ok(check) for check in cause.silent)
    against = len(signals.past(*cause.silent)) + lacking(signals, cause)
    return agree, agree + against


def _certainty(signals: Signals, cause: Cause | None, second: Cause | None, agree: int, spoken: int) -> Certainty:
    """In words. What time or place speaks against is a guess; with a rival, or few signals, nobody is sure."""
    if cause is None or not spoken:
        return ""
    if doubtful(signals, cause):
        return "low"
    if proven(signals, cause):
        return "high"
    share = agree / spoken
    if share < 0.5:
        return "low"
    rival = second is not None and rivals(signals, cause, second)
    unsure = rival or cause.guess or lacking(signals, cause)
    return "high" if share >= 0.6 and spoken >= 3 and not unsure else "medium"


def _drains(signals: Signals, cause: Cause | None) -> tuple[Drain, ...]:
    """What draining the nodes that are at fault would do: a drain comes to mind wherever a GPU is."""
    faulty = signals.faulty(*FAULTS)
    if not faulty and cause is not None and cause.id in {"throttle", "recent-change", "stall"}:
        faulty = signals.faulty(*SLOWED, critical=False)
    nodes = {sample.labels.get("host", "") for sample in faulty}
    replicas = [_at(signals, sample, faulty) for sample in signals.found.replicas]
    limit = queue.warn if (queue := signals.get("U3")) else None
    return drains(replicas, nodes, queue=QUEUE if limit is None else limit)


def _at(signals: Signals, replica: Replica, faulty: Sequence[Sample]) -> Replica:
    """The replica, at the node of the faulty GPU that its pod holds, where it does not say itself where it runs."""
    if replica.node:
        return replica
    host = next((one.labels.get("host", "") for one in faulty if replica in signals.touched([one])), "")
    return replace(replica, node=host)


def _too_risky(signals: Signals, verdict: Verdict, cause: Cause | None, drained: Sequence[Drain]) -> str:
    """Why no node is to be drained now; "" when nothing speaks against it.

    A faulty node that users do not suffer from still carries some of them: it is emptied when their trouble is over.
    """
    refused = [drain for drain in drained if drain.refused]
    if refused:
        return f"draining {refused[0].where}: {'; '.join(drain.reason for drain in refused)}"
    taken = [drain for drain in drained if drain.leaving]
    if taken and signals.trouble and (cause is None or cause.id not in {"hardware", "throttle"}):
        loss = "; ".join(f"{one.leaving} of {one.serving} serving replicas of {one.model}" for one in taken)
        return f"draining {taken[0].where} now: it would take {loss}, and is not what users suffer from"
    if drained:
        return ""
    if verdict is Verdict.BLIND:
        return "draining the node before anybody can see how full the others are"
    if signals.crit("U5"):
        return "draining the node before other replicas serve: half of the capacity is already gone"
    if signals.bad("U3", "E1"):
        return "draining the node before there is more capacity: the other replicas are full"
    return ""


def _runbooks(signals: Signals, verdict: Verdict, cause: Cause | None, drained: Sequence[Drain]) -> tuple[str, ...]:
    """Users first: with a model down and nothing to roll back, answer from the cache before mending anything.

    An old answer is better than none, and worse than a late one: while all requests are answered, capacity comes first.
    """
    wanted = cause.runbooks if cause else ()
    if cause is not None and cause.by_check:
        wanted = tuple(seen.runbook for seen in signals.past(*cause.own) if seen.runbook)
    if cause is not None and cause.id == "capacity" and signals.answered and not signals.bad("C1"):
        wanted = (SCALE_OUT,)
    if DRAINING & {*wanted} and _too_risky(signals, verdict, cause, drained):
        relief = SMALLER if signals.bad("E5") else SCALE_OUT
        wanted = (relief, *(runbook for runbook in wanted if runbook not in DRAINING))
    if verdict is Verdict.OUTAGE and not signals.answered:
        wanted = (*wanted, CACHE) if ROLLBACK in wanted else (CACHE, *wanted)
    done = {CACHE} if signals.bad("C1") else set()
    return tuple(runbook for runbook in dict.fromkeys(wanted) if runbook not in done)


def _not_advised(
    signals: Signals, verdict: Verdict, cause: Cause | None, model: str | None, drained: Sequence[Drain]
) -> tuple[str, ...]:
    out = []
    change = signals.get("E4")
    troubled = verdict in {Verdict.OUTAGE, Verdict.DEGRADED}
    if troubled and change is not None and (cause is None or ROLLBACK not in cause.runbooks):
        if change.status == "ok":
            out.append(f"rollback: nothing changed lately, {_clause(change, model)}")
        elif change.bad and (at := signals.changed) and (onset := signals.onset) and onset < at:
            out.append(f"rollback: the trouble is older than the change, {_clause(change, model)}")
    tempting = signals.crit(*FAULTS) or (cause is not None and cause.id == "throttle")
    if tempting and (risk := _too_risky(signals, verdict, cause, drained)):
        out.append(risk)
    xid = signals.get("H2")
    if xid is not None and xid.status == "ok" and xid.value:
        out.append(f"GPU reset: {_clause(xid, model)}")
    return tuple(out)


def _unknowns(observations: Sequence[Observation]) -> tuple[str, ...]:
    """What was not checked, by reason. A part that nobody exports is not worth a word when the check has another."""
    known = {seen.number for seen in observations if seen.status != "unknown"}
    by_reason: dict[str, list[str]] = {}
    for seen in observations:
        if seen.status == "unknown" and seen.group != "context" and (seen.gone or seen.number not in known):
            by_reason.setdefault(seen.text, []).append(seen.title)
    if len(by_reason) == 1 and all(seen.status == "unknown" for seen in observations):
        return (f"everything: {next(iter(by_reason))}",)
    return tuple(f"{', '.join(titles)}: {reason}" for reason, titles in by_reason.items())
