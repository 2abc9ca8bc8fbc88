"""To resolve takes a proof: asked of a real Prometheus with an invented past, told in Slack, kept on the timeline."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.incident import events as ev
from bot.incident.state import Status
from bot.incident.timeline import line
from bot.slack.actions import Do
from bot.workbench.slack.model import Message
from tests.health.conftest import PAST, Past
from tests.servers import free_port
from tests.story.night import JONAS, MAYA, Night, action_ids, told
from tests.story.telemetry import AGO, JUST_OVER, Engine, Fault, gpus, remembering, sglang, triton, vllm, watched


@pytest.fixture
def burned(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    """Gives a function that tells how llama-70b fared, and returns a night on which Maya has had it for 20 minutes."""
    with ExitStack() as open_:

        def begin(engine: Engine, fault: Fault, *, xid: float = 0, ago: float = 0, severity: str = "critical") -> Night:
            past = Past()
            engine(past, fault)
            gpus(past, xid, ago)
            url = open_.enter_context(remembering(tmp_path / "telemetry", past))
            night = open_.enter_context(watched(tmp_path, url))
            night.burns(severity=severity)
            return taken(night) if severity == "critical" else night

        yield begin


def taken(night: Night) -> Night:
    """Maya has it; twenty minutes later its alerts recover."""
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.after(seconds=AGO)
    night.recovers()
    return night


def resolves(night: Night, reason: str = "rolled back") -> str:
    """Maya wants it resolved, later than any proof lasts; what she is told."""
    night.clock.now += timedelta(minutes=3)
    return night.types(MAYA, f"/incident resolve {reason}", night.incident.channel)


def timeline(night: Night) -> list[str]:
    return [line(entry, night.incident) or "" for entry in night.app.journal.entries(night.incident.id)]


def the_doubt(night: Night) -> Message:
    (message,) = night.said("is not proven healthy")
    return message


@pytest.mark.parametrize("engine", [vllm, sglang, triton])
def test_what_has_been_well_for_five_minutes_is_resolved_with_the_numbers(
    burned: Callable[..., Night], engine: Engine
) -> None:
    night = burned(engine, Fault(errors=0.3, late=0.3))
    assert "Proven healthy" in told(night.card), "the recovery is watched, and the card tells"
    assert "and it is proven" in told(night.card)
    assert "telemetry is asked whether INC-1 is over" in resolves(night)
    assert night.stands(Status.RESOLVED)
    (ended,) = night.events(ev.Resolved)
    assert ended.asked_by == MAYA
    assert "errors 0.0% (limit 1.0%)" in ended.proof
    assert "no Xid that needs a repair" in ended.proof
    (message,) = night.said("INC-1 is resolved")
    assert "by Maya" in told(message)
    assert "Proven healthy: errors 0.0%" in told(message)
    assert any("resolved it: rolled back (proven: errors 0.0%" in one for one in timeline(night))


@pytest.mark.parametrize("engine", [vllm, sglang, triton])
def test_errors_of_a_moment_ago_keep_it_open_until_somebody_says_why_not(
    burned: Callable[..., Night], engine: Engine
) -> None:
    night = burned(engine, Fault(errors=0.3, until=JUST_OVER))
    resolves(night)
    assert night.stands(Status.ACKNOWLEDGED)
    doubt = the_doubt(night)
    assert f"<@{MAYA}>" in told(doubt)
    assert "(limit 1.0%)" in told(doubt)
    assert "Not proven healthy" in told(night.card)
    night.clicks(MAYA, doubt, Do.UNPROVEN, night.incident.channel)
    assert "(limit 1.0%)" in str(night.form(MAYA).body), "the numbers once more"
    assert "it is over*, asked <!date^" in str(night.form(MAYA).body), "and of when they are"
    assert night.fills_in(MAYA, reason="the rest is a load test of ours").ok
    assert night.stands(Status.RESOLVED)
    (ended,) = night.events(ev.Resolved)
    assert ended.reason == "the rest is a load test of ours"
    assert "(limit 1.0%)" in ended.unproven
    assert Do.UNPROVEN not in action_ids(night.said("was not proven healthy")[0]), "there is nothing left to press"
    assert "It is not proven: errors" in (night.app.shelf.read(night.incident.postmortem) or "")


def test_each_doubt_calls_whoever_asked_for_it_also_when_it_is_shown_once_more(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3, until=JUST_OVER))
    resolves(night)
    night.clock.now += timedelta(minutes=3)
    night.types(JONAS, "/incident resolve it is over", night.incident.channel)
    first, second = night.said("is not proven healthy")
    assert f"<@{MAYA}>" in told(first)
    assert f"<@{JONAS}>" not in told(first)
    assert f"<@{JONAS}>" in told(second)


def test_late_first_tokens_keep_it_open(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(late=0.5, until=JUST_OVER))
    resolves(night)
    assert "p99" in told(the_doubt(night))
    assert "(limit 2.5 s)" in told(the_doubt(night))


def test_within_the_limit_but_worse_than_in_the_hour_before_keeps_it_open(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.01, until=JUST_OVER))
    resolves(night)
    assert night.stands(Status.ACKNOWLEDGED)
    assert "errors 0.8% (0.0% before the alert, 0.2% would do)" in told(the_doubt(night))


def test_an_xid_that_needs_a_repair_keeps_it_open_and_one_of_the_application_does_not(
    burned: Callable[..., Night],
) -> None:
    night = burned(vllm, Fault(errors=0.3), xid=79, ago=2 * 60)
    resolves(night)
    assert night.stands(Status.ACKNOWLEDGED)
    assert "Xid 79" in told(the_doubt(night))


def test_an_xid_of_the_application_is_nobodys_obstacle(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3), xid=31, ago=2 * 60)
    resolves(night)
    assert night.stands(Status.RESOLVED)


def test_where_nothing_is_asked_of_the_model_any_more_nothing_is_proven(burned: Callable[..., Night]) -> None:
    night = burned(lambda past, fault: None, Fault())
    resolves(night)
    assert night.stands(Status.ACKNOWLEDGED)
    assert "errors unknown" in told(the_doubt(night))


def idle(past: Past, fault: Fault, after: float = 0.0) -> None:
    """vLLM without a request since `after` seconds of its past."""
    labels = {"job": "vllm", "instance": "vllm-0:8000", "model_name": "llama-70b"}
    http = {**labels, "handler": "/v1/chat/completions"}
    past.gauge("http_requests_total", {**http, "status": "2xx"}, lambda t: 10 * min(t, after))
    past.gauge("http_requests_total", {**http, "status": "5xx"}, 0)
    for edge in ("0.5", "2.5", "+Inf"):
        past.gauge("vllm:time_to_first_token_seconds_bucket", {**labels, "le": edge}, lambda t: 10 * min(t, after))
    past.gauge("vllm:time_to_first_token_seconds_count", labels, lambda t: 10 * min(t, after))
    past.gauge("vllm:num_requests_waiting", labels, 0)
    past.gauge("vllm:num_requests_running", labels, 0)


def test_a_model_that_was_as_idle_before_the_alert_is_no_doubt(burned: Callable[..., Night]) -> None:
    night = burned(idle, Fault())
    resolves(night)
    assert night.stands(Status.RESOLVED)
    (ended,) = night.events(ev.Resolved)
    assert "errors: no traffic, as before the alert" in ended.proof


def test_traffic_that_ended_with_the_incident_proves_nothing(burned: Callable[..., Night]) -> None:
    night = burned(partial(idle, after=PAST - AGO), Fault())
    resolves(night)
    assert night.stands(Status.ACKNOWLEDGED)
    assert "errors unknown (no traffic in the last 5 min)" in told(the_doubt(night))


def test_a_telemetry_that_cannot_be_reached_proves_nothing_and_locks_nobody_in(tmp_path: Path) -> None:
    with watched(tmp_path, f"http://127.0.0.1:{free_port()}") as night:
        night.burns()
        taken(night)
        resolves(night)
        assert night.stands(Status.ACKNOWLEDGED)
        assert "cannot be reached" in told(the_doubt(night))
        night.clicks(MAYA, the_doubt(night), Do.UNPROVEN, night.incident.channel)
        night.fills_in(MAYA, reason="I have watched the gateway for ten minutes")
        assert night.stands(Status.RESOLVED)


def test_what_was_quiet_by_itself_stays_open_without_proof_and_says_so_once(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3, until=JUST_OVER), severity="warning")
    night.after(minutes=2)
    night.recovers(severity="warning")
    night.through(minutes=25)
    assert night.stands(Status.OPEN)
    assert len(night.events(ev.ResolveAsked)) == 2
    assert "resolve it all the same" in told(the_doubt(night))


def test_what_was_quiet_by_itself_resolves_itself_with_the_proof(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3), severity="warning")
    night.after(minutes=2)
    night.recovers(severity="warning")
    night.through(minutes=11)
    assert night.stands(Status.RESOLVED)
    assert "errors 0.0%" in night.events(ev.Resolved)[0].proof


def test_a_resolve_in_pagerduty_counts_and_a_doubt_is_told_afterwards(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3, until=JUST_OVER))
    night.bench.pagerduty.act(MAYA, night.bench.pagerduty.incidents[0].id, "resolve")
    night.settle()
    night.after(seconds=1)
    assert night.stands(Status.RESOLVED)
    assert "Not proven healthy" in told(night.card)
    (message,) = night.said("was closed without proof")
    assert "(limit 1.0%)" in told(message)
    assert action_ids(message) == set()


def test_the_form_says_what_will_be_looked_at(burned: Callable[..., Night]) -> None:
    night = burned(vllm, Fault(errors=0.3))
    night.presses(MAYA, Do.RESOLVE)
    assert "errors, latency, queue and Xids of the last 5 min" in str(night.form(MAYA).body)
    night.fills_in(MAYA, reason="rolled back")
    assert night.stands(Status.RESOLVED), "the card's proof is fresh"
    assert night.events(ev.ResolveAsked) == []
