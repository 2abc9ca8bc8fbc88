import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.health import Observation, Report, Sample, Scope, Settings, Situation, Verdict, catalogue, judge, lines
from bot.health.causes import CAUSES, DRAINING
from bot.health.logs import CHECK as LOG
from bot.health.observation import Status, duration, number, observe

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
CHECKS = {check.id: check for check in catalogue(Settings())}
# A value within, past and far past the limit of each check.
VALUES: dict[str, tuple[float, float, float]] = {
    "U1": (0.001, 0.03, 0.31),
    "U1b": (0, 0.03, 0.31),
    "U2": (0.4, 3, 9),
    "U2b": (0, 0.05, 0.4),
    "U3": (0, 20, 90),
    "U4": (0, 0.25, 1),
    "U5": (0, 0.33, 1),
    "U5b": (0, 0.5, 0.6),
    "E1": (0.5, 0.92, 0.97),
    "E2": (0, 0.1, 4),
    "E3": (0, 1, 5),
    "E4": (300_000, 240, 240),
    "E5": (0, 3, 3),
    "T1": (1, 1, 1),
    "C1": (0, 1, 1),
    "H1": (0, 1, 1),
    "H1b": (0, 1, 1),
    "H2": (0, 0, 0),
    "H3": (0, 1, 1),
    "H3b": (0, 1, 1),
    "H3c": (0, 1, 1),
    "H4": (0, 0.2, 0.9),
    "H4b": (1, 0.5, 0.5),
    "H5": (0, 20, 200),
    "H5b": (0, 4, 4),
    "H6": (0, 1, 1),
    "M1": (0.04, 0.15, 0.34),
    "M1b": (0.04, 0.15, 0.34),
    "M1c": (3600, 100_000, 100_000),
    "M1d": (1, 3, 3),
    "M1e": (0, 2, 2),
    "M1f": (1, 0.8, 0.2),
    "M1g": (0.0, 0.07, 0.2),
    "T2": (1, 1, 1),
    "T3": (0, 0, 0),
    "M2": (0.8, 5, 20),
    "M2b": (0.8, 5, 20),
    "M2c": (9e6, 2e5, 3600),
}
XID = {"ok": "", "warn": "63", "crit": "79"}


def observation(check: str, status: Status, model: str = "llama") -> Observation:
    spec = CHECKS[check]
    if status == "unknown":
        return Observation(check, spec.group, spec.title, "unknown", None, "no such metric", "", "", "model")
    value = VALUES[check][("ok", "warn", "crit").index(status)]
    labels = {"host": "node-2", "gpu": "1"} if spec.group == "hardware" else {"model_name": model}
    if check == "H2":
        labels["xid"] = XID[status]
    seen = observe(spec, "query", [Sample(labels, value)], 300, "model")
    instead = "warn" if spec.crit is None and spec.rule != "xid" else "crit"
    assert spec.group == "context" or seen.status in {status, instead}
    return seen


def situation(*observations: Observation) -> Situation:
    return Situation(observations)


def report(model: str | None = "llama", rest: Status = "ok", **found: Status) -> Report:
    """The judgement when these checks say so and all others say `rest`."""
    return judge(
        situation(*(observation(check, found.get(check, rest)) for check in CHECKS)), NOW, Scope(model=model or "")
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({}, "OK"),
        ({"U1": "warn"}, "DEGRADED"),
        ({"U1": "crit"}, "OUTAGE"),
        ({"U1b": "crit"}, "OUTAGE"),
        ({"U2": "crit"}, "DEGRADED"),
        ({"U2b": "warn"}, "DEGRADED"),
        ({"U3": "crit"}, "DEGRADED"),
        ({"U4": "warn"}, "DEGRADED"),
        ({"U4": "crit"}, "OUTAGE"),
        ({"U5": "warn"}, "DEGRADED"),
        ({"U5": "crit", "U1": "unknown"}, "OUTAGE"),
        ({"U5": "crit", "U1": "warn"}, "OUTAGE"),
        ({"U5": "crit"}, "DEGRADED"),
        ({"U5b": "crit"}, "OK"),
        ({"U5b": "crit", "U2": "warn"}, "OUTAGE"),
        ({"U5b": "crit", "U1": "unknown"}, "BLIND"),
        ({"M1f": "crit"}, "DEGRADED"),
        ({"M1g": "crit"}, "DEGRADED"),
        ({"M1f": "warn", "M1g": "warn"}, "OK"),
        ({"U1": "unknown"}, "BLIND"),
        ({"U2": "unknown"}, "BLIND"),
        ({"U1": "unknown", "U2": "crit"}, "DEGRADED"),
        ({"H1": "crit", "H2": "crit", "E1": "crit", "M1": "crit"}, "OK"),
    ],
)
def test_the_verdict_is_what_users_feel_and_nothing_else(found: dict[str, Status], verdict: str) -> None:
    assert report(None, **found).verdict == verdict


