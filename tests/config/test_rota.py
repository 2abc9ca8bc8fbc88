"""The rota in fixfirst.toml: whose turn it is depends on absolute time and on nothing else."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bot.oncall import Rota, StaticOnCall

MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
THREE = Rota("primary", ("U1", "U2", "U3"), MONDAY, WEEK)


@pytest.mark.parametrize(
    ("since", "first"),
    [
        (timedelta(0), "U1"),
        (WEEK - timedelta(microseconds=1), "U1"),
        (WEEK, "U2"),
        (2 * WEEK, "U3"),
        (3 * WEEK, "U1"),
        (-timedelta(microseconds=1), "U3"),
        (-WEEK, "U3"),
        (-WEEK - timedelta(microseconds=1), "U2"),
        (52 * 10 * WEEK, "U2"),
    ],
)
def test_turns_go_round_from_the_handover_on_also_backwards(since: timedelta, first: str) -> None:
    order = THREE.order(MONDAY + since)
    assert order[0] == first
    assert sorted(order) == ["U1", "U2", "U3"]


def test_after_the_first_come_the_next_ones_in_turn() -> None:
    assert THREE.order(MONDAY + WEEK) == ("U2", "U3", "U1")


def test_a_change_of_the_clocks_neither_skips_nor_doubles_a_turn() -> None:
    """Europe goes to summer time on 29 March 2026: the turn still lasts 168 hours and ends at 11:00 by the wall."""
    berlin = ZoneInfo("Europe/Berlin")
    written = {"users": ["U1", "U2"], "handover": "2026-03-23T10:00:00+01:00"}
    (rota,) = StaticOnCall.from_toml({"rota": [written]})[0].rotas
    end = datetime(2026, 3, 30, 11, 0, tzinfo=berlin)
    assert rota.order(end - timedelta(minutes=1))[0] == "U1"
    assert rota.order(end)[0] == "U2"
    hours = [rota.order(datetime(2026, 3, 23, 9, 0, tzinfo=UTC) + timedelta(hours=n))[0] for n in range(336)]
    assert (hours.count("U1"), hours.count("U2")) == (168, 168)


def test_the_zone_in_which_one_asks_does_not_matter() -> None:
    moment = MONDAY + WEEK
    for zone in ("Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"):
        assert THREE.order(moment.astimezone(ZoneInfo(zone))) == THREE.order(moment)


def test_of_several_rotas_the_first_of_each_comes_before_any_successor_and_nobody_twice() -> None:
    second = Rota("secondary", ("U3", "U4"), MONDAY, WEEK)
    assert StaticOnCall((THREE, second)).on_call(MONDAY) == ("U1", "U3", "U2", "U4")
    assert StaticOnCall((THREE, second)).on_call(MONDAY + 2 * WEEK) == ("U3", "U1", "U2", "U4")


def test_without_a_rota_nobody_is_on_call() -> None:
    assert StaticOnCall(()).on_call(MONDAY) == ()


@pytest.mark.parametrize("handover", [MONDAY, MONDAY.isoformat(), "2026-01-05T10:00:00+01:00", "2026-01-05 09:00Z"])
def test_the_handover_is_written_as_toml_writes_times_or_in_quotes(handover: object) -> None:
    read, faults = StaticOnCall.from_toml({"rota": [{"users": ["U1", "U2"], "handover": handover, "every": "12h"}]})
    assert faults == []
    assert read.rotas == (Rota("primary", ("U1", "U2"), MONDAY, timedelta(hours=12)),)


def test_one_faulty_rota_does_not_hide_the_others_faults() -> None:
    read, faults = StaticOnCall.from_toml(
        {"rota": [{"users": []}, {"handover": MONDAY, "users": ["U1"], "every": "x"}]}
    )
    assert [fault.partition(":")[0] for fault in faults] == [
        "oncall.rota[1].handover",
        "oncall.rota[1].users",
        "oncall.rota[2].every",
    ]
    assert len(read.rotas) == 1
