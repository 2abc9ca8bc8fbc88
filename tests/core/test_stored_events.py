"""Events live for ever: each stored form is a golden file, and what an older version wrote must still load."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.incident import events as ev
from bot.incident.effects import EFFECTS, Page, Tell
from bot.incident.events import EVENTS, NAMES, Event, Precision, Role, Severity
from bot.journal.codec import REDACTED, effect_in, effect_out, event_in, event_out

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 11, 21, 3, 4, 5, 678901, tzinfo=UTC)
SAMPLE = {"name": "LLMErrorRatioHigh", "title": "errors", "labels": {"model_name": "llama-70b"}}
CHANGE = {
    "source": "change",
    "kind": "deploy",
    "title": "Deploy llama-70b 1.4.3",
    "model": "llama-70b",
    "image": "registry.example/llama:1.4.3",
    "settings": [["max_num_seqs", "256", "512"]],
}
PLAN = {"lines": ["r42 -> r41"], "request": {"method": "POST"}, "before": {"revision": "r42"}, "risk": "reversible"}

EXAMPLES: tuple[Event, ...] = (
    ev.IncidentOpened(
        42, "llama-70b fails", Severity.SEV1, AT, AT, "chat", "llama-70b", "v1:x", "rollback", "i0", True, "i1", "d1"
    ),
    ev.AlertsReported(37, 963, 12, (SAMPLE,), 900),
    ev.Acknowledged(),
    ev.GlassBroken("3f2a91c4", "Slack is down", AT),
    ev.SeverityChanged(Severity.SEV3, Severity.SEV1),
    ev.RoleAssigned(Role.COMMANDER, "U0PRIYA"),
    ev.ImpactStated("31 % of answers fail", AT),
    ev.NoteAdded("restarted the gateway"),
    ev.MessagePinned("it began with the deploy", "U0JONAS", "https://chat.example/p1"),
    ev.TextRedacted("01890a5d-ac96-774b-bcce-b302099a8057", 3, "names a customer"),
    ev.UpdatePosted("We are rolling back."),
    ev.UpdateReminded(),
    ev.AckDeadlineMissed(2, ("oncall-mail",), ("PagerDuty",)),
    ev.Mitigated("rolled back"),
    ev.Relapsed(3),
    ev.ResolveAsked("quiet again", True),
    ev.HealthProven("e7", "errors 0.1% (limit 1.0%)", {"quiet": 300}),
    ev.HealthDoubted("e7", "errors 4.2% (limit 1.0%)", {"quiet": 300}, True),
    ev.Resolved("quiet again", 3, AT, "errors 0.1% (limit 1.0%)", "errors 4.2% (limit 1.0%)", "U0MAYA"),
    ev.Cancelled("test rule"),
    ev.Reopened(2, 3),
    ev.EvidenceCollected("OUTAGE", "31 % errors", "recent change", "rollback", {"verdict": "OUTAGE"}, "EV-7F3K2QAB"),
    ev.EvidenceFrozen("EV-7F3K2QAB", {"errors": "0" * 64, "picture": "1" * 64}, 181, AT, "queue: no such metric"),
    ev.VerdictRated("EV-7F3K2QAB", False, "OUTAGE", "recent-change", "hardware", "node-7 lost a GPU"),
    ev.PictureShown("EV-7F3K2QAB", "F0PICTURE1", "Slack would not take it"),
    ev.EvidenceFailed("Prometheus does not answer"),
    ev.ChangeFound("run-812", AT, Precision.MINUTE, CHANGE, True),
    ev.ChannelOpened("C0INC", "inc-42-llama"),
    ev.CardPosted("incident", "C0INC", "1763.1"),
    ev.StepShown("r1", "a", "C0INC", "1763.2"),
    ev.PageAccepted("mail to oncall@example.com", 1, "https://pager.example/1", "oncall-mail"),
    ev.PageUnanswered(1, "PagerDuty", "oncall-mail", 60),
    ev.DeliveryFailed("slack", "tell", "missing scope", True),
    ev.DeliverySettled("pager", "stop_paging"),
    ev.RunStarted("r1", "rollback", "Roll back", "0" * 64, "model/llama-70b", {"model": "llama-70b"}, ({"id": "a"},)),
    ev.StepPlanned("r1", "a", PLAN, "d1"),
    ev.StepAsked("r1", "a"),
    ev.StepApproved("r1", "a", "d1"),
    ev.StepStarted("r1", "a", 1),
    ev.SecondCalled("r1", "a", 2),
    ev.StepOverridden("r1", "a", "the other node is failing too"),
    ev.StepApplied("r1", "a", 1, AT, True, "node-2 drained"),
    ev.StepProgressed("r1", "a", "3 of 5 pods moved"),
    ev.StepCompleted("r1", "a"),
    ev.StepSaid("r1", "a", "llama-70b answers from its cache", 2),
    ev.StepSucceeded("r1", "a", "0.002 (want < 0.01)"),
    ev.StepFailed("r1", "a", "0.2", True),
    ev.StepInterrupted("r1", "a", "cut off"),
    ev.StepRetried("r1", "a"),
    ev.StepSkipped("r1", "a", "not needed"),
    ev.UndoStarted("r1", "a", "lease"),
    ev.StepUndone("r1", "a"),
    ev.UndoFailed("r1", "a", "404", True),
    ev.LeaseRenewed("r1", "a", AT),
    ev.FallbackReminded("r1", "a"),
    ev.RunFinished("r1", "done"),
    ev.PostmortemDrafted("2026-11-21-inc-42.md"),
)


def stored(event: Event) -> tuple[str, dict[str, object], dict[str, str]]:
    texts: dict[str, str] = {}

    def keep(text: str) -> str:
        texts[f"digest-{len(texts) + 1}"] = text
        return f"digest-{len(texts)}"

    name, body = event_out(event, keep)
    return name, body, texts


def test_every_event_has_an_example_and_a_golden_file() -> None:
    assert {type(event) for event in EXAMPLES} == set(EVENTS.values())
    kinds = {kind for kind in vars(ev).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert kinds - {Event} == set(EVENTS.values())
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(EVENTS)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: NAMES[type(event)])
def test_the_stored_form_does_not_change_and_loads_again(event: Event) -> None:
    name, body, texts = stored(event)
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    assert {"body": body, "texts": texts} == golden
    assert event_in(name, golden["body"], golden["texts"].get) == event


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: NAMES[type(event)])
def test_free_text_is_never_in_the_body_and_may_be_redacted(event: Event) -> None:
    name, body, texts = stored(event)
    for text in texts.values():
        assert text not in json.dumps(body)
    again = event_in(name, json.loads(json.dumps(body)), lambda _: None)
    if texts:
        assert again != event
        assert REDACTED in repr(again) or "=()" in repr(again) or "={}" in repr(again)


def test_an_event_from_before_a_field_existed_takes_its_default() -> None:
    loaded = event_in("incident.resolved", {"reason": "d"}, {"d": "quiet"}.get)
    assert loaded == ev.Resolved("quiet", 0, None)
    undo = {"run": "r1", "step": "a", "text": "d"}
    assert event_in("run.undo_failed", undo, {"d": "404"}.get) == ev.UndoFailed("r1", "a", "404", unclear=False)
    page = {"generation": 1, "link": "https://pager.example/1", "pager": "PagerDuty"}
    assert event_in("pager.page_accepted", page, lambda _: None) == ev.PageAccepted(
        "PagerDuty", 1, "https://pager.example/1"
    )


def test_a_lost_field_without_default_is_an_error_not_a_guess() -> None:
    with pytest.raises(ValueError, match=r"severity_changed lacks after"):
        event_in("incident.severity_changed", {"before": "SEV1"}, lambda _: None)


def test_effects_survive_storage() -> None:
    assert effect_in(*effect_out(Tell("e1"))) == Tell("e1")
    assert effect_in(*effect_out(Page(1, pager="mail"))) == Page(1, pager="mail")
    assert effect_in("page", {"generation": 1}) == Page(1), "from before there was another pager"
    assert len(EFFECTS) == len(set(EFFECTS.values()))
