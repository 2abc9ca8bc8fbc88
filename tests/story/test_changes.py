"""What was changed: told by a pipeline at the door, seen on the card, in the timeline, and in the words of chat."""

import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.health import freeze
from bot.health.chart import Picture, draw
from bot.incident import events as ev
from bot.incident.entry import Entry
from tests.story.night import ELSEWHERE, MAYA, SAM, Night, measuring, open_night, told

DOCS = Path(__file__).parents[2] / "docs"


def tells(night: Night, /, **change: Any) -> tuple[int, dict[str, Any]]:
    """A pipeline tells of a change, as CI does; status and answer."""
    headers = {"Authorization": f"Bearer {night.bench.secrets.change_token}"}
    status, answer = night.post("/hooks/change", json.dumps(change).encode(), headers)
    night.settle()
    return status, json.loads(answer)


def deploys(night: Night, minutes_ago: int = 0, /, **more: Any) -> dict[str, Any]:
    """A deploy of the model that burns in these stories."""
    change = {
        "id": f"deploy-{minutes_ago}",
        "model": "llama-70b",
        "revision": "r42",
        "previous": "r41",
        "image": "registry.example/serving/llama:1.4.3",
        "previous_image": "registry.example/serving/llama:1.4.2",
        "by": "Jonas",
        "url": "https://ci.example/runs/812",
        "at": ago(night, minutes_ago).isoformat(),
        **more,
    }
    status, answer = tells(night, **change)
    assert status == 200, answer
    return answer


def ago(night: Night, minutes: int) -> datetime:
    return night.clock.now - timedelta(minutes=minutes)


def entries(night: Night) -> list[Entry]:
    """The entries of the newest incident that are about changes."""
    return [e for e in night.app.journal.entries(night.incident.id) if isinstance(e.event, ev.ChangeFound)]


def test_what_was_deployed_long_before_the_page_is_marked_on_the_picture_once(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Picture] = []

    def draws(picture: Picture) -> bytes:
        drawn.append(picture)
        return draw(picture)

    monkeypatch.setattr(freeze, "draw", draws)
    deploys(night, 45)
    deploys(night, 12, revision="r43", previous="r42")
    with measuring(night, {"http_requests_total": 0.3}):
        night.burns()
        night.through(seconds=5)

    marked = {mark.text: night.clock.now - mark.at for mark in drawn[0].marks if mark.kind == "change"}
    told_of = [text for text in marked if text != "deploy"]  # the stand-in answers a number to every question
    assert told_of == ["deploy r42", "deploy r43"]
    assert timedelta(minutes=45) <= marked["deploy r42"] < timedelta(minutes=46)


def test_what_was_deployed_before_the_page_is_on_the_card_with_from_and_to(night: Night) -> None:
    deploys(night, 12)
    night.burns()
    card = told(night.card)
    assert "What changed" in card
    assert "Deployed llama-70b: llama:1.4.2 -&gt; 1.4.3, by Jonas" in card
    assert "https://ci.example/runs/812|open" in card
    assert not night.said("Changed while you were looking"), "it is on the card, and nobody is told twice"


def test_a_change_stands_in_the_timeline_and_the_postmortem_at_its_own_time(night: Night) -> None:
    made = ago(night, 12)
    deploys(night, 12)
    night.burns()
    (entry,) = entries(night)
    assert entry.at == made < night.incident.opened_at
    assert "Deployed llama-70b" in night.types(SAM, "/incident timeline", night.incident.channel)
    night.recovers()
    night.types(MAYA, "/incident resolve rolled back by hand", night.incident.channel)
    (draft,) = night.config.postmortems_dir.glob("*.md")
    rows = [row for row in draft.read_text(encoding="utf-8").splitlines() if "Deployed llama-70b" in row]
    assert any(f"{made:%H:%M:%S}" in row for row in rows), rows


