"""Alerts through both stages of intake on a real ledger."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bot.incident import commands as cmd
from bot.incident.alert import Alert
from bot.incident.events import AlertsReported
from bot.incident.state import Status
from bot.intake.reading import Reading, group_key
from tests.journal.conftest import MAYA, House


def test_a_thousand_alerts_in_one_request_become_one_incident(house: House) -> None:
    storm = [house.alert(f"f{n}", labels={"service": f"svc-{n}"}, service=f"svc-{n}") for n in range(1000)]
    assert house.receive(*storm) == 1
    house.drain()
    (incident,) = house.journal.live()
    assert incident.firing == 1000
    assert len(incident.samples) == 5


def test_a_repeat_changes_nothing_but_is_seen(house: House) -> None:
    alert = house.alert("f1")
    house.receive(alert)
    house.drain()
    before = house.journal.live()[0]
    house.clock.after(minutes=1)
    assert house.receive(alert) == 0
    assert house.receive(alert) == 0
    house.desk.count_repeats()
    row = house.journal.write(lambda txn: txn.known_alerts("alertmanager", ["f1"])).result()["f1"]
    assert row.times == 3
    assert row.last_seen == house.clock.now
    assert house.journal.live()[0].seq == before.seq


def test_the_same_alert_twice_in_one_request_counts_once(house: House) -> None:
    house.receive(house.alert("f1"), house.alert("f1"))
    house.drain()
    assert house.journal.live()[0].firing == 1


def test_an_orphan_resolve_opens_nothing(house: House) -> None:
    assert house.receive(house.alert("f1", firing=False)) == 0
    assert house.journal.waiting_groups() == []


def test_what_is_over_before_it_is_worked_in_opens_nothing_and_is_logged(house: House) -> None:
    firing = house.alert("f1")
    house.receive(firing)
    house.clock.after(seconds=1)
    house.receive(replace(firing, firing=False, ends_at=house.clock.now))
    brief = house.alert("f2", labels={"service": "search"}, service="search")
    house.receive(brief, replace(brief, firing=False, ends_at=house.clock.now))
    with capture_logs() as lines:
        house.drain()
        desk = house.desk
        house.reopen()  # ends the threads that write, so all that they had to say is said
    assert house.journal.recent(5) == ()
    assert house.journal.waiting_groups() == []
    told = sorted((line["group"], line["source"], line["began"], line["ended"]) for line in lines)
    chat, search = (Reading().group_of(one.name, one.labels) for one in (firing, brief))
    assert told == sorted([(chat, "alertmanager", 1, 1), (search, "alertmanager", 0, 1)])
    assert desk.unopened == 2


def test_an_alert_that_joins_an_incident_and_is_over_at_once_stands_in_its_timeline(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    second = house.alert("f2")
    house.receive(second)
    house.receive(replace(second, firing=False, ends_at=house.clock.now))
    with capture_logs() as lines:
        house.drain()
        house.reopen()
    (live,) = house.journal.live()
    last = house.journal.entries(live.id)[-1].event
    assert isinstance(last, AlertsReported)
    assert (last.firing, last.new) == (1, 1)
    assert lines == []


def test_firing_and_resolved_come_together_in_one_message(house: House) -> None:
    start = house.alert("f1")
    house.receive(start, house.alert("f2"))
    house.drain()
    house.clock.after(minutes=3)
    house.receive(replace(start, firing=False, ends_at=house.clock.now), house.alert("f3"))
    house.drain()
    (incident,) = house.journal.live()
    assert (incident.firing, incident.recovered) == (2, 1)


def test_what_is_missing_from_a_message_is_not_resolved(house: House) -> None:
    house.receive(house.alert("f1"), house.alert("f2"))
    house.drain()
    house.receive(house.alert("f1"), truncated=900)
    house.drain()
    assert house.journal.live()[0].firing == 2


def test_truncated_alerts_are_said(house: House) -> None:
    house.receive(house.alert("f1"), truncated=900)
    house.drain()
    assert house.journal.live()[0].truncated == 900


def test_a_firing_message_overtaken_by_its_own_end_does_not_burn_for_ever(house: House) -> None:
    firing = house.alert("f1")
    house.receive(firing)
    house.drain()
    house.clock.after(minutes=5)
    house.receive(replace(firing, firing=False, ends_at=house.clock.now))
    house.receive(firing)
    house.drain()
    assert house.journal.live()[0].firing == 0


def firing(house: House) -> int:
    """How many alerts burn in the only incident there is; 0 where there is none."""
    return sum(incident.firing for incident in house.journal.live())


def row(house: House, fingerprint: str) -> Alert:
    """The ledger's row of this alert."""
    return house.journal.write(lambda txn: txn.known_alerts("alertmanager", [fingerprint])).result()[fingerprint]


def test_an_end_that_overtakes_its_beginning_is_not_forgotten(house: House) -> None:
    start = house.alert("f1")
    house.clock.after(minutes=2)
    house.receive(replace(start, firing=False, ends_at=house.clock.now))
    house.receive(start)
    house.drain()
    assert firing(house) == 0


def test_the_end_of_an_earlier_episode_does_not_end_the_later_one(house: House) -> None:
    first = house.alert("f1")
    house.receive(first)
    house.drain()
    house.clock.after(minutes=3)
    ended = replace(first, firing=False, ends_at=house.clock.now)
    house.clock.after(minutes=1)
    house.receive(replace(first, starts_at=house.clock.now))
    house.receive(ended)
    house.drain()
    assert firing(house) == 1