@pytest.mark.parametrize(
    ("found", "cause", "second", "runbook"),
    [
        ({"E4": "warn", "U1": "crit"}, "recent-change", "", "rollback-model-deploy"),
        ({"E4": "warn", "U2": "warn"}, "recent-change", "", "rollback-model-deploy"),
        ({"E4": "warn", "E3": "warn"}, "recent-change", "Containers restart", "rollback-model-deploy"),
        ({"E4": "warn", "U1": "crit", "H2": "crit"}, "recent-change", "Hardware", "rollback-model-deploy"),
        ({"H1": "crit", "U5": "warn"}, "hardware", "Replicas are down", "gpu-off-the-bus"),
        ({"H2": "crit", "U1": "crit"}, "hardware", "", "serve-from-cache"),
        ({"U4": "warn", "U3": "warn"}, "stall", "More arrives", "engine-stalled"),
        ({"E3": "warn"}, "restarts", "", "gpu-oom-restart-loop"),
        ({"U3": "crit", "E1": "crit", "U2": "warn"}, "saturation", "More arrives", "kv-cache-saturated"),
        ({"U3": "crit", "E2": "warn", "M2": "warn"}, "saturation", "More arrives", "kv-cache-saturated"),
        ({"M2": "warn"}, "token-spike", "", "token-cost-spike"),
        (
            {"U3": "crit", "E2": "warn", "M2": "warn", "T2": "unknown", "T3": "unknown"},
            "saturation",
            "Token spike",
            "kv-cache-saturated",
        ),
        ({"M1g": "crit"}, "drift", "", "drift-threshold-crossed"),
        ({"E4": "warn", "M1f": "crit"}, "recent-change", "The model no longer", "rollback-model-deploy"),
        ({"M1": "crit"}, "drift", "", "drift-threshold-crossed"),
        ({"U5": "crit", "U1": "crit", "U2": "unknown"}, "capacity", "", "serve-from-cache"),
        ({"U3": "warn"}, "demand", "", "queue-scale-out"),
        ({"U2": "warn"}, "none", "", None),
        ({"E4": "warn"}, "none", "", None),
        ({"H2": "warn"}, "none", "", None),
        ({}, "none", "", None),
    ],
)
def test_the_first_cause_that_holds_is_named_and_the_next_is_the_second_guess(
    found: dict[str, Status], cause: str, second: str, runbook: str | None
) -> None:
    judged = report(None, **found)

    assert (judged.cause_id, judged.runbook) == (cause, runbook)
    assert judged.second.startswith(second)
    assert bool(judged.second) == bool(second)


def test_a_change_of_another_model_explains_nothing() -> None:
    observations = [observation(check, "ok") for check in CHECKS if check not in {"E4", "U1"}]
    trouble = observation("U1", "crit", "llama")

    elsewhere = judge(situation(*observations, trouble, observation("E4", "warn", "mistral")), NOW)
    here = judge(situation(*observations, trouble, observation("E4", "warn", "llama")), NOW)

    assert (elsewhere.cause_id, here.cause_id) == ("none", "recent-change")