def test_what_is_deployed_while_people_look_is_said_in_the_channel_and_wakes_nobody(night: Night) -> None:
    night.burns()
    paged = len(night.pager_calls())
    answer = deploys(night, revision="r43", previous="r42", image="", previous_image="")
    assert answer == {"ok": True, "id": "deploy-0", "new": True, "incidents": ["INC-1"]}
    (message,) = night.said("Changed while you were looking")
    assert "r42 -&gt; r43" in told(message)
    assert "r42 -&gt; r43" in told(night.card)
    assert len(night.pager_calls()) == paged


def test_what_was_changed_before_and_is_told_late_is_said_as_that(night: Night) -> None:
    night.burns()
    deploys(night, 12)
    (message,) = night.said("Changed shortly before, told now")
    assert "1.4.3" in told(message)
    assert not night.said("Changed while you were looking")


def test_the_same_change_twice_is_one(night: Night) -> None:
    night.burns()
    first, again = deploys(night), deploys(night)
    assert (first["new"], again["new"]) == (True, False)
    assert first["incidents"] == again["incidents"] == ["INC-1"], "whoever missed the first answer gets the same"
    assert len(entries(night)) == 1
    assert len(night.said("Changed while you were looking")) == 1


def test_without_an_id_the_same_words_are_the_same_change(night: Night) -> None:
    words = {"service": "chat", "kind": "flag", "title": "spec decoding on"}
    answers = [tells(night, **words)[1] for _ in range(2)]
    assert [answer["new"] for answer in answers] == [True, False]
    night.clock.after(minutes=11)
    assert tells(night, **words)[1]["new"], "somebody switched it again"


def test_another_models_change_is_not_on_the_card(night: Night) -> None:
    deploys(night, 5, model="mistral-small")
    deploys(night, 6, model="", service="search")
    night.burns()
    assert night.incident.changes == ()
    answer = deploys(night, model="mistral-small")
    assert answer["incidents"] == []


def test_infrastructure_lies_below_every_model(night: Night) -> None:
    tells(night, kind="infra", title="NVIDIA driver 580 on pool a", by="Priya")
    night.burns()
    assert "NVIDIA driver 580 on pool a" in told(night.card)


def test_a_crash_after_the_answer_loses_nothing(night: Night) -> None:
    assert deploys(night, 3)["new"]
    night.crash()
    assert not deploys(night, 3)["new"]
    night.burns()
    assert [one.revision for one in night.incident.changes] == ["r42"]


def test_what_was_changed_long_before_is_not_on_the_card(night: Night) -> None:
    deploys(night, 121)
    night.burns()
    assert night.incident.changes == ()


def test_the_card_shows_three_and_counts_the_rest(night: Night) -> None:
    for minutes in range(1, 6):
        deploys(night, 10 * minutes, revision=f"r{50 - minutes}", previous="", image="", previous_image="")
    night.burns()
    card = told(night.card)
    assert [revision for revision in ("r49", "r48", "r47", "r46", "r45") if revision in card] == ["r49", "r48", "r47"]
    assert "and 2 more" in card
    listed = night.types(SAM, "/incident changes", night.incident.channel)
    assert all(revision in listed for revision in ("r49", "r48", "r47", "r46", "r45"))


def test_settings_are_shown_key_by_key_and_secrets_never(night: Night) -> None:
    before = {"engine": {"max_num_seqs": 256, "dtype": "bfloat16"}, "api_key": "hunter2hunter2"}
    after = {"engine": {"max_num_seqs": 512, "dtype": "bfloat16"}, "api_key": "hunter3hunter3"}
    deploys(night, 4, kind="config", revision="", image="", config={"before": before, "after": after})
    night.burns()
    assert "engine.max_num_seqs: 256 -&gt; 512" in told(night.card)
    assert "dtype" not in told(night.card), "what is the same is no change"
    on_disk = b"".join(path.read_bytes() for path in Path(night.config.data_dir).rglob("*") if path.is_file())
    assert b"hunter" not in on_disk