def test_the_end_of_a_later_episode_may_come_before_its_beginning(house: House) -> None:
    first = house.alert("f1")
    house.receive(first)
    house.drain()
    house.clock.after(minutes=1)
    house.receive(replace(first, firing=False, ends_at=house.clock.now))
    house.clock.after(minutes=1)
    second = replace(first, starts_at=house.clock.now)
    house.clock.after(minutes=1)
    house.receive(replace(second, firing=False, ends_at=house.clock.now))
    house.receive(second)
    house.drain()
    assert firing(house) == 0


def test_however_the_messages_of_an_alert_are_shuffled_it_stands_as_the_last_one_says(house: House) -> None:
    words = []
    for minute in range(3):
        start = house.alert("shuffled", starts_at=house.clock.now + timedelta(minutes=minute))
        words += [start, replace(start, firing=False, ends_at=start.starts_at + timedelta(seconds=30))]
    house.clock.after(minutes=3)
    for last, said in (("resolved", words), ("firing", words[:-1])):
        for number, order in enumerate(permutations(said)):
            of = f"{last}{number}"
            for word in order:
                house.receive(replace(word, fingerprint=of))
            assert row(house, of).status == last, order


def test_a_refire_soon_reopens_and_a_late_one_opens_a_linked_incident(house: House) -> None:
    def episode() -> None:
        alert = house.alert("f1")
        house.receive(alert)
        house.drain()
        house.clock.after(minutes=5)
        house.receive(replace(alert, firing=False, ends_at=house.clock.now))
        house.drain()

    def resolve(key: str) -> None:
        (live,) = house.journal.live()
        house.desk.handle(
            cmd.Resolve(incident=live.id, by=MAYA, at=house.clock(), key=key, source="slack", reason="quiet")
        )

    episode()
    resolve("k1")
    house.clock.after(minutes=10)
    episode()
    (first,) = house.journal.live()
    assert (first.number, first.generation, first.status) == (1, 2, Status.OPEN)
    resolve("k2")
    house.clock.after(hours=2)
    episode()
    (second,) = house.journal.live()
    assert second.number == 2
    assert second.recurs == first.id


def test_a_snoozed_incident_whose_alert_burns_on_pages_again(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    (live,) = house.journal.live()
    house.desk.handle(
        cmd.Resolve(
            incident=live.id,
            by=MAYA,
            at=house.clock(),
            key="k",
            source="slack",
            reason="known",
            despite_firing=True,
        )
    )
    house.clock.after(minutes=30)
    assert house.journal.due(house.clock()) == [live.id]
    house.desk.check_timers(live.id).result()
    (again,) = house.journal.live()
    assert again.generation == 2
    house.desk.check_timers(live.id).result()
    assert house.journal.live()[0].generation == 2


def test_what_burns_on_long_after_its_end_was_told_burns_again(house: House) -> None:
    firing = house.alert("f1")
    house.receive(firing)
    house.drain()
    house.clock.after(minutes=5)
    house.receive(replace(firing, firing=False, ends_at=house.clock.now))
    house.clock.after(minutes=20)
    house.receive(firing)
    house.drain()
    assert house.journal.live()[0].firing == 1


def test_a_snooze_that_ends_late_still_gets_its_own_alerts(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    (live,) = house.journal.live()
    house.desk.handle(
        cmd.Resolve(
            incident=live.id, by=MAYA, at=house.clock(), key="k", source="slack", reason="known", despite_firing=True
        )
    )
    house.clock.after(minutes=31)
    house.receive(house.alert("f2"))
    house.drain()
    for incident_id in house.journal.due(house.clock()):
        house.desk.check_timers(incident_id).result()
    (again,) = house.journal.live()
    assert again.id == live.id
    assert house.journal.due(house.clock()) == []


def test_alerts_of_one_model_are_one_incident_whatever_their_names(house: House) -> None:
    house.receive(house.alert("f1"))
    house.receive(house.alert("f2", name="LLMTTFTp99AboveSLA"))
    house.drain()
    assert len(house.journal.live()) == 1


def test_what_one_dying_gpu_sets_off_is_one_incident(house: House) -> None:
    on_node: dict[str, Any] = {"labels": {"node": "node-2", "gpu": "1"}, "service": "", "model": ""}
    house.receive(house.alert("f1", name="GPUVanished", **on_node), house.alert("f2", name="GPUXid", **on_node))
    house.drain()
    assert len(house.journal.live()) == 1


@given(st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=400), max_size=8))
def test_any_labels_give_a_key_that_fits_and_names_its_recipe(labels: dict[str, str]) -> None:
    key = Reading().group_of("SomeAlert", labels)
    assert key.startswith("v1:")
    assert len(key) <= 300


def test_long_keys_that_differ_only_at_their_end_stay_apart() -> None:
    assert group_key([("service", "x" * 400 + "a")]) != group_key([("service", "x" * 400 + "b")])


def test_a_secret_in_a_note_never_reaches_the_disk(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    (live,) = house.journal.live()
    note = cmd.AddNote(
        incident=live.id, by=MAYA, at=house.clock(), key="n", source="slack", text="password=correct-horse"
    )
    house.desk.handle(note)
    house.reopen()
    stored = house.stored()
    assert "[secret]" in stored
    assert "correct-horse" not in stored
