"""One look at the telemetry from the question to the thread: no look is lost, and what it shows waits for the words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from bot.contracts import Attempt
from bot.health import Report, Verdict
from bot.health.courier import ONCE_MORE, Courier, Keeping
from bot.health.freeze import Frozen, Piece
from bot.health.scope import Scope
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.policy import Policy
from bot.incident.react import react
from bot.journal import Txn
from bot.journal.ids import new_id
from bot.journal.redaction import clear_text
from bot.outbox import Outbox
from bot.slack.actions import Do
from bot.slack.quiet import QUIET
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import Message
from tests.health.test_freeze import check, report
from tests.slack.wire.office import BURNING, MAYA, MONITOR, Office, deliver, told
from tests.story.night import controls

NUMBERS = "the numbers of EV-"


@dataclass
class Telemetry:
    """Answers with what is true now, and can be unable to keep it; `kept` are the verdicts that were."""

    verdict: Verdict = Verdict.OUTAGE
    remembers: bool = True
    asked: int = 0
    kept: list[str] = field(default_factory=list)

    def survey(self, scope: Scope) -> Report:
        self.asked += 1
        errors = check("U1", "crit" if self.verdict is Verdict.OUTAGE else "ok", 0.3, series=())
        return replace(report(errors), verdict=self.verdict, model=scope.model)

    def freeze(self, seen: Report, _: Sequence[object]) -> Frozen:
        if not self.remembers:
            return Frozen((), 0, None, "errors: Prometheus does not answer")
        self.kept.append(seen.verdict)
        return Frozen((Piece("errors", "series", "q", b"{}"),), 1, None, "")


@pytest.fixture
def telemetry(office: Office) -> Telemetry:
    """Connected, with the real courier and outbox; nothing is stored but what the events say."""
    telemetry = Telemetry()

    def keep(_: str, __: str, pieces: Sequence[Piece]) -> dict[str, str]:
        return {piece.name: "0" * 64 for piece in pieces}

    courier = Courier(telemetry.survey, frozenset(), Keeping(office.journal.entry, telemetry.freeze, keep))
    office.outbox = Outbox(office.desk, {"slack": office.courier, "health": courier})
    return telemetry


def deliver_first(office: Office, kind: type[ef.Effect]) -> None:
    """Only the first of these, once; everything else waits."""
    job = next(job for job in office.outbox.ready() if isinstance(job.effect, kind))
    office.outbox.deliver(job.id)


def waiting(office: Office, kind: type[ef.Effect]) -> list[ef.Effect]:
    return [job.effect for job in office.outbox.ready() if isinstance(job.effect, kind)]


def pressable(message: Message) -> list[str]:
    return [action for action, _ in controls(message.blocks)]


def replies(office: Office) -> list[str]:
    return [told(one) for one in office.channel.messages if one.is_reply and NUMBERS in told(one)]


def test_a_look_wanted_while_the_last_waits_to_be_kept_is_made(office: Office, telemetry: Telemetry) -> None:
    office.burns()
    deliver_first(office, ef.CollectEvidence)
    telemetry.verdict = Verdict.OK
    office.does(cmd.Mitigate, office.incident.id, text="rolled back")
    office.delivers()
    assert telemetry.asked == 2
    assert [event.verdict for _, event in office.entries(ev.EvidenceCollected)] == ["OUTAGE", "OK"]


def test_each_look_is_kept_although_another_came_before_it_was(office: Office, telemetry: Telemetry) -> None:
    office.burns()
    deliver_first(office, ef.CollectEvidence)
    telemetry.verdict = Verdict.OK
    office.does(cmd.Mitigate, office.incident.id, text="rolled back")
    deliver_first(office, ef.CollectEvidence)
    office.delivers()
    assert telemetry.kept == ["OUTAGE", "OK"]
    assert set(office.incident.frozen) == set(office.incident.looks)


def test_where_nothing_can_be_kept_the_timeline_says_why(office: Office, telemetry: Telemetry) -> None:
    telemetry.remembers = False
    office.burns()
    office.delivers()
    assert office.entries(ev.EvidenceFrozen) == [], "a Prometheus may be restarting"
    office.after(seconds=ONCE_MORE.total_seconds())
    office.delivers()
    ((_, frozen),) = office.entries(ev.EvidenceFrozen)
    assert (frozen.parts, frozen.missing) == ({}, "errors: Prometheus does not answer")
    assert waiting(office, ef.ShowPicture) == []


def test_what_can_be_kept_at_the_second_try_is_kept(office: Office, telemetry: Telemetry) -> None:
    telemetry.remembers = False
    office.burns()
    office.delivers()
    telemetry.remembers = True
    office.after(seconds=ONCE_MORE.total_seconds())
    office.delivers()
    ((_, frozen),) = office.entries(ev.EvidenceFrozen)
    assert set(frozen.parts) == {"errors"}


@pytest.mark.usefixtures("telemetry")
def test_the_first_report_comes_into_the_message_that_called_somebody(office: Office) -> None:
    office.burns()
    office.delivers()
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    assert "OUTAGE" in told(called)
    assert called.text.startswith("INC-1: [OUTAGE]")
    first, *_ = pressable(called)
    assert first == Do.ACK, "it is still what calls for an answer"
    assert len([one for one in office.said() if not one.is_reply]) == 2, "and the card"


@pytest.mark.usefixtures("telemetry")
def test_the_call_keeps_its_report_whatever_is_brought_up_to_date_later(office: Office) -> None:
    office.burns()
    office.delivers()
    office.wire()
    office.does(cmd.Acknowledge, office.incident.id, by=MAYA)
    office.delivers()
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    assert "OUTAGE" in told(called)
    assert Do.ACK not in pressable(called)


def test_a_look_that_comes_late_is_a_message_of_its_own(office: Office, telemetry: Telemetry) -> None:
    office.burns()
    office.delivers()
    telemetry.verdict = Verdict.OK
    office.does(cmd.Mitigate, office.incident.id, text="rolled back")
    office.delivers()
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    assert "OUTAGE" in told(called)
    assert len([one for one in office.said() if told(one).startswith("INC-1: [OK]")]) == 1


@pytest.mark.usefixtures("telemetry")
def test_a_card_that_was_in_hand_meanwhile_does_not_take_the_report_out_again(office: Office) -> None:
    """The lane of the card had read the incident before the report came, and writes after it."""
    office.burns()
    office.delivers()
    ((entry, _),) = office.entries(ev.EvidenceCollected)
    cards = dict(office.incident.cards)
    came = cards.pop(f"entry:{entry.id}")
    office.wire()
    office.courier.deliver(ef.RefreshCard(), replace(office.incident, cards=cards), Attempt("job", 1, office.clock()))
    assert [one for one in office.said() if "OUTAGE" in one.text] == [], "it was taken out"
    assert react(office.incident, replace(entry, event=came), Policy()) == [ef.RefreshCard()]
    deliver(office, ef.RefreshCard())
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    assert "OUTAGE" in told(called)


@pytest.mark.usefixtures("telemetry")
def test_more_alerts_edit_the_card_and_no_message(office: Office) -> None:
    office.burns()
    office.delivers()
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    before = len(office.calls("chat.update"))
    for firing in (7, 20, 31):
        burning = {"source": "alertmanager", "firing": firing, "resolved": 0, "new": 0, **BURNING}
        office.does(cmd.ReportAlerts, office.incident.id, by=MONITOR, **burning)
        office.delivers()
    assert "31 firing" in told(office.card())
    assert called.ts not in [call["ts"] for call in office.calls("chat.update")[before:]]


@pytest.mark.usefixtures("telemetry")
def test_what_is_taken_out_of_a_report_goes_from_its_message_too(office: Office) -> None:
    office.burns()
    office.delivers()
    ((entry, _),) = office.entries(ev.EvidenceCollected)
    incident, number = office.incident.id, entry.seq
    by = Actor(ActorKind.MEMBER, MAYA, MAYA, frozenset({Right.RESPOND}))

    def clear(txn: Txn) -> object:
        said: dict[str, Any] = {"at": office.clock(), "key": new_id(), "source": "cli", "reason": "names a customer"}
        entry = clear_text(txn, incident, number)[0].entry
        return office.desk.execute(txn, cmd.RedactText(incident=incident, by=by, entry=entry, number=number, **said))

    office.journal.write(clear).result()
    office.delivers()
    (called,) = (one for one in office.said() if f"<@{MAYA}>" in told(one))
    assert "crit" not in told(called)
    assert "its details were taken out" in told(called)


@pytest.mark.usefixtures("telemetry")
def test_the_numbers_wait_until_the_channel_is_quiet(office: Office) -> None:
    office.burns()
    office.delivers()
    for _ in range(4):
        office.after(seconds=QUIET.total_seconds() - 1)
        office.does(cmd.PostUpdate, office.incident.id, by=MAYA, text="still at it")
        office.delivers()
        assert replies(office) == [], "people's words come first"
    office.after(seconds=QUIET.total_seconds())
    office.delivers()
    assert len(replies(office)) == 1


@pytest.mark.usefixtures("telemetry")
def test_the_numbers_wait_ever_longer_for_a_report_that_does_not_come(office: Office) -> None:
    office.workspace.channel(office.settings.intake_channel).is_archived = True
    office.workspace.faults.plan(Fault.ERROR, "conversations.create", error="restricted_action")
    office.burns()
    tries = 0
    for _ in range(540):
        tries += len(waiting(office, ef.TellNumbers))
        office.delivers()
        office.after(seconds=1)
    assert 15 <= tries <= 25, "in nine minutes"


def test_what_nobody_waits_for_leaves_later(office: Office) -> None:
    assert ef.TellNumbers.delay > timedelta()
    assert {kind.delay for kind in ef.EFFECTS.values() if kind is not ef.TellNumbers} == {timedelta()}
