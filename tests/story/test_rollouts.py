"""A roll-out that nobody told of, and one that two sides tell of: a real Prometheus beside the real bot."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from bot.incident import events as ev
from tests.health.conftest import PAST, Past, remembering
from tests.health.test_rollouts import HOUR, MIN, Cluster, deployed
from tests.story.night import ELSEWHERE, MAYA, SAM, Night, open_night, told
from tests.story.test_changes import deploys

__all__ = ["remembering"]


@pytest.fixture
def night(tmp_path: Path, remembering: Callable[[Past], str]) -> Iterator[Night]:
    """A night in which llama-70b was rolled out forty minutes ago, as only Kubernetes knows."""
    cluster = Cluster()
    deployed(cluster, when=40 * MIN)
    asked = {"[prometheus]\nurl": f'[prometheus]\nurl = "{remembering(cluster.past)}"\n#'}
    (tmp_path / "night").mkdir()
    with open_night(tmp_path / "night", settings=asked) as night:
        night.clock.now = datetime.now(UTC)
        night.app.slack.learn() if night.app.slack else None
        yield night


def test_what_nobody_told_is_on_the_card_and_at_its_own_time(night: Night) -> None:
    night.burns()
    assert "Deployed llama-70b: llama:1.4.2 -&gt; 1.4.3" in told(night.card)
    (entry,) = [e for e in night.app.journal.entries(night.incident.id) if isinstance(e.event, ev.ChangeFound)]
    assert 39 * 60 < (night.incident.opened_at - entry.at).total_seconds() < 42 * 60
    assert not night.said("Changed while you were looking")


def test_the_pipelines_later_word_takes_the_line_of_what_was_seen(night: Night) -> None:
    night.burns()
    image = "mirror.example/llama:1.4.3"
    deploys(night, 38, image=image, previous_image="", previous="", revision="7f3c2e1", title="Ship 1.4.3")
    (change,) = night.incident.changes
    assert (change.title, change.by, change.previous_image) == (
        "Ship 1.4.3",
        "Jonas",
        "registry.example/serving/llama:1.4.2",
    )
    assert not night.said("Changed while you were looking"), "it has been on the card all along"
    lines = night.types(SAM, "/incident timeline", night.incident.channel)
    assert "Ship 1.4.3" in lines
    assert "Deployed llama-70b" not in lines


def test_what_the_pipeline_told_first_is_not_found_again(night: Night) -> None:
    deploys(night, 38, image="llama:1.4.3")
    night.burns()
    assert [one.source for one in night.incident.changes] == ["change"]
    assert len(night.events(ev.ChangeFound)) == 1


def test_who_returns_does_not_find_the_same_roll_out_again(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident resolve quiet again", night.incident.channel)
    night.after(minutes=1).burns()
    assert night.incident.generation == 2
    assert len(night.events(ev.ChangeFound)) == 1


def _three_until(until: float, ago: float) -> float:
    """Replicas, by seconds before now."""
    return 3 if ago > until or not until else 0


def test_one_word_of_a_pipeline_speaks_for_one_roll_out_and_what_follows_within_minutes_is_shown(
    tmp_path: Path, remembering: Callable[[Past], str]
) -> None:
    cluster = Cluster()
    for revision, since, until in (("r41", 9 * HOUR, 40 * MIN), ("r42", 40 * MIN, 28 * MIN), ("r43", 28 * MIN, 0.0)):
        owner = cluster.replicaset("llama-70b", revision, partial(_three_until, until), created_ago=since)
        image = f"registry.example/serving/llama:{revision}"
        lasts = min(since, PAST)
        cluster.pod("ReplicaSet", owner, f"llama-70b-{revision}-a", image, since=lasts, until=until, model="llama-70b")
    asked = {"[prometheus]\nurl": f'[prometheus]\nurl = "{remembering(cluster.past)}"\n#'}
    with open_night(tmp_path, settings=asked) as night:
        night.clock.now = datetime.now(UTC)
        deploys(night, 39, image="", previous_image="", revision="7f3c2e1", previous="", title="Ship it")
        night.burns()
        card = told(night.card)
        assert "Ship it" in card
        assert "llama:r42 -&gt; r43" in card, "a hot fix that nobody told of"
        assert len(night.incident.changes) == 2
        assert not night.said("Changed while you were looking")
        events = len(night.events(ev.ChangeFound))
        night.recovers()
        night.types(MAYA, "/incident resolve quiet again", night.incident.channel)
        night.after(minutes=1).burns()
        assert len(night.events(ev.ChangeFound)) == events, "who returns finds nothing again"


def test_the_word_asks_both_sides(night: Night) -> None:
    deploys(night, 5, kind="flag", title="speculative decoding on", image="", revision="")
    listed = night.types(MAYA, "/incident changes llama-70b", ELSEWHERE)
    assert "2 changes" in listed
    assert listed.index("speculative decoding on") < listed.index("Deployed llama-70b")
    assert "seen in Kubernetes" in listed
