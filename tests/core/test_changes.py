"""Which of the changes that two sides know of are one. Plain data, no clock."""

from datetime import UTC, datetime, timedelta

from bot.incident.change import KUBERNETES, Change, is_known, merged, news

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def told(id_: str, minute: float, image: str = "") -> Change:
    return Change(id_, "change", NOW + timedelta(minutes=minute), model="llama-70b", image=image)


def seen(minute: float, image: str, workload: str = "inference/llama-70b") -> Change:
    at = NOW + timedelta(minutes=minute)
    return Change(f"{workload}@{minute}", KUBERNETES, at, model="llama-70b", workload=workload, image=image)


def ids(changes: tuple[Change, ...] | list[Change]) -> list[str]:
    return [one.id for one in changes]


def test_one_word_speaks_for_one_roll_out_the_nearest() -> None:
    first, fix = seen(2, "llama:2"), seen(14, "llama:3")
    assert ids(merged([told("ci", 0), first, fix])) == [fix.id, "ci"]
    assert merged([told("ci", 13), first, fix])[0].image == "llama:3"


def test_a_deploy_of_two_workloads_is_one_change() -> None:
    prefill, decode = seen(1, "vllm:2", "inference/prefill"), seen(3, "vllm:2", "inference/decode")
    assert ids(merged([told("ci", 0), prefill, decode])) == ["ci"]


def test_each_of_two_words_has_its_own_roll_out() -> None:
    both = merged([told("a", 0), told("b", 9), seen(1, "llama:2"), seen(10, "llama:3")])
    assert [(one.id, one.image) for one in both] == [("b", "llama:3"), ("a", "llama:2")]


def test_an_image_that_both_name_says_more_than_the_time() -> None:
    both = merged([told("a", 0, "llama:2"), told("b", 9), seen(8, "llama:2"), seen(18, "llama:3")])
    assert [(one.id, one.image) for one in both] == [("b", "llama:3"), ("a", "llama:2")]


def test_going_back_by_hand_after_a_told_deploy_is_news() -> None:
    shipped, back = seen(1, "llama:2"), seen(12, "llama:1")
    fresh, before = news([told("ci", 0)], [back, shipped])
    assert (ids(fresh), ids(before)) == ([back.id], [shipped.id])


def test_what_was_told_is_no_news_and_leaves_nothing_to_note() -> None:
    assert news([told("ci", 0)], [seen(1, "llama:2")]) == ([], [])


def test_what_an_incident_noted_stays_told_apart_however_it_comes_in() -> None:
    shipped, back = seen(8, "llama:2"), seen(1, "llama:1")
    known: tuple[Change, ...] = (told("ci", 0),)
    fresh, before = news(known, [shipped, back])
    for one in before + fresh:  # as its events are folded, one after another
        known = merged([*known, one])
    assert ids(known) == [shipped.id, "ci"]
    assert all(is_known(known, one) for one in (shipped, back))
    assert news(known, [shipped, back]) == news(known, [shipped]) == ([], [])