@pytest.mark.parametrize(
    "config",
    [
        {"before": {}, "after": {"env": [{"name": "DB_PASSWORD", "value": "hunter2"}], "engine": {"dtype": "fp8"}}},
        {"before": {}, "after": {"secrets": {"db": "hunter2"}, "engine": {"dtype": "fp8"}}},
        {"before": {}, "after": {"args": ["--api-key", "hunter2", "--dtype", "fp8"]}},
        "+- name: DB_PASSWORD\n+  value: hunter2\n+- name: DTYPE\n+  value: fp8",
    ],
)
def test_a_secret_whose_name_stands_apart_from_it_is_never_kept(night: Night, config: Any) -> None:
    deploys(night, 4, kind="config", config=config)
    (change,) = night.app.desk.changes()
    assert "hunter" not in repr(change)
    assert "fp8" in repr(change)


def test_every_change_that_is_listed_stands_there_whole_and_the_rest_is_counted(night: Night) -> None:
    for n in range(25):
        url = f"https://ci.example/runs/{n}?{'x' * 900}"
        deploys(night, 25 - n, id=f"d{n}", title=f"Deploy {n:02} {'&' * 40} end{n:02}", url=url, image="", revision="")
    listed = night.types(SAM, "/incident changes llama-70b", ELSEWHERE)
    begun = [n for n in range(25) if f"Deploy {n:02}" in listed]
    whole = [n for n in range(25) if f"end{n:02}" in listed and f"runs/{n}?{'x' * 900}|open" in listed]
    assert begun == whole == list(range(25 - len(whole), 25)), "the newest, and none cut in the middle"
    assert len(whole) >= 6
    assert f"and {25 - len(whole)} earlier" in listed
    assert "Shortened" not in listed


def test_elsewhere_the_word_lists_a_model_or_everything(night: Night) -> None:
    deploys(night, 5)
    deploys(night, 7, model="mistral-small", image="", previous_image="")
    everything = night.types(SAM, "/incident changes", ELSEWHERE)
    assert "2 changes" in everything
    assert "mistral-small" in everything
    only = night.types(SAM, "/incident changes mistral-small", ELSEWHERE)
    assert "1 change" in only
    assert "llama-70b" not in only
    assert "No change is known" in night.types(SAM, "/incident changes qwen3-32b", ELSEWHERE)


def test_staging_is_no_suspect_where_production_is_named(tmp_path: Path) -> None:
    named = {"[alerts]": '[changes]\nenvironments = ["production"]\n\n[alerts]'}
    with open_night(tmp_path, settings=named) as night:
        deploys(night, 5, environment="staging")
        deploys(night, 6, environment="production", revision="r40")
        night.burns()
        assert [one.revision for one in night.incident.changes] == ["r40"]


