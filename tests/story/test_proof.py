"""To resolve takes a proof: asked of a real Prometheus with an invented past, told in Slack, kept on the timeline."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.incident import events as ev
from bot.incident.state import Status
from bot.incident.timeline import line
from bot.slack.actions import Do
from bot.workbench.slack.model import Message
from tests.health.conftest import PAST, Past, needed, prometheus
from tests.servers import free_port
from tests.story.night import MAYA, Night, action_ids, open_night, told

AGO = 20 * 60
"""Seconds since the alert."""
LONG_OVER = 10 * 60
"""Seconds since the end of a fault that the last five minutes know nothing of."""
JUST_OVER = 60


@dataclass(frozen=True)
class Fault:
    """What users felt from the alert until `until` seconds ago: the share of errors, and that of late first tokens."""

    errors: float = 0.0
    late: float = 0.0
    until: float = LONG_OVER

    def during(self, t: float) -> float:
        """Seconds of the fault that have passed when `t` seconds of the past have."""
        return min(max(t - (PAST - AGO), 0), AGO - self.until)


Engine = Callable[[Past, Fault], None]


def grows(past: Past, name: str, labels: dict[str, str], rate: float, extra: float, fault: Fault) -> None:
    """A counter that gains `rate` a second, and `extra` more while the fault lasts."""
    past.gauge(name, labels, lambda t: 1000 + rate * t + extra * fault.during(t))


def first_tokens(past: Past, family: str, labels: dict[str, str], fault: Fault) -> None:
    """All within half a second; of those in the fault, `late` take between 5 and 10 s."""
    late = 10 * fault.late
    for edge, rate, extra in (("0.5", 10, -late), ("2.5", 10, -late), ("5", 10, -late), ("10", 10, 0), ("+Inf", 10, 0)):
        grows(past, f"{family}_bucket", {**labels, "le": edge}, rate, extra, fault)
    grows(past, f"{family}_count", labels, 10, 0, fault)


def vllm(past: Past, fault: Fault) -> None:
    labels = {"job": "vllm", "instance": "vllm-0:8000", "model_name": "llama-70b"}
    http = {**labels, "handler": "/v1/chat/completions"}
    grows(past, "http_requests_total", {**http, "status": "2xx"}, 10, -10 * fault.errors, fault)
    grows(past, "http_requests_total", {**http, "status": "5xx"}, 0, 10 * fault.errors, fault)
    first_tokens(past, "vllm:time_to_first_token_seconds", labels, fault)
    past.gauge("vllm:num_requests_waiting", labels, 1)
    past.gauge("vllm:num_requests_running", labels, 8)


def sglang(past: Past, fault: Fault) -> None:
    labels = {"job": "sglang", "instance": "sglang-0:30000", "model_name": "llama-70b"}
    grows(past, "sglang:num_requests_total", labels, 10, 0, fault)
    grows(past, "sglang:num_aborted_requests_total", labels, 0, 10 * fault.errors, fault)
    first_tokens(past, "sglang:time_to_first_token_seconds", labels, fault)
    past.gauge("sglang:num_queue_reqs", labels, 1)


def triton(past: Past, fault: Fault) -> None:
    labels = {"job": "triton", "instance": "triton-0:8002", "model": "llama-70b", "version": "1"}
    grows(past, "nv_inference_request_success", labels, 10, -10 * fault.errors, fault)
    grows(past, "nv_inference_request_failure", {**labels, "reason": "BACKEND"}, 0, 10 * fault.errors, fault)
    grows(past, "nv_inference_request_duration_us", labels, 3e6, 0, fault)
    past.gauge("nv_inference_pending_request_count", labels, 1)


def gpus(past: Past, xid: float = 0, ago: float = 0) -> None:
    """Two GPUs; on one of them an Xid, so many seconds ago."""
    for gpu in ("0", "1"):
        labels = {"gpu": gpu, "UUID": f"GPU-{gpu}", "Hostname": "node-1", "job": "dcgm", "instance": "node-1:9400"}
        past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 50)
        late = xid if gpu == "1" else 0
        past.gauge("DCGM_FI_DEV_XID_ERRORS", labels, lambda t, late=late: late if t >= PAST - ago else 0)  # type: ignore[misc]


@contextmanager
def remembering(folder: Path, past: Past) -> Iterator[str]:
    """A Prometheus over that past; its address."""
    folder.mkdir()
    (folder / "past.om").write_text(past.text())
    command = ["tsdb", "create-blocks-from", "openmetrics", str(folder / "past.om"), str(folder / "data")]
    subprocess.run([needed("promtool"), *command], check=True, capture_output=True, timeout=60)
    with prometheus(folder, "global: {scrape_interval: 1h}\n") as url:
        yield url


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


@contextmanager
def watched(folder: Path, url: str) -> Iterator[Night]:
    """A night that began twenty minutes ago, with its telemetry at `url`."""
    settings = {
        "[prometheus]\nurl = ": f'[prometheus]\nurl = "{url}"  # and not ',
        'timeout = "5s"': 'timeout = "2s"',
        '[health]\nwindow = "30s"': '[health]\nwindow = "5m"',
        '[proof]\nquiet = "30s"': '[proof]\nquiet = "5m"',
    }
    began = datetime.now(UTC) - timedelta(seconds=AGO)
    with open_night(folder / "night", proven=True, settings=settings, at=began) as night:
        yield night


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
    assert night.fills_in(MAYA, reason="the rest is a load test of ours").ok
    assert night.stands(Status.RESOLVED)
    (ended,) = night.events(ev.Resolved)
    assert ended.reason == "the rest is a load test of ours"
    assert "(limit 1.0%)" in ended.unproven
    assert Do.UNPROVEN not in action_ids(night.said("was not proven healthy")[0]), "there is nothing left to press"
    assert "It is not proven: errors" in (night.app.shelf.read(night.incident.postmortem) or "")


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
