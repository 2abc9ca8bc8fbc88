"""Whole reports over a real Prometheus: a fleet with one fault, or with several of which one is to blame."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bot.health import Report, Scope, Telemetry, Verdict, survey
from tests.health.conftest import PAST, Past
from tests.health.dialects import EngineName, Replica, grows
from tests.health.fleet import Exporter, Fleet

Remembering = Callable[[Past], str]
ENGINES: tuple[EngineName, ...] = ("vllm", "sglang", "triton", "tgi")
EXPORTERS: tuple[Exporter, ...] = ("old", "new")
MINUTE = 60


def report(url: str, scope: Scope | None = None) -> Report:
    return survey(Telemetry(url), scope or Scope(), datetime.now(UTC))


def why(told: Report) -> str:
    """What a failing assertion shows."""
    return "\n".join((told.headline, told.cause, told.second, *(f"{c.check} {c.text} {c.since}" for c in told.checks)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_healthy_fleet_is_fine_in_every_dialect(
    remembering: Remembering, engine: EngineName, exporter: Exporter
) -> None:
    told = report(remembering(Fleet(engine, exporter).write()))

    assert (told.verdict, told.cause_id) == (Verdict.OK, "none"), why(told)
    assert not [seen.check for seen in told.checks if seen.bad]
    known = {seen.check for seen in told.checks if seen.status == "ok"}
    assert {"U1", "U2", "U3", "U4", "U5", "E3", "E4", "E5", "H1", "H2", "H3", "H4", "H5"} <= known


@pytest.mark.parametrize("engine", ENGINES)
def test_errors_right_after_a_rollout_are_the_rollouts(remembering: Remembering, engine: EngineName) -> None:
    fleet = Fleet(engine, deployed_ago=7 * MINUTE).all(Replica(ago=5 * MINUTE, failing=0.3))
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id, told.runbook) == (Verdict.OUTAGE, "recent-change", "rollback-model-deploy")
    assert told.certainty in {"high", "medium"}
    errors = next(seen for seen in told.checks if seen.check == "U1")
    assert errors.since is not None
    assert 2 * MINUTE <= (told.at - errors.since).total_seconds() <= 6 * MINUTE, why(told)


def test_trouble_that_is_older_than_the_rollout_is_not_the_rollouts(remembering: Remembering) -> None:
    fleet = Fleet(deployed_ago=4 * MINUTE).all(Replica(ago=20 * MINUTE, failing=0.3))
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id) == (Verdict.OUTAGE, "none"), why(told)
    assert any(text.startswith("rollback: the trouble is older than the change") for text in told.not_advised)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_gpu_that_fell_off_the_bus_is_blamed_and_not_the_rollout_before(
    remembering: Remembering, exporter: Exporter
) -> None:
    fleet = Fleet(exporter=exporter, deployed_ago=25 * MINUTE)
    fleet.replicas[2] = Replica(ago=3 * MINUTE, failing=0.9)
    fleet.xids["node-3:1"] = (79, 4 * MINUTE)
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id, told.second_id) == (Verdict.OUTAGE, "hardware", "recent-change"), why(told)
    assert told.headline_cause == "Xid 79 on node-3 gpu 1 (llama)"
    assert told.runbooks == ("serve-from-cache", "gpu-off-the-bus")
    assert [(drain.leaving, drain.serving, drain.refused) for drain in told.drains] == [(1, 4, False)]


def test_a_rollout_that_fails_everywhere_is_blamed_although_a_gpu_died_too(remembering: Remembering) -> None:
    fleet = Fleet(deployed_ago=7 * MINUTE).all(Replica(ago=5 * MINUTE, failing=0.4))
    fleet.xids["node-3:1"] = (79, 6 * MINUTE)
    told = report(remembering(fleet.write()))

    assert (told.cause_id, told.second_id) == ("recent-change", "hardware"), why(told)


def test_a_lost_gpu_that_served_nobody_explains_no_queue(remembering: Remembering) -> None:
    fleet = Fleet().all(Replica(ago=6 * MINUTE, arriving=20, waiting=70, kv=0.97, put_back=1, late=0.4))
    fleet.gpus_end["spare-1:0"] = 7 * MINUTE
    past = fleet.write()
    fleet.gpu("spare-1", 0, "")
    fleet.gpu("spare-1", 1, "")
    told = report(remembering(past))

    assert (told.cause_id, told.second_id) == ("saturation", "demand"), why(told)
    assert told.runbook == "kv-cache-saturated"


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_full_cache_and_a_growing_queue_are_saturation(remembering: Remembering, engine: EngineName) -> None:
    fleet = Fleet(engine).all(Replica(ago=6 * MINUTE, arriving=20, waiting=70, kv=0.97, put_back=1, late=0.4))
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id) == (Verdict.DEGRADED, "saturation"), why(told)


def test_a_queue_that_more_users_made_is_not_blamed_on_a_rollout(remembering: Remembering) -> None:
    fleet = Fleet(deployed_ago=14 * MINUTE)
    fleet.all(Replica(ago=6 * MINUTE, arriving=25, waiting=70, kv=0.97, put_back=1, late=0.4))
    told = report(remembering(fleet.write()))

    assert (told.cause_id, told.second_id) == ("saturation", "recent-change"), why(told)


def test_a_queue_in_triton_without_a_cache_to_look_at_is_demand(remembering: Remembering) -> None:
    fleet = Fleet("triton").all(Replica(ago=6 * MINUTE, arriving=20, waiting=70, late=0.4))
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id, told.runbook) == (Verdict.DEGRADED, "demand", "queue-scale-out"), why(told)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_replica_that_holds_requests_and_does_nothing_hangs(remembering: Remembering, engine: EngineName) -> None:
    fleet = Fleet(engine)
    fleet.replicas[1] = Replica(ago=10 * MINUTE, arriving=0, tokens=0, waiting=8)
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id, told.runbook) == (Verdict.DEGRADED, "stall", "engine-stalled"), why(told)


def test_a_worker_that_only_reads_prompts_does_not_hang(remembering: Remembering) -> None:
    past = Fleet(count=2).write()
    labels = {
        "job": "vllm",
        "instance": "10.0.0.9:8000",
        "namespace": "prod",
        "pod": "prefill-0",
        "model_name": "llama",
    }
    past.gauge("vllm:num_requests_running", labels, 3)
    past.gauge("vllm:generation_tokens_total", labels, 0)
    past.counter("vllm:prompt_tokens_total", labels, 900)

    assert next(seen for seen in report(remembering(past)).checks if seen.check == "U4").status == "ok"


def test_a_server_that_names_no_model_is_found_by_its_service(remembering: Remembering) -> None:
    fleet = Fleet("tgi", deployed_ago=9 * MINUTE, available=3).all(Replica(ago=6 * MINUTE, waiting=30, late=0.4))
    told = report(remembering(fleet.write()), Scope(model="llama"))

    assert (told.verdict, told.cause_id) == (Verdict.DEGRADED, "recent-change"), why(told)
    assert "p99 time in the queue" in told.impact


def test_a_log_shipper_that_restarts_beside_the_engine_ends_no_request(remembering: Remembering) -> None:
    fleet = Fleet()
    past = fleet.write()
    beside = {"namespace": "prod", "pod": fleet.pod(1), "container": "log-shipper"}
    past.gauge("kube_pod_container_status_restarts_total", beside, lambda t: 5.0 if t > PAST - 6 * MINUTE else 0.0)
    told = report(remembering(past))

    assert next(seen for seen in told.checks if seen.check == "E3").status == "ok", why(told)


def test_a_rollout_that_was_bad_from_its_first_minute_is_blamed_an_hour_later(remembering: Remembering) -> None:
    fleet = Fleet(deployed_ago=54 * MINUTE).all(Replica(ago=43 * MINUTE, failing=0.3))
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id, told.runbook) == (Verdict.OUTAGE, "recent-change", "rollback-model-deploy")
    assert "before the trouble" in told.cause


def test_a_gpu_that_was_lost_before_the_hour_we_remember_is_missed_by_its_node(remembering: Remembering) -> None:
    fleet = Fleet()
    fleet.gpus_end["node-2:1"] = 80 * MINUTE
    past = fleet.write()
    for index in range(fleet.count):
        unit = {"node": fleet.node(index), "resource": "nvidia_com_gpu", "unit": "integer"}
        past.gauge("kube_node_status_capacity", unit, 2)
    told = report(remembering(past))

    assert (told.verdict, told.cause_id) == (Verdict.OK, "hardware"), why(told)
    assert told.headline_cause == "Lost GPU on node-2"


def test_gpus_that_are_shared_or_sliced_are_not_missed_for_being_counted_more_than_once(
    remembering: Remembering,
) -> None:
    past = Fleet().write()
    for node in range(1, 5):
        past.gauge("kube_node_status_capacity", {"node": f"node-{node}", "resource": "nvidia_com_gpu"}, 8)
    told = report(remembering(past))

    assert next(seen for seen in told.checks if seen.check == "H1").status == "ok", why(told)


@pytest.mark.parametrize(("waiting", "verdict"), [(60, Verdict.OUTAGE), (0, Verdict.OK)])
def test_targets_that_vanish_without_kubernetes_to_ask_are_missed_when_users_feel_it(
    remembering: Remembering, waiting: int, verdict: Verdict
) -> None:
    fleet = Fleet("sglang").all(Replica(ago=15 * MINUTE, waiting=waiting))
    past = fleet.write()
    for name, lines in past.families.items():
        past.families[name] = [line for line in "".join(lines).splitlines(keepends=True) if not went(line)]
    for name in [name for name in past.families if name.startswith("kube_")]:
        del past.families[name]
    told = report(remembering(past))

    assert (told.verdict, told.cause_id) == (verdict, "capacity" if waiting else "none"), why(told)
    vanished = next(seen for seen in told.checks if seen.check == "U5b")
    assert vanished.text == "50.0% of an hour ago's replicas no longer report"


def went(line: str) -> bool:
    """Whether the line is of one of two replicas, after their targets went."""
    gone = 'instance="10.0.0.2:8000"' in line or 'instance="10.0.0.3:8000"' in line
    return gone and float(line.rsplit(" ", 1)[1]) > time.time() - 20 * MINUTE


def test_a_fall_of_the_quality_score_is_felt_and_is_the_models(remembering: Remembering) -> None:
    past = Fleet().write()
    score = {"job": "drift", "model": "llama", "metric": "canary"}
    past.gauge("model_quality_score", score, lambda t: 0.74 if t > PAST - 70 * MINUTE else 0.93)
    told = report(remembering(past))

    assert (told.verdict, told.cause_id) == (Verdict.DEGRADED, "drift"), why(told)
    assert told.impact == "quality score 0.19 below the day's best (llama)"


def test_a_key_that_takes_over_the_spend_is_told_from_a_crowd(remembering: Remembering) -> None:
    past = Fleet("sglang").all(Replica(ago=12 * MINUTE, arriving=8, tokens=900, waiting=30, late=0.3)).write()
    for key in range(4):
        labels = {"job": "litellm", "model": "llama", "hashed_api_key": f"k{key}"}
        past.gauge("litellm_spend_metric_total", labels, grows(1, 10 if key == 0 else 1, 13 * MINUTE))
    told = report(remembering(past))
    checks = {seen.check: seen for seen in told.checks}

    assert (told.cause_id, told.runbooks) == ("token-spike", ("token-cost-spike",)), why(told)
    assert checks["T2"].value == pytest.approx(2.8, abs=0.3)
    assert checks["T3"].value is not None
    assert checks["T3"].value > 0.4


@pytest.mark.parametrize(("reason", "cause"), [("OOMKilled", "host-oom"), ("Error", "restarts")])
def test_the_reason_of_the_restarts_tells_whose_memory_ran_out(
    remembering: Remembering, reason: str, cause: str
) -> None:
    fleet = Fleet(available=3, restarted={1: (4, reason, 5 * MINUTE)})
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id) == (Verdict.DEGRADED, cause), why(told)


def test_pods_that_waited_for_a_gpu_before_the_queue_grew_are_its_cause(remembering: Remembering) -> None:
    fleet = Fleet(pending_ago=15 * MINUTE)
    fleet.all(Replica(ago=8 * MINUTE, arriving=6, waiting=70, kv=0.97, put_back=1))
    told = report(remembering(fleet.write()))

    assert (told.cause_id, told.second_id) == ("no-capacity", "saturation"), why(told)
    assert told.runbook == "fall-back-to-smaller-model"


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(("waiting", "runbook"), [(4, "gpu-thermal-throttling"), (60, "queue-scale-out")])
def test_a_slowed_gpu_is_blamed_for_the_one_replica_that_is_late_and_drained_while_others_have_room(
    remembering: Remembering, exporter: Exporter, waiting: int, runbook: str
) -> None:
    fleet = Fleet(exporter=exporter)
    fleet.replicas[0] = Replica(ago=8 * MINUTE, late=0.6, waiting=waiting)
    fleet.slowed["node-1:0"] = (0.9, 12 * MINUTE)
    told = report(remembering(fleet.write()))

    assert (told.verdict, told.cause_id) == (Verdict.DEGRADED, "throttle"), why(told)
    assert told.runbook == runbook


def test_a_drain_that_leaves_too_little_is_refused_with_the_numbers(remembering: Remembering) -> None:
    fleet = Fleet().all(Replica(ago=30 * MINUTE, kv=0.8))
    fleet.replicas[2] = Replica(ago=4 * MINUTE, failing=0.9, kv=0.8)
    fleet.xids["node-3:1"] = (79, 5 * MINUTE)
    told = report(remembering(fleet.write()))

    assert told.cause_id == "hardware", why(told)
    refused = "draining node-3: 3 of 4 replicas of llama would have to carry 107% of what they can hold"
    assert refused in "; ".join(told.not_advised)
    assert "gpu-off-the-bus" not in told.runbooks
    assert told.runbooks == ("serve-from-cache", "queue-scale-out")


def test_exporters_that_fall_silent_together_make_the_report_say_so_first(remembering: Remembering) -> None:
    past = Past()
    http = {"handler": "/v1/chat/completions", "model_name": "llama"}
    past.counter("http_requests_total", {**http, "status": "2xx"}, 9)
    past.counter("http_requests_total", {**http, "status": "5xx"}, 1)
    whole = Fleet(deployed_ago=5 * MINUTE).write()
    for name, lines in whole.families.items():
        kept = [lines[0], *("".join(lines[1:]).splitlines(keepends=True))]
        cut = whole_end(kept, 15 * MINUTE)
        if name not in past.families and name != "up":
            past.families[name] = cut
    told = report(remembering(past))

    assert (told.verdict, told.cause_id) == (Verdict.OUTAGE, "blind"), why(told)
    assert any("no longer reports" in text for text in told.unknowns)


def whole_end(lines: list[str], seconds: float) -> list[str]:
    """The series, ended so long before now."""
    last = max(int(line.rsplit(" ", 1)[1]) for line in lines[1:])
    return [lines[0], *(line for line in lines[1:] if int(line.rsplit(" ", 1)[1]) <= last - seconds)]


def test_a_slice_of_a_gpu_is_not_a_gpu_and_a_whole_one_is_lost_once(remembering: Remembering) -> None:
    past = Past()
    for index in (0, 1):
        for part in ("1", "2", "3"):
            labels = {
                "gpu": str(index),
                "UUID": f"GPU-mig-{index}",
                "GPU_I_ID": part,
                "GPU_I_PROFILE": "1g.10gb",
                "Hostname": "node-1",
                "pod": f"tiny-{index}-{part}",
                "namespace": "prod",
            }
            dead = index == 1 or part == "3"
            past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 60, 600 if dead else 0)
    lost = next(seen for seen in report(remembering(past)).checks if seen.check == "H1")

    assert (lost.status, lost.offender) == ("crit", "node-1 gpu 1")


def test_a_mixed_fleet_is_judged_model_by_model(remembering: Remembering) -> None:
    past = Fleet("vllm", model="llama").write()
    ill = Fleet("triton", "new", model="ranker", first_node=11, past=past)
    ill.all(Replica(ago=5 * MINUTE, failing=0.3))
    Fleet("sglang", model="qwen", first_node=21, past=past).write()
    ill.xids["node-12:0"] = (79, 240)
    ill.write()
    url = remembering(past)

    assert report(url).impact.startswith("30.0% of requests fail (ranker)")
    llama = report(url, Scope(model="llama"))
    assert (llama.verdict, llama.cause_id) == (Verdict.OK, "none"), why(llama)
    assert report(url, Scope(model="qwen")).verdict is Verdict.OK
    assert report(url, Scope(model="ranker")).verdict is Verdict.OUTAGE


def test_a_node_and_a_gpu_are_asked_about_by_name(remembering: Remembering) -> None:
    past = Fleet(model="llama").write()
    other = Fleet("sglang", model="qwen", first_node=21, past=past)
    other.xids["node-22:1"] = (79, 4 * MINUTE)
    other.write()
    telemetry = Telemetry(remembering(past))
    now = datetime.now(UTC)

    well = survey(telemetry, telemetry.scope("node-2"), now)
    ill = survey(telemetry, telemetry.scope("NODE-22"), now)
    gpu = survey(telemetry, telemetry.scope("gpu-node-22-1"), now)
    neighbour = survey(telemetry, telemetry.scope("node-22:0"), now)

    assert (well.scope, well.verdict) == (Scope(node="node-2"), Verdict.OK)
    assert not [seen for seen in well.checks if seen.bad]
    assert "(llama)" in well.impact or "llama" in {seen.offender for seen in well.checks}
    assert (ill.scope, ill.headline_cause) == (Scope(node="node-22"), "Xid 79 on node-22 gpu 1 (qwen)")
    assert (gpu.scope, gpu.cause_id) == (Scope(gpu="GPU-node-22-1"), "hardware")
    assert (neighbour.scope, neighbour.cause_id) == (Scope(gpu="GPU-node-22-0"), "none")
    assert telemetry.scope("qwen") == Scope(model="qwen")
    assert telemetry.scope("nobody") == Scope(model="nobody")
