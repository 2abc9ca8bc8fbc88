"""When and where decide between explanations that all hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.health import Gpu, Observation, Replica, Report, Sample, Settings, Situation, catalogue, judge
from bot.health.causes import DRAINING
from bot.health.observation import observe, unknown
from bot.health.onset import question

NOW = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)
CHECKS = {check.id: check for check in catalogue(Settings())}


def bad(check: str, value: float, minutes: float | None, **labels: str) -> Observation:
    """An observation past a limit since so many minutes."""
    spec = CHECKS[check]
    labels = labels or {"model_name": "llama"}
    seen = observe(spec, "query", [Sample(labels, value)], 300, "model")
    assert seen.bad
    return replace(seen, since=None if minutes is None else NOW - timedelta(minutes=minutes))


def within(check: str, value: float, **labels: str) -> Observation:
    """An observation that is past no limit."""
    return observe(CHECKS[check], "query", [Sample(labels or {"model_name": "llama"}, value)], 300, "model")


def told(*seen: Observation, replicas: tuple[Replica, ...] = (), gpus: tuple[Gpu, ...] = ()) -> Report:
    """The report when everything else is well."""
    ids = {one.check for one in seen}
    calm = [
        within(check, value)
        for check, value in (("U1", 0.0), ("U2", 0.4), ("T1", 1.0), ("E4", 300_000.0))
        if check not in ids
    ]
    return judge(Situation((*seen, *calm), replicas, gpus), NOW)


def xid(minutes: float, host: str = "node-1", **labels: str) -> Observation:
    return bad("H2", 1, minutes, host=host, gpu="0", UUID="GPU-1", xid="79", **labels)


QUEUE = (bad("U3", 80, 5), bad("E1", 0.97, 6))


def causes(report: Report) -> tuple[str, str]:
    return report.cause_id, report.second_id


def test_restarts_that_began_long_after_the_trouble_are_its_consequence() -> None:
    assert causes(told(*QUEUE, bad("E3", 4, 5))) == ("restarts", "saturation")
    assert causes(told(bad("U3", 80, 20), bad("E1", 0.97, 21), bad("E3", 4, 5))) == ("saturation", "demand")


def test_a_fault_that_was_there_an_hour_before_does_not_explain_why_it_began_now() -> None:
    fresh = bad("H3", 1, 6, host="node-1", gpu="0")
    old = bad("H3", 1, 58, host="node-1", gpu="0")

    assert causes(told(*QUEUE, fresh))[0] == "hardware"
    assert causes(told(*QUEUE, old)) == ("saturation", "demand")
    assert told(old).cause_id == "hardware"


def test_trouble_that_is_older_than_a_change_is_not_the_changes() -> None:
    change = bad("E4", 5 * 60, None)

    assert causes(told(bad("U1", 0.3, 20), change)) == ("none", "")
    assert causes(told(bad("U1", 0.3, 6), change)) == ("recent-change", "")
    # An old warning does not hide the emergency that came after it.
    assert causes(told(bad("U2", 3, 50), bad("U1", 0.3, 4), change)) == ("recent-change", "")


def test_a_change_that_nothing_followed_for_long_gives_way_to_what_came_just_before() -> None:
    errors = bad("U1", 0.3, 3)

    assert causes(told(errors, bad("E4", 25 * 60, None), xid(4))) == ("hardware", "recent-change")
    assert causes(told(errors, bad("E4", 5 * 60, None), xid(9))) == ("recent-change", "hardware")
    assert causes(told(errors, bad("E4", 25 * 60, None))) == ("recent-change", "")
    assert told(errors, bad("E4", 25 * 60, None)).certainty == "low"
    # Where nothing looks at the GPUs, nothing speaks for them either.
    assert told(errors, bad("E4", 5 * 60, None)).certainty == "medium"
    assert told(errors, bad("E4", 5 * 60, None), within("H3", 0, host="node-1", gpu="0")).certainty == "high"


@pytest.mark.parametrize(
    ("sick", "cause"), [((0,), "hardware"), ((0, 1, 2, 3), "recent-change"), ((2, 3), "recent-change")]
)
def test_who_fails_decides_between_a_gpu_and_a_rollout_of_the_same_minute(sick: tuple[int, ...], cause: str) -> None:
    replicas = tuple(
        Replica(f"prod/llama-{n}", "llama", f"node-{n + 1}", running=5, kv=0.3, broken=0.5 if n in sick else 0.0)
        for n in range(4)
    )
    seen = (bad("U1", 0.3, 3), bad("E4", 4 * 60, None), xid(4))

    report = told(*seen, replicas=replicas)

    assert report.cause_id == cause
    assert report.certainty == ("high" if cause == "hardware" else "medium")


def test_a_change_whose_new_pods_alone_fail_or_end_is_certain_however_long_it_took() -> None:
    change = bad("E4", 28 * 60, None, model_name="llama", replicaset="llama-7f")
    pods = ("prod/llama-7f-a", "prod/llama-7f-b", "prod/llama-5c-c", "prod/llama-5c-d")
    replicas = tuple(Replica(pod, "llama", broken=0.5 if "7f" in pod else 0.0) for pod in pods)

    def ending(pod: str) -> Observation:
        return bad("E3", 4, 10, namespace="prod", pod=pod, model_name="llama")

    assert told(bad("U1", 0.3, 3), change).certainty == "low"
    assert told(bad("U1", 0.3, 3), change, replicas=replicas).certainty == "high"
    trouble = (bad("U1", 0.3, 3), bad("U5", 0.3, 20))
    assert told(*trouble, change, ending("llama-7f-a")).certainty == "high"
    assert told(*trouble, change, ending("llama-5c-c")).certainty == "low"


def test_a_gpu_on_which_containers_end_since_is_certain_and_one_whose_replicas_serve_is_not() -> None:
    gpus = (Gpu("node-1", "0", "GPU-1", "prod/llama-0"), Gpu("node-2", "0", "GPU-2", "prod/llama-1"))
    errors, fault = bad("U1", 0.3, 5), xid(6, pod="llama-0", namespace="prod")
    ended = bad("E3", 1, 5, namespace="prod", pod="llama-0", model_name="llama")

    def sure(sick: str, *more: Observation) -> tuple[str, str]:
        replicas = tuple(Replica(gpu.pod, "llama", gpu.node, broken=0.5 if gpu.pod == sick else 0.0) for gpu in gpus)
        report = told(errors, fault, *more, replicas=replicas, gpus=gpus)
        return report.cause_id, report.certainty

    assert sure("") == ("hardware", "medium")
    assert sure("", ended) == ("hardware", "high")
    assert sure("prod/llama-0") == ("hardware", "high")
    assert sure("prod/llama-1") == ("hardware", "medium")


def test_a_fault_where_those_in_trouble_do_not_run_is_a_guess() -> None:
    replicas = (Replica("prod/llama-0", "llama", "node-1"), Replica("prod/qwen-0", "qwen", "node-2"))
    gpus = (Gpu("node-1", "0", "GPU-1", "prod/llama-0"), Gpu("node-2", "0", "GPU-2", "prod/qwen-0"))
    elsewhere = xid(6, "node-2", pod="qwen-0", namespace="prod")
    gone = bad("H1", 1, 6, host="node-2", gpu="0", pod="qwen-0", namespace="prod")

    report = told(bad("U1", 0.3, 5), elsewhere, gone, replicas=replicas, gpus=gpus)

    assert (report.cause_id, report.certainty) == ("hardware", "low")


def test_a_gpu_that_is_known_to_serve_another_model_or_nobody_explains_nothing_here() -> None:
    replicas = (Replica("prod/llama-0", "llama", "node-1"), Replica("prod/qwen-0", "qwen", "node-2"))
    held = (("node-1", "prod/llama-0"), ("node-2", "prod/qwen-0"), ("node-3", ""))
    gpus = tuple(Gpu(node, "0", f"GPU-{node}", pod) for node, pod in held)

    def first(host: str, **labels: str) -> str:
        return told(*QUEUE, xid(6, host, **labels), replicas=replicas, gpus=gpus).cause_id

    assert first("node-1", pod="llama-0", namespace="prod") == "hardware"
    assert first("node-2", pod="qwen-0", namespace="prod") == "saturation"
    assert first("node-3") == "saturation"
    assert told(xid(6, "node-3"), replicas=replicas, gpus=gpus).cause_id == "hardware"


def test_pods_that_wait_for_a_gpu_are_the_cause_when_they_waited_first() -> None:
    assert causes(told(*QUEUE, bad("E5", 2, 15))) == ("no-capacity", "saturation")
    assert causes(told(*QUEUE, bad("E5", 2, 1))) == ("saturation", "no-capacity")


def test_more_users_explain_a_queue_better_than_a_rollout_unless_requests_fail() -> None:
    crowd = within("T1", 3.0)
    change = bad("E4", 14 * 60, None)

    assert causes(told(*QUEUE, change, crowd)) == ("saturation", "recent-change")
    assert causes(told(*QUEUE, change)) == ("recent-change", "saturation")
    assert causes(told(*QUEUE, change, crowd, bad("U1", 0.3, 5)))[0] == "recent-change"


def test_what_takes_replicas_away_explains_that_they_are_missing_however_long_ago_it_began() -> None:
    missing = bad("U5", 0.25, 8)

    assert causes(told(missing, bad("E3", 4, 48))) == ("restarts", "capacity")
    assert causes(told(missing, xid(48))) == ("hardware", "capacity")
    assert causes(told(missing, bad("E4", 29 * 60, None))) == ("recent-change", "capacity")
    assert causes(told(missing)) == ("capacity", "")
    # What began after the replicas went is still a consequence.
    assert causes(told(bad("U5", 0.25, 30), bad("E3", 4, 8))) == ("capacity", "restarts")


def test_pods_that_wait_for_a_gpu_are_the_missing_replicas_whenever_they_began_to_wait() -> None:
    assert causes(told(bad("U5", 0.5, 30), bad("U3", 80, 20), bad("E5", 3, 12))) == ("no-capacity", "capacity")
    assert causes(told(bad("U3", 80, 20), bad("E5", 3, 12))) == ("demand", "no-capacity")


def test_a_gpu_that_was_ill_before_the_containers_on_it_began_to_end_is_why_they_end() -> None:
    slow = bad("U2", 9, 10)
    ends = bad("E3", 4, 12, namespace="prod", pod="llama-0", model_name="llama")

    assert causes(told(slow, ends, xid(40, namespace="prod", pod="llama-0"))) == ("hardware", "restarts")
    assert causes(told(slow, ends, xid(40, namespace="prod", pod="llama-3")))[0] == "restarts"
    assert causes(told(bad("U2", 9, 40), replace(ends, since=NOW - timedelta(minutes=42)), xid(4)))[0] == "restarts"


def test_a_change_that_was_young_when_the_trouble_began_is_a_suspect_for_as_long_as_it_lasts() -> None:
    change = within("E4", 52 * 60, model_name="llama", replicaset="llama-7c9f4")
    long = told(bad("U1", 0.3, 40), change)

    assert causes(long) == ("recent-change", "")
    assert "changed 52 min ago, 12 min before the trouble (llama 7c9f4)" in long.cause
    assert causes(told(bad("U1", 0.3, 10), change)) == ("none", "")
    assert causes(told(bad("U1", 0.3, 55), change)) == ("none", "")
    assert causes(told(bad("U1", 0.3, 40), within("E4", 52 * 60, model_name="qwen"))) == ("none", "")


def test_the_last_change_before_the_trouble_counts_and_not_the_one_that_tried_to_mend_it() -> None:
    samples = [Sample({"model_name": "llama"}, 60.0 * minutes) for minutes in (3, 48)]
    changes = observe(CHECKS["E4"], "query", samples, 300, "model")

    assert causes(told(bad("U1", 0.3, 40), changes)) == ("recent-change", "")
    assert causes(told(bad("U1", 0.3, 40), replace(changes, series=changes.series[:1]))) == ("none", "")


def test_errors_on_the_new_pods_alone_are_the_rollouts_and_the_gpu_lost_later_is_left_in_place() -> None:
    def pod(name: str, node: str, broken: float, *, serving: bool = True) -> Replica:
        return Replica(f"prod/{name}", "llama", node, running=5, kv=0.3, broken=broken, serving=serving)

    old = [pod(f"llama-7c9f4-{n}", f"node-{n}", 0.0, serving=n > 1) for n in (1, 2, 3, 4)]
    new = [pod(f"llama-8d0a5-{n}", f"node-{n}", 0.4) for n in (1, 2)]
    change = within("E4", 55 * 60, model_name="llama", replicaset="llama-8d0a5")
    lost = xid(9, namespace="prod", pod="llama-7c9f4-1")
    seen = (bad("U1", 0.2, 33), change, lost)
    mixed = told(*seen, replicas=(*old, *new))

    assert causes(mixed) == ("recent-change", "hardware")
    assert mixed.not_advised[-1] == (
        "draining node-1 now: it would take 1 of 5 serving replicas of llama, and is not what users suffer from"
    )
    # Where all fail alike, or all are new, the clock decides alone.
    everywhere = tuple(replace(one, broken=0.4) for one in (*old, *new))
    assert causes(told(*seen, replicas=everywhere))[0] == "recent-change"
    near = (bad("U1", 0.2, 8), within("E4", 33 * 60, model_name="llama", replicaset="llama-8d0a5"), lost)
    assert causes(told(*near, replicas=everywhere))[0] == "hardware"
    assert causes(told(*near, replicas=(*old, *new)))[0] == "recent-change"


def test_tokens_that_grow_with_the_requests_are_demand_and_longer_answers_or_one_key_are_a_spike() -> None:
    queue, spike, crowd = bad("U3", 40, 10), bad("M2", 6, 55), within("T1", 5.0)

    def first(*more: Observation) -> tuple[str, str]:
        return causes(told(queue, spike, crowd, *more))

    assert first(within("T2", 1.0)) == ("demand", "")
    assert first(within("T2", 2.4)) == ("token-spike", "demand")
    assert first(within("T2", 1.0), within("T3", 0.5)) == ("token-spike", "demand")
    assert first() == ("demand", "")
    assert told(queue, spike, within("T2", 2.4)).runbooks == ("token-cost-spike",)
    # Without a queue the spend is the trouble.
    assert causes(told(spike, within("T2", 1.0))) == ("token-spike", "")


def test_half_of_what_answered_an_hour_ago_gone_is_the_first_thing_to_say() -> None:
    silent = [CHECKS[check] for check in ("E1", "E2", "E3", "H1")]
    gone = [unknown(check, "query", "no longer reports", "model", gone=True) for check in silent]
    never = [unknown(check, "query", "no such metric", "model") for check in silent]
    trouble = (bad("U1", 0.3, 3), bad("E4", 240, None))

    assert causes(told(*trouble, *gone)) == ("blind", "recent-change")
    assert causes(told(*trouble, *never))[0] == "recent-change"
    assert causes(told(*trouble, *gone[:2]))[0] == "recent-change"


def test_a_runbook_that_drains_is_not_proposed_when_the_others_are_full() -> None:
    full = tuple(Replica(f"prod/llama-{n}", "llama", f"node-{n + 1}", running=9, kv=0.85) for n in range(3))
    calm = tuple(replace(replica, kv=0.3) for replica in full)
    refused, allowed = (told(bad("U1", 0.2, 3), xid(4), replicas=replicas) for replicas in (full, calm))

    assert not DRAINING & {*refused.runbooks}
    assert refused.not_advised[-1].endswith("would have to carry 127% of what they can hold")
    assert "gpu-off-the-bus" in allowed.runbooks
    assert [drain.load for drain in allowed.drains] == [pytest.approx(0.45)]


def test_the_runbooks_that_drain_are_known_as_such() -> None:
    shipped = (Path(__file__).parents[2] / "runbooks").glob("*.md")

    assert {path.stem for path in shipped if "do: k8s.drain" in path.read_text(encoding="utf-8")} == DRAINING


def test_a_trouble_begins_where_the_run_of_bad_samples_begins() -> None:
    seen = bad("U3", 80, None)
    past = question(CHECKS["U3"], seen, "queue")
    assert past is not None

    def began(*values: float) -> float | None:
        return past.began([(60.0 * minute, value) for minute, value in enumerate(values)])

    assert past.query == "max(queue)"
    assert began(0, 0, 70, 80, 80) == 120
    assert began(70, 0, 0, 0, 80, 80) == 240
    assert began(0, 70, 0, 0, 80, 80) == 60
    assert began(0, 20, 20, 80, 80) == 180
    assert began(80, 80, 80) == 0
    assert began() is None