def test_confidence_counts_who_agrees_among_those_who_have_a_say() -> None:
    assert report(E4="warn", U1="crit", U2="crit", U1b="unknown", E3="unknown").confidence == "high, 6 of 6 signals"
    assert report(E4="warn", U1="crit", H2="crit").confidence == "medium, 4 of 5 signals"
    assert report(rest="unknown", U1="warn", H3="crit").confidence == "medium, 1 of 1 signal"
    assert report().confidence == ""


def test_a_lost_gpu_is_certain_although_it_shows_no_other_fault() -> None:
    assert report(H2="crit", H1="crit", U5="warn").confidence == "high, 4 of 4 signals"
    assert report(rest="unknown", U1="warn", H2="crit", H1="crit").confidence == "high, 2 of 2 signals"
    assert report(H1="crit").confidence == "medium, 2 of 2 signals"  # its exporter may be wrong


def test_a_cause_without_what_it_can_hardly_be_without_is_not_sure() -> None:
    queue = report(U3="crit", E1="crit")

    assert (queue.cause_id, queue.confidence) == ("saturation", "medium, 5 of 6 signals")
    assert report(U3="crit", E1="crit", U2="crit").confidence == "high, 6 of 6 signals"
    assert report(U3="crit", E1="crit", U2="unknown").confidence == "high, 5 of 5 signals"


def test_what_only_names_what_is_seen_is_never_sure() -> None:
    assert report(E3="crit").confidence == "medium, 4 of 4 signals"
    assert report(U5="crit", U1="crit", U3="crit").certainty == "medium"


def test_what_follows_from_a_cause_is_no_rival_of_it() -> None:
    ending = report(E4="warn", U1="crit", E3="crit")

    assert (ending.cause_id, ending.second_id, ending.certainty) == ("recent-change", "restarts", "high")


def test_with_nothing_known_there_is_no_cause_no_runbook_and_no_green() -> None:
    judged = report(rest="unknown")

    assert judged.verdict is Verdict.BLIND
    assert (judged.cause_id, judged.runbook, judged.confidence) == ("blind", None, "")
    assert judged.unknowns == ("everything: no such metric",)
    assert judge(situation(), NOW).verdict is Verdict.BLIND


def test_a_fault_that_is_inferred_from_silence_is_no_cause_while_nothing_else_is_seen() -> None:
    assert report(rest="unknown", H1="crit").cause_id == "blind"


@pytest.mark.parametrize("check", ["H2", "H3", "H3c"])
def test_a_fault_that_the_gpu_itself_reports_is_named_even_if_nobody_sees_how_users_are(check: str) -> None:
    found: dict[str, Status] = {check: "crit"}
    judged = report(None, "unknown", **found)

    assert (judged.verdict, judged.cause_id) == (Verdict.BLIND, "hardware")
    assert judged.impact.startswith("cannot say how users are")
    assert judged.not_advised == ("draining the node before anybody can see how full the others are",)
    assert not DRAINING & {*judged.runbooks}


def test_old_answers_are_proposed_when_requests_fail_and_not_when_they_are_only_late() -> None:
    late = report(U5="crit", U2="crit")
    failing = report(U5="crit", U1="crit")

    assert (late.verdict, late.runbooks) == (Verdict.OUTAGE, ("queue-scale-out",))
    assert (failing.verdict, failing.runbooks) == (Verdict.OUTAGE, ("serve-from-cache",))


def test_rolling_back_is_advised_against_when_nothing_changed_and_not_when_nobody_knows() -> None:
    assert report(U3="crit", E1="crit").not_advised == ("rollback: nothing changed lately, deployed 3 d ago",)
    assert report(U3="crit", E1="crit", E4="unknown").not_advised == ()


def test_a_drain_waits_while_the_other_replicas_cannot_carry_the_load() -> None:
    half = report(H1="crit", U5="crit", U1="crit", E4="unknown")
    full = report(H1="crit", U5="warn", U3="warn", E4="unknown")

    assert half.not_advised == ("draining the node before other replicas serve: half of the capacity is already gone",)
    assert full.not_advised == ("draining the node before there is more capacity: the other replicas are full",)
    assert report(H1="crit", U5="warn", E4="unknown").not_advised == ()


