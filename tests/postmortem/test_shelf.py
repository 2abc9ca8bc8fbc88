"""The folder of postmortems: names, edits that survive, and no way out of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contracts import Attempt, Permanent
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.effects import DraftPostmortem, RefreshCard
from bot.incident.events import PostmortemDrafted
from bot.postmortem.blocks import fence, merge, without_markers
from bot.postmortem.courier import Courier
from bot.postmortem.shelf import NAME, Shelf, name_for
from tests.core.case import Case
from tests.postmortem.stories import PAGES, drafted, night

NIGHT = "2026-11-21-inc-42-llama-70b-fails.md"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "postmortems")


def test_a_draft_is_found_again_under_its_day_number_and_title(shelf: Shelf) -> None:
    case = night()
    assert shelf.names() == ()
    assert shelf.write(case.inc, drafted(case)) == NIGHT
    assert shelf.names() == (NIGHT,)
    assert shelf.read(NIGHT) == drafted(case)
    assert [path.name for path in shelf.root.iterdir()] == [NIGHT]


def test_what_people_wrote_survives_and_untouched_parts_move_on(shelf: Shelf) -> None:
    case = night()
    shelf.write(case.inc, drafted(case))
    edited = drafted(case).replace("**Status:** Draft", "**Status:** In review")
    edited = edited.replace("Users: one chat in eight gets an error.", "Nearly everybody saw errors.")
    (shelf.root / NIGHT).write_text(edited.replace("\n", "\r\n"), encoding="utf-8", newline="")
    shelf.write(case.after(minutes=1).do(cmd.AddNote, text="it was the tokenizer").inc, drafted(case))
    kept = shelf.read(NIGHT) or ""
    assert "**Status:** In review" in kept
    assert "Nearly everybody saw errors." in kept
    assert "noted: it was the tokenizer" in kept


def test_a_block_that_people_removed_stays_away() -> None:
    old = "# A\n\n" + fence("one", "1")
    assert merge(old, old + "\n\n" + fence("two", "2")) == old


def test_an_opening_marker_without_an_end_is_only_a_line() -> None:
    cut = fence("one", "1").removesuffix("\n<!-- /gen -->")
    assert merge(cut, fence("one", "2")) == cut
    assert merge(cut + "\n" + fence("one", "1"), fence("one", "2")) == cut + "\n" + fence("one", "2")


def test_markers_do_not_show() -> None:
    assert without_markers("a\n" + fence("one", "1") + "\nb") == "a\n1\nb"


def test_a_file_that_people_renamed_is_still_the_incidents_file(shelf: Shelf) -> None:
    case = night()
    shelf.write(case.inc, drafted(case))
    (shelf.root / NIGHT).rename(shelf.root / "2026-11-21-inc-42-a-better-name.md")
    assert shelf.write(case.inc, drafted(case)) == "2026-11-21-inc-42-a-better-name.md"
    assert len(shelf.names()) == 1


def test_the_newest_stands_first_and_other_files_are_no_postmortems(shelf: Shelf) -> None:
    case = night()
    for number in (9, 10):
        shelf.write(replace(case.inc, number=number), "x")
    (shelf.root / "README.md").write_text("x")
    assert [name[11:17] for name in shelf.names()] == ["inc-10", "inc-9-"]


@pytest.mark.parametrize("name", ["../secret.md", "/etc/passwd", "README.md", NIGHT + "\n", NIGHT + "/..", "", "a\0b"])
def test_no_other_name_is_read(shelf: Shelf, name: str) -> None:
    shelf.root.mkdir()
    (shelf.root / "README.md").write_text("x")
    (shelf.root.parent / "secret.md").write_text("x")
    assert shelf.read(name) is None


@given(st.text())
def test_a_name_from_any_title_stays_inside_the_folder(title: str) -> None:
    name = name_for(replace(night().inc, title=title))
    assert NAME.fullmatch(name)
    assert (Path("/shelf") / name).resolve().parent == Path("/shelf")


def test_a_link_in_the_folder_is_neither_read_nor_followed(shelf: Shelf, tmp_path: Path) -> None:
    case = night()
    target = tmp_path / "elsewhere.md"
    target.write_text("mine")
    shelf.root.mkdir()
    (shelf.root / NIGHT).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        shelf.read(NIGHT)
    with pytest.raises(OSError, match="symbolic links"):
        shelf.write(case.inc, drafted(case))
    assert target.read_text() == "mine"


def test_bytes_that_are_no_text_survive_an_update_and_can_be_shown(shelf: Shelf) -> None:
    case = night()
    shelf.write(case.inc, drafted(case))
    with (shelf.root / NIGHT).open("ab") as file:
        file.write(b"\xff\n")
    shelf.write(case.after(minutes=1).do(cmd.AddNote, text="more").inc, drafted(case))
    assert (shelf.root / NIGHT).read_bytes().endswith(b"\xff\n")
    assert (shelf.read(NIGHT) or "").endswith("\ufffd\n")


def no_picture(*_: str) -> None:
    return None


def attempt(case: Case) -> Attempt:
    return Attempt("k", 1, case.now)


def test_the_courier_writes_the_draft_and_says_where(shelf: Shelf) -> None:
    case = night()
    courier = Courier(shelf, lambda _: case.entries, PAGES, no_picture)
    for _ in range(2):
        assert courier.deliver(DraftPostmortem(), case.inc, attempt(case)) == [PostmortemDrafted(NIGHT)]
    assert shelf.read(NIGHT) == drafted(case)


def test_a_folder_that_cannot_be_is_told_to_people(tmp_path: Path) -> None:
    case = night()
    (tmp_path / "file").write_text("")
    courier = Courier(Shelf(tmp_path / "file" / "postmortems"), lambda _: case.entries, PAGES, no_picture)
    with pytest.raises(Permanent, match="Not a directory"):
        courier.deliver(DraftPostmortem(), case.inc, attempt(case))


def test_the_courier_carries_nothing_else(shelf: Shelf) -> None:
    case = night()
    with pytest.raises(TypeError, match="RefreshCard"):
        Courier(shelf, lambda _: case.entries, PAGES, no_picture).deliver(RefreshCard(), case.inc, attempt(case))


def test_the_pictures_of_the_worst_and_the_last_moment_lie_beside_the_draft(shelf: Shelf) -> None:
    case = night()
    for name, verdict in (("EV-AAAAAAAA", "OUTAGE"), ("EV-BBBBBBBB", "DEGRADED"), ("EV-CCCCCCCC", "OK")):
        looked = ev.EvidenceCollected(verdict, "x", "y", "", {"cause_id": "hardware"}, name)
        case.receipt(looked, ev.EvidenceFrozen(name, {"picture": "0" * 64}))
    courier = Courier(shelf, lambda _: case.entries, PAGES, lambda _, evidence: evidence.encode())
    assert courier.deliver(DraftPostmortem(), case.inc, attempt(case)) == [PostmortemDrafted(NIGHT)]
    text = shelf.read(NIGHT) or ""
    assert "](inc-42-ev-aaaaaaaa.png)" in text
    assert "](inc-42-ev-cccccccc.png)" in text
    assert "ev-bbbbbbbb" not in text
    assert shelf.picture("inc-42-ev-aaaaaaaa.png") == b"EV-AAAAAAAA"
    assert shelf.picture("../secret.png") is None
    assert shelf.names() == (NIGHT,), "a picture is no postmortem"


def test_a_draft_brought_up_to_date_after_the_end_is_no_second_news(shelf: Shelf) -> None:
    case = night().receipt(PostmortemDrafted(NIGHT))
    courier = Courier(shelf, lambda _: case.entries, PAGES, no_picture)
    assert courier.deliver(DraftPostmortem(), case.inc, attempt(case)) == []
    assert shelf.read(NIGHT) == drafted(case)
