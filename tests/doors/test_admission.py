"""Who is let in: rotated secrets, kinds we do not follow, replays; and what the sender hears when we cannot keep it."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from bot.desk import Desk
from bot.incident.effects import EFFECT_NAMES, Page, RefreshCard
from bot.incident.policy import Policy
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.database import migrate, open_engine, sqlite_url
from bot.settings import Secret
from bot.web import doors, intake
from bot.web.doors import Doors, Limits
from bot.workbench.server import Servers, Site, bind
from tests.doors.house import (
    JSON_TYPE,
    NEW_SECRET,
    NEW_TOKEN,
    NOW,
    OLD_SECRET,
    OLD_TOKEN,
    Answer,
    House,
    Street,
    alert,
    pager_event,
    pager_signature,
    webhook,
)

VERIFICATION = b'{"type":"url_verification","token":"x","challenge":"c-1"}'


@pytest.mark.parametrize("token", [OLD_TOKEN, NEW_TOKEN])
def test_while_a_token_is_rotated_both_are_good(house: House, token: str) -> None:
    assert house.alerts(webhook([alert()]), token).status == 200


@pytest.mark.parametrize(
    "secrets", [(OLD_SECRET,), (NEW_SECRET,), (NEW_SECRET, OLD_SECRET), ("somebody else's", OLD_SECRET)]
)
def test_one_good_signature_of_several_is_enough(house: House, secrets: tuple[str, ...]) -> None:
    body = json.dumps(pager_event()).encode()
    assert house.pager(body, pager_signature(body, *secrets)).status == 202


@pytest.mark.parametrize(
    "kind",
    ["pagey.ping", "incident.escalated", "incident.priority_updated", "service.created", "incident.", "nonsense"],
)
def test_kinds_that_we_do_not_follow_are_welcome_and_change_nothing(quiet_house: House, kind: str) -> None:
    before = quiet_house.rows()
    assert quiet_house.pager(pager_event(kind)).status == 202
    assert quiet_house.rows() == before


def test_a_ping_needs_no_time_and_no_incident(quiet_house: House) -> None:
    ping = {"event": {"id": "01P", "event_type": "pagey.ping", "data": {"type": "ping", "message": "Hello"}}}
    assert quiet_house.pager(ping).status == 202


def test_an_event_that_is_sent_again_happens_once(house: House) -> None:
    for _ in range(3):
        assert house.pager(pager_event()).status == 202
    house.turn()
    (incident,) = house.app.journal.recent()
    assert incident.title == "The gateway is slow"
    after = house.rows()
    assert house.pager(pager_event()).status == 202
    assert house.rows()["event"] == after["event"]


def test_slack_hears_its_challenge_and_a_replay_hears_nothing(house: House) -> None:
    first = house.slack(VERIFICATION, more=JSON_TYPE)
    assert (first.status, json.loads(first.body)) == (200, {"challenge": "c-1"})
    for header in ("X-Nothing", "X-Slack-Retry-Num"):
        again = house.slack(VERIFICATION, more={**JSON_TYPE, header: "1"})
        assert (again.status, again.body) == (200, b"")
    assert len(house.logged("slack_replay_ignored")) == 2


def test_half_characters_and_nul_are_stored_without_harm(house: House) -> None:
    odd = "llama \ud83d \x00 \udfff 70b"
    hostile = alert("f\ud800", labels={"alertname": odd, "model_name": odd, odd: odd}, annotations={"summary": odd})
    assert house.alerts(webhook([hostile])).status == 200
    odd_event = pager_event(title=odd, service={"summary": odd}, id="Q\ud800")
    assert house.pager(odd_event).status == 202
    house.turn()
    titles = {incident.title for incident in house.app.journal.recent()}
    assert titles == {"llama ?  ? 70b"}
    assert "\x00" not in str(house.rows())
    assert all(house.app.journal.verify(incident.id) is None for incident in house.app.journal.recent())


def test_a_storm_of_a_thousand_alerts_is_one_incident_one_card_and_one_page(house: House) -> None:
    storm = webhook(
        [
            alert(
                f"{number:016x}",
                labels={
                    "alertname": "GPUXidErrors",
                    "severity": "critical",
                    "cluster": "prod-eu-1",
                    "node": f"gpu-{number // 8:04d}",
                    "gpu": str(number % 8),
                    "pod": f"llama-70b-7d9f8c6b5-{number:05d}",
                    "instance": f"10.{number // 256}.{number % 256}.7:9400",
                    "namespace": f"tenant-{number % 40}",
                },
                annotations={"summary": f"GPU {number % 8} of gpu-{number // 8:04d} is lost", "description": "x" * 230},
            )
            for number in range(1_000)
        ]
    )
    assert 600_000 < len(json.dumps(storm)) < 1024 * 1024
    answer = house.alerts(storm)
    assert answer.status == 200, answer
    assert json.loads(answer.body) == {"ok": True, "alerts": 1_000, "groups_with_news": 1}
    for _ in range(3):
        assert house.alerts(storm).status == 200
    assert house.app.engine.turn() >= 1
    (incident,) = house.app.journal.recent()
    assert (incident.firing, incident.title) == (1_000, "GPUXidErrors (1000 alerts)")
    with closing(sqlite3.connect(house.app.config.data_dir / "fixfirst.db")) as database:
        kinds = [kind for (kind,) in database.execute("SELECT kind FROM outbox")]
    assert kinds.count(EFFECT_NAMES[RefreshCard]) == 1
    assert kinds.count(EFFECT_NAMES[Page]) == 1


def busy(answer: Answer) -> bool:
    return answer.status == 503 and int(answer.headers["retry-after"]) > 0 and "try again" in answer.error


def test_a_journal_that_does_not_answer_is_busy_and_recovers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in (doors, intake):
        monkeypatch.setattr(room, "COMMIT_WITHIN_S", 0.2)
    assert house.pager(pager_event()).status == 202
    acknowledged = pager_event("incident.acknowledged", "01TAKEN0000001")
    with house.stuck():
        assert busy(house.pager(acknowledged))
        assert busy(house.alerts(webhook([alert()])))
        assert busy(house.alerts(webhook([alert()])))
    assert house.alerts(webhook([alert()])).status == 200
    assert house.pager(acknowledged).status == 202
    (taken,) = (incident for incident in house.app.journal.recent() if incident.acknowledged)
    assert taken.title == "The gateway is slow"
    assert house.logged("door_busy")
    assert "canary" not in repr(house.lines)


def test_more_alerts_than_may_wait_are_answered_busy_and_taken_when_they_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_ALERTS", 30)
    bodies = [webhook([alert(f"f{body}-{nth}") for nth in range(20)]) for body in range(3)]
    with ThreadPoolExecutor(3) as senders, house.stuck():
        answers = [senders.submit(house.alerts, body) for body in bodies]
        first = next(as_completed(answers)).result()
        assert busy(first), "one is under way, one waits, and one is too many"
    assert sorted(answer.result().status for answer in answers) == [200, 200, 503]
    assert [house.alerts(body).status for body in bodies] == [200, 200, 200]
    assert [line["reason"] for line in house.logged("door_busy")] == ["too many alerts are waiting to be written"]


def test_a_damaged_database_is_busy_and_not_the_senders_fault(house: House) -> None:
    with closing(sqlite3.connect(house.app.config.data_dir / "fixfirst.db")) as database:
        database.execute("DROP TABLE alert")
    assert busy(house.alerts(webhook([alert()])))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Street, Callable[[int], None]]]:
    """Doors over a journal that may grow by so many pages of 4 KiB as was last said, 8 at first."""
    database = open_engine(sqlite_url(tmp_path))
    migrate(database)
    with database.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    room = 8

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={used + room}")

    def give(pages: int) -> None:
        nonlocal room
        room = pages
        database.dispose()

    event.listen(database, "connect", limit)
    give(room)
    journal = Journal(database, "default", lambda: NOW, lambda _: None)
    front = Doors(
        Desk(journal, Policy(), Reading(), lambda: None),
        tokens={"alertmanager": [Secret(NEW_TOKEN)]},
        pagerduty_settings=None,
        slack=None,
        limits=Limits(),
    )
    listener = bind(0, "--doors-port")
    servers = Servers([Site(front.app, listener)])
    servers.start()
    yield Street(listener.getsockname()[1]), give
    servers.stop()
    front.close()
    journal.close()


def test_a_full_disk_is_busy_keeps_what_was_accepted_and_recovers(
    small_disk: tuple[Street, Callable[[int], None]], tmp_path: Path
) -> None:
    street, give = small_disk
    accepted: list[str] = []
    answer = street.alerts(webhook([alert("f0")]))
    while answer.status == 200 and len(accepted) < 400:
        accepted.append(f"f{len(accepted)}")
        answer = street.alerts(webhook([alert(f"f{len(accepted)}", annotations={"summary": "x" * 300})]))
    assert busy(answer), answer
    assert accepted
    give(10_000)
    assert street.alerts(webhook([alert("room-again")])).status == 200
    with closing(sqlite3.connect(tmp_path / "fixfirst.db")) as database:
        kept = {row[0] for row in database.execute("SELECT fingerprint FROM alert")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert kept == {*accepted, "room-again"}