def test_a_cache_that_already_answers_is_not_proposed_again_and_is_told() -> None:
    judged = report(U5="crit", C1="warn")

    assert judged.verdict is Verdict.DEGRADED
    assert judged.runbook is None
    assert judged.impact == "100% of replicas are down; users are answered from the cache"


def test_only_a_runbook_that_is_there_is_proposed() -> None:
    saturated = report(U3="crit", E1="crit")

    assert saturated.runbooks == ("kv-cache-saturated", "serve-from-cache")
    assert saturated.propose({"serve-from-cache", "rollback-model-deploy"}) == "serve-from-cache"
    assert saturated.propose(()) == ""


def test_the_impact_names_the_worst_first_and_the_model_only_where_the_title_does_not() -> None:
    assert report(U1="warn", U2="crit").impact == "p99 time to first token 9.0 s; 3.0% of requests fail"
    assert report(None, U1="warn").impact == "3.0% of requests fail (llama)"
    assert report(U1="crit").headline == "[OUTAGE] llama: 31.0% of requests fail"


def test_a_model_whose_name_begins_another_ones_is_not_cut_off() -> None:
    other = observe(CHECKS["U1"], "q", [Sample({"model_name": "llama-70b"}, 0.2)], 300, "model")

    assert judge(situation(other), NOW, Scope(model="llama")).impact == "20.0% of requests fail (llama-70b)"


@given(st.dictionaries(st.sampled_from(sorted(CHECKS)), st.sampled_from(["ok", "warn", "crit", "unknown"])))
def test_every_report_survives_the_journal_and_can_be_read(found: dict[str, Status]) -> None:
    judged = report(None, **found)

    assert Report.from_dict(json.loads(json.dumps(judged.to_dict(), allow_nan=False))) == judged
    assert lines(judged)[0] == f"[{judged.verdict}] fleet"
    assert judged.agree <= judged.signals
    assert (judged.cause_id in {"none", "blind"}) == (judged.signals == 0)


def test_every_cause_speaks_of_checks_that_exist() -> None:
    for cause in CAUSES:
        assert {*cause.speak, *cause.silent} <= {*CHECKS, LOG}, cause.id
        assert not {*cause.speak} & {*cause.silent}, cause.id
        assert {*cause.must} <= {*cause.speak}, cause.id


def test_every_runbook_that_a_cause_proposes_is_shipped() -> None:
    shipped = {path.stem for path in (Path(__file__).parents[2] / "runbooks").glob("*.md")}
    assert {runbook for cause in CAUSES for runbook in cause.runbooks} <= shipped


def test_the_terminal_report_says_verdict_cause_and_next_step_before_the_numbers() -> None:
    text = lines(report(E4="warn", U1="crit", H2="unknown"))

    assert text[:5] == [
        "[OUTAGE] llama",
        "Users:       31.0% of requests fail",
        "Cause:       Recent change: deployed 4 min ago; 31.0% of requests fail (high, 4 of 4 signals)",
        "Do now:      runbook rollback-model-deploy",
        "Then:        serve-from-cache",
    ]
    assert "Not checked: Xid: no such metric" in text
    assert "18 checks at 2026-11-21 03:04:05 UTC: 15 ok, 1 warn, 1 crit, 1 unknown" in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0213, "share", "2.1%"),
        (1.0, "share", "100%"),
        (0.28, "seconds", "0.28 s"),
        (6.84, "seconds", "6.8 s"),
        (184.0, "count", "184"),
        (0.04, "rate", "0.04/s"),
        (42.0, "rate", "42/s"),
        (8.64, "times", "8.6x"),
        (0.336, "score", "0.34"),
        (7260.0, "age", "2 h"),
    ],
)
def test_numbers_read_as_people_say_them(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text  # type: ignore[arg-type]


def test_a_duration_is_told_in_its_largest_unit() -> None:
    assert [duration(s) for s in (0, 0.4, 59, 60, 3599, 3600, 90_000)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "1 h",
        "1 d",
    ]
