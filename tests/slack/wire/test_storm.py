"""What the intake channel shows when one incident follows upon another: one message, in which each has its line."""

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident.state import Incident
from bot.slack.cards import LISTED_MAX
from bot.workbench.slack.faults import Fault
from tests.slack.wire.office import INTAKE, MAYA, Office, deliver, told


def burn(office: Office, model: str) -> Incident:
    """Another model's alerts open another incident."""
    incident = office.burns(group_key=f"v1:model={model}", model=model, title=f"{model} answers 500")
    office.delivers()
    return incident


def test_an_incident_right_after_another_is_a_line_in_its_announcement(office: Office) -> None:
    first = burn(office, "llama-70b")
    office.after(seconds=29)
    second = burn(office, "mistral-small")
    (announcement,) = office.said(INTAKE)
    assert "1 more incident opened with it" in told(announcement)
    assert f"{second.ref}* · mistral-small answers 500" in told(announcement)
    assert f"<#{office.incident.channel}>" in told(announcement)
    assert office.incident.announced_with == first.id
    assert "intake" not in office.incident.cards, "its card is in its own channel alone"


def test_its_line_has_its_own_button_until_somebody_takes_it(office: Office) -> None:
    burn(office, "llama-70b")
    second = burn(office, "mistral-small")
    assert second.id in [block["accessory"]["value"] for block in office.said(INTAKE)[0].blocks if "accessory" in block]
    office.does(cmd.Acknowledge, second.id)
    office.delivers()
    (announcement,) = office.said(INTAKE)
    assert not any("accessory" in block for block in announcement.blocks)
    assert "acknowledged" in told(announcement)


def test_half_a_minute_later_an_incident_is_announced_by_itself(office: Office) -> None:
    burn(office, "llama-70b")
    burn(office, "mistral-small")
    office.after(seconds=30)
    third = burn(office, "qwen-32b")
    assert third.announced_with == ""
    assert len(office.said(INTAKE)) == 2
    assert "qwen-32b" not in told(office.said(INTAKE)[0])


def test_what_a_person_declares_is_announced_by_itself(office: Office) -> None:
    burn(office, "llama-70b")
    office.types(MAYA, "/incident declare users cannot log in")
    office.delivers()
    assert len(office.said(INTAKE)) == 2


def test_of_very_many_the_first_have_a_line_and_the_rest_are_counted(office: Office) -> None:
    for number in range(LISTED_MAX + 3):
        burn(office, f"model-{number:02d}")
    (announcement,) = office.said(INTAKE)
    assert len([block for block in announcement.blocks if "accessory" in block]) == LISTED_MAX
    assert "and 2 open" in told(announcement)
    assert f"{LISTED_MAX + 2} more incidents" in announcement.text


def test_when_the_first_one_is_over_the_others_still_have_their_lines(office: Office) -> None:
    first = burn(office, "llama-70b")
    second = burn(office, "mistral-small")
    office.does(cmd.Resolve, first.id, reason="rolled back", despite_firing=True)
    office.delivers()
    (announcement,) = office.said(INTAKE)
    assert "resolved" in told(announcement)
    assert f"{second.ref}*" in told(announcement)


def test_without_a_channel_of_its_own_it_has_its_card_in_the_intake_channel(office: Office) -> None:
    burn(office, "llama-70b")
    office.workspace.faults.plan(Fault.ERROR, "conversations.create", error="restricted_action")
    second = burn(office, "mistral-small")
    office.delivers()
    assert office.journal.incident(second.id).channel == ""  # type: ignore[union-attr]
    assert "mistral-small answers 500" in told(office.card("intake"))


def test_the_same_lines_are_not_sent_again(office: Office) -> None:
    first = burn(office, "llama-70b")
    burn(office, "mistral-small")
    edits = len(office.calls("chat.update"))
    office.records(first)
    deliver(office, ef.RefreshCard())
    assert len(office.calls("chat.update")) == edits
