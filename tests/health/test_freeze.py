"""What is kept of a look at the telemetry, from when users felt it, and how two looks compare."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.health import Observation, Report, Sample, Verdict, freeze
from bot.health.causes import CAUSES
from bot.health.chart import Picture, draw
from bot.health.compare import compare
from bot.health.freeze import evidence_id, felt_since, picture_of, short_title
from bot.health.series import Line, Recording, Series
from bot.incident import rating
from bot.incident.change import GONE, KUBERNETES, Change, ChangeKind, Setting
from tests.health.test_chart import END, TIMES, recording

NOW = END


def check(name: str, status: str, value: float | None, **more: object) -> Observation:
    values: dict[str, object] = {
        "check": name,
        "group": "users",
        "title": {"U1": "Errors", "U2": "First token"}.get(name, name),
        "status": status,
        "value": value,
        "text": f"{name} is {status}",
        "offender": "",
        "query": "q",
        "scope": "model",
        "unit": "seconds" if name == "U2" else "share",
        "warn": 2.5 if name == "U2" else 0.01,
    }
    return Observation(**{**values, **more})  # type: ignore[arg-type]


def report(*checks: Observation, **more: object) -> Report:
    values: dict[str, object] = {
        "at": NOW,
        "model": "llama-70b",
        "verdict": Verdict.OUTAGE,
        "impact": "all fail",
        "cause_id": "hardware",
        "cause": "Hardware",
        "agree": 1,
        "signals": 1,
        "second": "",
        "runbooks": (),
        "not_advised": (),
        "unknowns": (),
        "checks": checks,
    }
    return Report(**{**values, **more})  # type: ignore[arg-type]


def test_the_same_look_has_the_same_id_and_another_look_another() -> None:
    assert evidence_id("job-1") == evidence_id("job-1") != evidence_id("job-2")
    assert len(evidence_id("job-1")) == len("EV-7F3K2QAB")


@pytest.mark.parametrize(
    ("cause", "title"),
    [
        ("", "[OUTAGE] llama-70b: U1 is crit"),
        ("Recent change", "[OUTAGE] llama-70b: U1 is crit (recent change)"),
        ("GPU lost on node-7", "[OUTAGE] llama-70b: U1 is crit (GPU lost on node-7)"),
    ],
)
def test_a_title_says_what_users_feel_and_why(cause: str, title: str) -> None:
    seen = report(check("U2", "warn", 3.0), check("U1", "crit", 0.3), headline_cause=cause)
    assert short_title(seen) == title


def test_users_felt_it_from_the_earliest_of_what_is_bad_now() -> None:
    errors = tuple((at, 0.3 if at > TIMES[-1] - 600 else 0.0) for at in TIMES)
    past = Recording(recording().begin, END, (Series("errors", "", 30, (Line({}, errors),)),))
    assert felt_since(report(check("U1", "ok", 0.0)), past) is None, "what is over is not felt"
    began = felt_since(report(check("U1", "crit", 0.3)), past)
    assert began is not None
    assert abs((END - began) - timedelta(minutes=10)) <= timedelta(seconds=60)
    known = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
    assert felt_since(report(check("U1", "crit", 0.3, since=known)), past) == known


def test_what_was_bad_is_held_against_what_is_now() -> None:
    before = report(check("U1", "crit", 0.31), check("U2", "warn", 6.8), check("U3", "ok", 0.0))
    after = report(check("U1", "ok", 0.001), check("U2", "warn", 3.1))
    assert compare(before, after) == [
        "Errors 31.0% → 0.1% (limit 1.0%)",
        "First token 6.8 s → 3.1 s (limit 2.5 s), still past it",
    ]
    assert compare(before, report()) == [
        "Errors 31.0% → not known (limit 1.0%)",
        "First token 6.8 s → not known (limit 2.5 s)",
    ]


def test_a_picture_that_cannot_be_drawn_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(*_: object) -> bytes:
        raise ValueError("a font is missing")

    monkeypatch.setattr("bot.health.freeze.draw", stumbles)
    assert picture_of(report(), recording(), (), 2.5) is None


def test_what_would_be_too_large_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Remembered:
        def record(self, _: Report) -> Recording:
            return recording(30)

    monkeypatch.setattr(freeze, "LARGEST", 40_000)
    kept = freeze.freeze(Remembered(), report(), (), 2.5)  # type: ignore[arg-type]
    assert "gpus: too large" in kept.missing
    assert [piece.name for piece in kept.pieces][-1] == "picture"


def test_every_cause_that_can_be_named_can_be_chosen_as_what_it_was() -> None:
    assert {cause.id for cause in CAUSES} <= set(rating.CAUSES)


def aged(**ages: tuple[float, dict[str, str]]) -> Report:
    """A report whose check of changes saw these, each so many minutes ago under its labels."""
    series = tuple(Sample(labels, 60.0 * minutes) for minutes, labels in ages.values())
    return report(check("E4", "warn", 300.0, group="change", unit="age", series=series))


def change(minutes: float, source: str = "ci", **more: object) -> Change:
    return Change("deploy-1", source, NOW - timedelta(minutes=minutes), model="llama", **more)  # type: ignore[arg-type]


def said(report: Report, *known: Change) -> list[tuple[int, str]]:
    """The marks, with how many minutes ago."""
    return [(round((NOW - one.at).total_seconds() / 60), one.text) for one in freeze.changes_of(report, known)]


def test_changes_are_marked_however_old_in_the_words_of_who_told_of_them() -> None:
    assert said(
        report(),
        change(70, revision="r42"),
        change(12, image="registry.example/serving/llama:1.4.3"),
        change(5, kind=ChangeKind.CONFIG, settings=(Setting("max_num_seqs", "64", "256"),)),
        change(4, kind=ChangeKind.INFRA, title="Driver 570"),
        change(3, title=GONE),
    ) == [
        (70, "deploy r42"),
        (12, "deploy llama:1.4.3"),
        (5, "config max_num_seqs"),
        (4, "infra Driver 570"),
        (3, "change"),
    ]


def test_a_change_that_the_report_found_too_is_marked_once() -> None:
    rolled = {"model_name": "llama", "replicaset": "llama-7f"}
    both = aged(one=(12, rolled), again=(12.2, {"model_name": "llama", "revision": "7f"}))

    assert said(both) == [(12, "deploy llama-7f")]
    assert said(both, change(14, revision="r42")) == [(14, "deploy r42")], "a pipeline tells before the pods are there"
    assert said(both, change(12, revision="r42", service="other")) == [(12, "deploy r42")]
    seen = change(26, KUBERNETES, revision="7f", workload="prod/llama")
    begun = replace(seen, id="prod/llama-7f@2026-11-21T04:04")
    assert said(aged(one=(12, rolled)), begun) == [(26, "deploy 7f")], "by its name, whenever it took its first pod"
    assert said(both, change(50, revision="r41")) == [(50, "deploy r41"), (12, "deploy llama-7f")]
    assert said(both, replace(change(14, revision="r42"), model="mistral")) == [
        (14, "deploy r42"),
        (12, "deploy llama-7f"),
    ]


def test_the_picture_shows_the_newest_changes_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Picture] = []

    def draws(picture: Picture) -> bytes:
        drawn.append(picture)
        return draw(picture)

    monkeypatch.setattr(freeze, "draw", draws)

    known = [change(minutes, revision=f"r{minutes}") for minutes in (200, 80, 60, 45, 30, 20, 10)]
    assert picture_of(report(), recording(), (), 2.5, known)
    assert picture_of(report(), recording(), (), 2.5, known[:3])

    many, few = ([mark.text for mark in one.marks] for one in drawn)
    assert many == ["more changes", "deploy r45", "deploy r30", "deploy r20", "deploy r10"]
    assert few == ["deploy r80", "deploy r60"]
