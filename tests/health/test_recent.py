"""The check of recent changes with what pipelines told: a flag shows nowhere in Kubernetes."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.health import Settings, catalogue
from bot.health.observation import Observation, Sample, observe, unknown
from bot.health.recent import CHANGE_CHECK, samples, with_changes
from bot.incident.change import Change, ChangeKind

NOW = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)
(CHECK,) = (check for check in catalogue(Settings()) if check.id == CHANGE_CHECK)


def told(minutes: int, kind: ChangeKind = ChangeKind.FLAG, revision: str = "r42") -> Change:
    return Change(f"c{minutes}", "change", NOW - timedelta(minutes=minutes), kind, model="llama-70b", revision=revision)


def deployed(minutes: int) -> Observation:
    """What Kubernetes shows of the youngest ReplicaSet."""
    sample = Sample({"model_name": "llama-70b", "revision": "r41"}, 60.0 * minutes)
    return observe(CHECK, "q", [sample], 300, "model")


def judged(seen: Observation, *changes: Change) -> Observation:
    (one,) = with_changes([seen], changes, NOW, Settings())
    return one


def test_a_flag_that_kubernetes_does_not_show_is_a_recent_change() -> None:
    seen = judged(deployed(600), told(4))
    assert (seen.status, seen.value, seen.text) == ("warn", 240, "changed 4 min ago")
    assert seen.offender == "llama-70b r42"


def test_it_is_one_too_where_nothing_tells_of_roll_outs() -> None:
    assert judged(unknown(CHECK, "q", "nothing tells when it was deployed", "model"), told(4)).status == "warn"


def test_a_younger_roll_out_stays() -> None:
    seen = judged(deployed(2), told(4))

    assert (seen.value, seen.text) == (120, deployed(2).text)
    assert [sample.value for sample in seen.series] == [120, 240]


def test_what_was_told_long_ago_says_that_little_changed_of_late() -> None:
    assert judged(unknown(CHECK, "q", "nothing tells", "model"), told(90)).status == "ok"


@pytest.mark.parametrize("kind", [ChangeKind.SCALE, ChangeKind.INFRA])
def test_what_no_rollback_takes_back_is_no_suspect(kind: ChangeKind) -> None:
    assert judged(deployed(600), told(4, kind)) == deployed(600)


def test_what_is_still_to_come_is_left_out() -> None:
    assert samples([told(-3)], NOW) == ()
