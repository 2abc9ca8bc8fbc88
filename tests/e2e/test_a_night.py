"""A night shift from the fault to the postmortem, with everything real between the two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bot.workbench.slack.model import Message

from .conftest import INTAKE, MAYA, Shift, fetch, told

CARD_WITHIN_S = 1.0
ERROR_RATIO = (
    '(sum(rate(http_requests_total{model_name="llama-70b",status=~"5.."}[30s])) or vector(0))'
    ' / sum(rate(http_requests_total{model_name="llama-70b"}[30s]))'
)
FROM_CACHE = 'sum(rate(gateway_requests_total{model="mistral-small",source="cache",code="200"}[30s]))'


@pytest.fixture
def keep(record_testsuite_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Writes a measurement down: in the report, and where a person who runs the test sees it."""

    def note(name: str, seconds: float) -> None:
        record_testsuite_property(name, f"{seconds:.3f}")
        print(f"{name}: {seconds:.3f} s")  # noqa: T201 - seen with pytest -s

    return note


def test_a_bad_deploy_is_rolled_back_and_ends_in_a_postmortem(
    shift: Shift, tmp_path: Path, keep: Callable[[str, float], None]
) -> None:
    bench = shift.bench
    bench.fleet.set_fault("bad-deploy", True)

    announced = shift.see(INTAKE, "llama-70b", 30.0)
    received = shift.relay.first("firing", "LLMErrorRatioHigh") or shift.relay.passed[0][0]
    keep("webhook to card in the intake channel", float(announced.ts) - received)
    assert float(announced.ts) - received < CARD_WITHIN_S
    channel = shift.incident_channel()
    card = shift.card("Nobody has it yet")
    keep("webhook to card in its own channel", float(card.ts) - received)
    assert MAYA in channel.members
    shift.see(INTAKE, f"<#{channel.id}>")
    shift.eventually(lambda: bench.pagerduty.incidents, "page", 5.0)

    shift.card("Telemetry: OUTAGE", 30.0)

    shift.press(card, "ack")
    shift.card("Maya Okafor has it")
    shift.eventually(lambda: bench.pagerduty.incidents[0].status == "acknowledged", "acknowledged page", 5.0)

    shift.press(card, "run")
    shift.fill_in("Mitigate INC-1")
    assert (shift.measure(ERROR_RATIO) or 0.0) > 0.01
    look = shift.see(channel.id, "Done, go on", 15.0)
    shift.press(look, "step.approve")
    act = shift.see(channel.id, "Run it", 10.0)
    assert "r42" in told(act), "the preview names the revision that is left"
    assert "r41" in told(act), "the preview names the revision that is gone to"
    shift.press(act, "step.approve")

    shift.see(channel.id, "Roll back a model deploy*: done", 120.0)
    assert bench.fleet.model("llama-70b")["revision"] == "r41"
    ratio = shift.measure(ERROR_RATIO)
    assert ratio is not None
    assert ratio < 0.01
    shift.card("Mitigated, not yet resolved")
    shift.card("Alerts: 0 firing", 60.0)

    shift.see(channel.id, "[OUTAGE] llama-70b")
    better = shift.see(channel.id, "[OK] llama-70b")
    shift.eventually(lambda: "slack_file" in told(better), "picture of the report", 20.0)
    assert "Against the worst of it" in told(better)

    shift.press(shift.card("Resolve"), "resolve")
    shift.fill_in("Resolve INC-1", reason="Rolled back to r41; errors are at 0.1 %")
    shift.see(channel.id, "INC-1 is resolved")
    shift.eventually(lambda: bench.pagerduty.incidents[0].status == "resolved", "resolved page", 5.0)

    shift.see(channel.id, "The postmortem is drafted")
    (file,) = shift.eventually(lambda: list((tmp_path / "postmortems").glob("*.md")), "postmortem", 5.0)
    text = file.read_text()
    assert "Rolled back to r41; errors are at 0.1 %" in text
    status, page = fetch("GET", f"{bench.ports.url('pages')}/postmortems/{file.name}")
    assert status == 200
    assert "Rolled back to r41" in page

    assert len(bench.pagerduty.incidents) == 1
    assert shift.events_sent_to_pagerduty() == ["trigger", "acknowledge", "resolve"]
    assert shift.refused_calls() == []
    assert shift.errors_logged() == []


def test_a_model_that_is_down_is_served_from_cache_until_that_is_taken_back(shift: Shift) -> None:
    bench = shift.bench
    bench.fleet.set_fault("model-down", True)

    card = shift.card("mistral-small", 30.0)
    channel = shift.incident_channel()
    shift.card("Telemetry: OUTAGE", 30.0)

    shift.press(card, "ack")
    shift.card("Maya Okafor has it")
    shift.press(card, "run")
    shift.fill_in("Mitigate INC-1")

    act = shift.see(channel.id, "Run it", 40.0)
    assert "cache" in told(act)
    assert "kept for 60 min" in told(act), "the preview says how long it is lent for"
    shift.press(act, "step.approve")

    told_owner = shift.see(channel.id, "step 3 of 3", 60.0)
    shift.press(told_owner, "step.approve")
    shift.see(channel.id, "Serve from cache while a model is down*: done", 30.0)
    assert bench.fleet.model("mistral-small")["fallback"] == "cache"
    assert (shift.measure(FROM_CACHE) or 0.0) > 0.0
    lent = shift.see(channel.id, "then taken back")
    assert lent.ts == act.ts, "preview, act and lease are one message"
    assert {"step.undo", "step.renew"} <= buttons(lent)

    shift.press(lent, "step.undo")
    shift.eventually(lambda: bench.fleet.model("mistral-small")["fallback"] == "off", "fallback put back", 15.0)
    undone = shift.see(channel.id, "step 2 of 3: Answer for mistral-small from the cache undone", 10.0)
    assert undone.ts == act.ts

    assert shift.refused_calls() == []
    assert shift.errors_logged() == []


def buttons(message: Message) -> set[str]:
    """The action_ids of a message's buttons."""
    elements = [element for block in message.blocks for element in block.get("elements", ())]
    return {str(element["action_id"]) for element in elements if "action_id" in element}
