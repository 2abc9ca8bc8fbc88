"""One incident that this version cannot read keeps no other from being worked in, and loses no alert."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import bindparam, select
from structlog.testing import capture_logs

from bot.audit.auditor import Auditor
from bot.audit.findings import Check
from bot.cli import main
from bot.engine.local import LocalEngine
from bot.incident import commands as cmd
from bot.incident.state import Incident, Status
from bot.intake.alerts import Delivery
from bot.journal import Unreadable
from bot.journal.archive import Left, move_old
from bot.journal.statements import ENTRIES_OF
from bot.journal.tables import outbox
from bot.outbox import Outbox
from tests.journal.conftest import MAYA, House

NEWER = "UPDATE event SET kind = 'incident.of_a_newer_version' WHERE seq = 2 AND incident = '{}'"
DAMAGED = "UPDATE event SET body = 'null' WHERE seq = 2 AND incident = '{}'"
SAID = "INC-1 cannot be read by this version: entry 2 (incident.of_a_newer_version): no event "


def alert(house: House, service: str, fingerprint: str, *, firing: bool = True) -> Delivery:
    named: Mapping[str, Any] = {"labels": {"service": service}, "service": service, "model": service}
    return house.alert(fingerprint, firing=firing, **named)


def burns(house: House, service: str, fingerprint: str) -> None:
    house.receive(alert(house, service, fingerprint))


def told(house: House, incident: Incident, kind: type[cmd.Command], **more: Any) -> Incident:
    by: dict[str, Any] = {"by": MAYA, "at": house.clock(), "source": "slack"}
    return house.desk.handle(kind(**by, incident=incident.id, key=f"{kind.__name__}{incident.id}", **more)).incident


def engine(house: House) -> LocalEngine:
    return LocalEngine(house.desk, Outbox(house.desk, {}))


def second_entry(house: House, incident: Incident) -> Mapping[str, Any]:
    rows = house.journal.ask(lambda direct, _: direct.named(ENTRIES_OF, {"incident_id": incident.id}))
    return rows[1]


def mends(house: House, incident: Incident, entry: Mapping[str, Any]) -> None:
    body = json.dumps(entry["body"]).replace(":", "\\:")
    house.behind_its_back(
        f"UPDATE event SET kind = '{entry['kind']}', body = '{body}' WHERE seq = 2 AND incident = '{incident.id}'"
    )


@pytest.fixture
def others(house: House) -> Incident:
    """INC-1 of the service chat, beside which INC-2 burns."""
    for service in ("chat", "search"):
        burns(house, service, f"{service}-1")
        house.drain()
    _, first = house.journal.live()
    return first


@pytest.fixture
def entry(house: House, others: Incident) -> Mapping[str, Any]:
    """What the second entry of INC-1 was."""
    return second_entry(house, others)


@pytest.fixture(params=[NEWER, DAMAGED], ids=["newer", "damaged"])
def first(house: House, others: Incident, entry: Mapping[str, Any], request: pytest.FixtureRequest) -> Incident:
    """INC-1, which the server that has just begun cannot read."""
    assert entry
    house.behind_its_back(request.param.format(others.id))
    house.reopen()
    return others


def test_the_server_starts_and_works_in_all_others(house: House, first: Incident) -> None:
    house.clock.after(minutes=30)
    with capture_logs() as logs:
        begun = engine(house)
        begun.take_over()
        begun.turn()
        burns(house, "ranking", "ranking-1")
        begun.turn()
        begun.turn()
    third, second = house.journal.live()
    assert (third.ref, second.ref) == ("INC-3", "INC-2")
    assert told(house, second, cmd.Acknowledge).status is Status.ACKNOWLEDGED
    assert [one.ref for one in house.journal.recent()] == ["INC-3", "INC-2"]
    assert [line["incident"] for line in logs if line["log_level"] == "error"] == [first.ref], "and it is said once"


def test_the_news_of_its_alerts_wait_for_a_version_that_can_read_it(
    house: House, entry: Mapping[str, Any], first: Incident
) -> None:
    burns(house, "chat", "chat-2")
    begun = engine(house)
    begun.turn()
    house.clock.after(hours=1)
    begun.turn()
    assert house.journal.waiting_groups() == [first.group_key]
    mends(house, first, entry)
    begun = engine(house)
    begun.take_over()
    begun.turn()
    assert house.journal.waiting_groups() == []
    mended = house.journal.incident(first.id)
    assert mended is not None
    assert mended.firing == 2


def test_an_alert_that_comes_back_to_one_that_is_over_opens_another(house: House) -> None:
    burns(house, "chat", "chat-1")
    house.drain()
    (first,) = house.journal.live()
    told(house, first, cmd.Resolve, reason="it is well", despite_firing=True, despite_doubt=True)
    house.receive(alert(house, "chat", "chat-1", firing=False))
    house.drain()
    house.behind_its_back(NEWER.format(first.id))
    house.reopen()
    house.clock.after(minutes=1)
    burns(house, "chat", "chat-2")
    house.drain()
    assert [one.ref for one in house.journal.live()] == ["INC-2"]


def test_whoever_asks_for_it_is_told_why_not(house: House, first: Incident) -> None:
    said = "INC-1 cannot be read by this version: entry 2 "
    with pytest.raises(Unreadable, match=said):
        house.journal.find("INC-1")
    with pytest.raises(Unreadable, match=said):
        told(house, first, cmd.Acknowledge)


def types(house: House, *words: str) -> Result:
    config = house.folder / "fixfirst.toml"
    config.write_text(f'workspace = "test"\ndatabase = "{house.url}"\n', encoding="utf-8")
    return CliRunner().invoke(main, [words[0], "--config", str(config), *words[1:]])


@pytest.mark.parametrize("first", [NEWER], indirect=True)
def test_on_the_terminal_it_is_listed_as_what_it_is_and_others_can_be_resolved(house: House, first: Incident) -> None:
    for words in (["list"], ["list", "--all"]):
        listed = types(house, *words).stdout.splitlines()
        assert [line.partition(" ")[0] for line in listed] == ["INC-2", first.ref]
        assert listed[1].startswith(SAID)
    refused = types(house, "timeline", "INC-1")
    assert (refused.exit_code, refused.stderr.startswith(f"Error: {SAID}")) == (1, True)
    assert types(house, "resolve", "INC-2", "it is well", "--despite-firing", "--unproven").exit_code == 0
    verified = CliRunner().invoke(main, ["audit", "verify", "--config", str(house.folder / "fixfirst.toml"), "INC-1"])
    assert verified.stderr == "INC-1: entry 2 was changed\n"


def test_the_audit_names_it_for_as_long_as_it_is_on(house: House, entry: Mapping[str, Any], first: Incident) -> None:
    auditor = Auditor(house.journal, house.policy, house.clock)
    auditor.audit()
    (found,) = (finding for finding in auditor.findings() if finding.check is Check.INCIDENTS)
    assert found.about == first.ref
    assert found.text.startswith("INC-1 cannot be read by this version: entry 2 ")
    mends(house, first, entry)
    auditor.audit()
    assert not [finding for finding in auditor.findings() if finding.check is Check.INCIDENTS]


def test_what_was_to_be_told_of_it_waits_and_keeps_no_other_from_being_told(house: House, first: Incident) -> None:
    begun = engine(house)
    begun.turn()
    waiting = effects(house, first)
    assert "waiting" in waiting
    house.clock.after(seconds=10)
    house.behind_its_back(f"UPDATE outbox SET kind = 'of_a_newer_version' WHERE incident = '{first.id}'")
    burns(house, "ranking", "ranking-1")
    begun.turn()
    begun.turn()
    assert effects(house, first) == waiting
    third, second = house.journal.live()
    for other in (second, third):
        assert "done" in effects(house, other)


def effects(house: House, incident: Incident) -> list[str]:
    its = select(outbox.c.state).where(outbox.c.incident == bindparam("its"))
    return house.journal.ask(lambda direct, _: sorted(direct.scalars(its, {"its": incident.id})))


def test_an_archive_run_leaves_it_where_it_is(house: House, first: Incident) -> None:
    house.behind_its_back(
        "UPDATE incident SET live = false, next_due_at = NULL, resolved_at = detected_at, status = 'resolved'"
        f" WHERE id = '{first.id}'"
    )
    house.clock.after(days=400)
    (left,) = move_old(house.journal, house.folder / "archive", house.clock())
    assert (left.ref, type(left)) == ("INC-1", Left)