def test_what_is_over_is_left_alone(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident resolve quiet again", night.incident.channel)
    assert deploys(night)["incidents"] == []
    assert entries(night) == []


def test_who_returns_sees_what_was_changed_meanwhile(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident resolve quiet again", night.incident.channel)
    night.after(minutes=5)
    deploys(night, 1)
    night.burns()
    assert night.incident.generation == 2
    assert [one.revision for one in night.incident.changes] == ["r42"]


def test_the_page_s_argo_cd_tells_of_a_way_back_to_a_revision_that_it_told_of_before(night: Night) -> None:
    page = (DOCS / "changes.md").read_text(encoding="utf-8")
    _, body = page.split("      body: |\n")
    body, _ = body.split("trigger.on-deployed:")
    new = []
    for minutes, revision in ((30, "aaa"), (20, "bbb"), (10, "aaa"), (10, "aaa")):
        known = {
            "app.metadata.name": "chat",
            "app.status.sync.revision": revision,
            "app.status.operationState.finishedAt": ago(night, minutes).isoformat(),
            "context.argocdUrl": "https://argocd.example",
        }
        said = body
        for name, value in known.items():
            said = said.replace(f"{{{{.{name}}}}}", value)
        status, answer = tells(night, **json.loads(said))
        assert status == 200, answer
        new.append(answer["new"])
    assert new == [True, True, True, False], "what is repeated is told once, what is done again twice"
    assert "oncePer: app.status.operationState.finishedAt" in page


def test_the_page_s_gitlab_job_that_is_run_again_is_another_change(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "changes.md").read_text(encoding="utf-8")
    found = re.search(r'--arg id "(gitlab[^"]*)"', page)
    assert found is not None
    monkeypatch.setenv("CI_PIPELINE_ID", "7")
    ids = set()
    for job in ("101", "102"):
        monkeypatch.setenv("CI_JOB_ID", job)
        ids.add(os.path.expandvars(found[1]))
    assert ids == {"gitlab-101", "gitlab-102"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "service and model are both missing"),
    ({"model": "llama-70b", "kind": "release"}, "kind must be one of deploy, config, flag, scale, infra"),
    ({"modle": "llama-70b"}, "'modle' is not a field"),
    ({"model": 7}, "model must be a text"),
    ({"model": "m", "revision": "r" * 201}, "revision has 201 characters"),
    ({"model": "m", "at": "yesterday"}, "at must be a time"),
    ({"model": "m", "at": "2046-11-21T03:04:05Z"}, "at is 2046-11-21T03:04:05Z, which is still to come"),
    ({"model": "m", "url": "javascript:alert(1)"}, "url must be an address that begins with https://"),
    ({"model": "m", "url": "http://[bad"}, "url must be an address"),
    ({"model": "m", "config": {"from": {}}}, "config must be the text of a diff"),
    ({"model": "m", "config": {"before": [], "after": 3}}, "config.after must be an object"),
]


@pytest.mark.parametrize(("change", "why"), REFUSED, ids=[why[:30] for _, why in REFUSED])
def test_what_cannot_be_understood_is_refused_by_its_field(night: Night, change: dict[str, Any], why: str) -> None:
    status, answer = tells(night, **change)
    assert status == 400
    assert why in answer["error"]
    assert night.app.desk.changes() == []


def test_without_the_token_nothing_is_taken(night: Night) -> None:
    body = json.dumps({"model": "llama-70b"}).encode()
    assert night.post("/hooks/change", body, {})[0] == 401
    wrong = {"Authorization": f"Bearer {night.bench.secrets.alertmanager_token}"}
    assert night.post("/hooks/change", body, wrong)[0] == 401, "another door's token opens only that"
    assert night.app.desk.changes() == []


def test_what_pipelines_told_is_forgotten_after_its_time(tmp_path: Path) -> None:
    with open_night(tmp_path, settings={"[alerts]": "[changes]\nkeep_days = 2\n\n[alerts]"}) as night:
        deploys(night)
        night.burns()
        night.after(days=3)
        night.tidies()
        assert deploys(night, 3 * 24 * 60)["new"], "the ledger does not know it any more"
        assert len(night.incident.changes) == 1, "the incident keeps its own"


def test_the_fleets_own_pipeline_tells_of_a_bad_deploy_before_anybody_is_paged(night: Night) -> None:
    night.bench.pipeline.look()
    assert night.app.desk.changes() == [], "what has run for days is no news"
    night.bench.fleet.set_fault("bad-deploy", True)
    night.bench.pipeline.look()
    night.burns()
    assert "Deploy llama-70b r42: llama-70b:r41 -&gt; r42, in production, by Jonas" in told(night.card)
    night.bench.fleet.set_fault("bad-deploy", False)
    night.after(seconds=30)
    night.bench.pipeline.look()
    assert len(night.app.desk.changes()) == 1, "going back takes no pipeline"


def test_a_pipeline_tries_again_while_the_bot_is_away(night: Night) -> None:
    night.doors.stop()
    night.bench.fleet.set_fault("bad-deploy", True)
    night.bench.pipeline.look()
    night.app.close()
    night.start_bot()
    night.bench.pipeline.look()
    assert [one.revision for one in night.app.desk.changes("llama-70b")] == ["r42"]
