"""An archive file by itself, and the words about archives in the terminal."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.journal.archive_file import BadArchive, read
from bot.journal.codec import canonical
from tests.journal.conftest import House
from tests.journal.test_archive import archives, everything_is_done, over
from tests.migrations.fill import redacts


@pytest.fixture
def file(house_on_file: House, tmp_path: Path) -> Path:
    """An incident whose fourth entry, the impact, was redacted."""
    redacts(house_on_file, over(house_on_file), 4)
    everything_is_done(house_on_file)
    house_on_file.clock.after(days=200)
    archives(house_on_file, tmp_path)
    return tmp_path / "2026" / "INC-1.jsonl.gz"


Lines = list[dict[str, Any]]


def rewritten(file: Path, change: Callable[[Lines], object]) -> None:
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]
    change(lines)
    file.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))


def verified(file: Path) -> Result:
    return CliRunner().invoke(main, ["archive", "verify", str(file)])


def test_whoever_has_the_file_can_prove_it_by_its_own_first_line(file: Path) -> None:
    """What `how` says, done with nothing but Python."""
    head, *rest = [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]
    previous = ""
    for line in rest[: head["entries"]]:
        entry = dict(line["entry"])
        said, before = entry.pop("hash"), entry.pop("prev_hash")
        assert before == previous
        spelled = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(f"{before}\n{spelled}".encode()).hexdigest() == said
        previous = said
    assert previous == head["head"]
    texts = [line["text"] for line in rest if "text" in line]
    assert sum(one["text"] is None for one in texts) == 1
    for one in texts:
        if one["text"] is not None:
            assert hashlib.sha256(f"{one['salt']}\n{one['text']}".encode()).hexdigest() == one["digest"]


def test_it_can_be_read_by_people(file: Path) -> None:
    said = [json.loads(line).get("said") for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert "Maya acknowledged" in said
    assert "Maya stated the impact: [redacted]" in said


def test_a_whole_file_is_said_to_be_whole_with_its_head(file: Path) -> None:
    answer = verified(file)
    assert answer.exit_code == 0
    assert answer.output == f"INC-1: 7 entries, head {read(file).head}\n"


def change_source(lines: Lines) -> None:
    lines[2]["entry"]["source"] = "elsewhere"


def drop_an_entry(lines: Lines) -> None:
    del lines[3]
    lines[0]["entries"] -= 1


def drop_the_last_entry(lines: Lines) -> None:
    del lines[7]
    lines[0]["entries"] -= 1


def change_a_text(lines: Lines) -> None:
    next(line["text"] for line in lines if "text" in line and line["text"]["text"])["text"] = "nothing happened"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_source, "INC-1: entry 2 was changed\n"),
        (drop_an_entry, "INC-1: entry 3 is missing\n"),
        (drop_the_last_entry, "INC-1: entry 6 is not the one that the incident's own row ends with"),
        (change_a_text, "has another text than it was written with\n"),
        (lambda lines: lines[2]["entry"].update(body=None), "INC-1: entry 2 was changed\n"),
        (lambda lines: lines[2]["entry"].update(body="x"), "INC-1: entry 2 was changed\n"),
        (lambda lines: lines[2].update(entry="x"), "is no archive of ours: entry 2 cannot be read\n"),
        (lambda lines: lines[2]["entry"].update(seq="x"), "is no archive of ours: entry 2 cannot be read\n"),
        (lambda lines: lines.pop(), "is not whole: it lacks lines that its first one counts\n"),
        (lambda lines: lines[0].update(version=9), "is an archive of another kind (fixfirst archive 9)\n"),
        (lambda lines: lines.clear(), "is no archive of ours"),
    ],
)
def test_what_was_done_to_a_file_is_named(file: Path, change: Callable[[Lines], object], told: str) -> None:
    rewritten(file, change)
    answer = verified(file)
    assert answer.exit_code == 1
    assert told in answer.output


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_damaged(file: Path, keep: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    answer = verified(file)
    assert answer.exit_code == 1
    assert f"{file} is " in answer.output


def test_a_disk_that_writes_something_else_is_noticed_before_the_journal_forgets(
    house_on_file: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(house_on_file)
    house_on_file.clock.after(days=200)
    monkeypatch.setattr("bot.journal.archive_file.canonical", lambda line: canonical(line).replace("Maya", "Jonas"))
    with pytest.raises(BadArchive, match="does not say, read again, what was written"):
        archives(house_on_file, tmp_path)
    assert not list(tmp_path.rglob("INC-1*"))
    assert house_on_file.journal.find("INC-1") is not None


# At the terminal


@pytest.fixture
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A journal with an incident of long ago, in a folder with a settings file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fixfirst.toml").write_text('workspace = "test"\n', encoding="utf-8")
    (tmp_path / "data").mkdir()
    house = House(tmp_path / "data")
    house.clock.now -= timedelta(days=500)
    over(house)
    house.journal.close()
    return lambda *words: CliRunner().invoke(main, words)


def test_nothing_is_archived_unasked(types: Callable[..., Result]) -> None:
    answer = types("archive", "run")
    assert answer.exit_code == 2
    assert "set retention.archive_after_days, or say --older-than DAYS" in answer.output


def test_the_setting_says_how_old_and_where_to(types: Callable[..., Result], tmp_path: Path) -> None:
    with (tmp_path / "fixfirst.toml").open("a", encoding="utf-8") as settings:
        settings.write('[retention]\narchive_after_days = 400\narchive_dir = "old"\n')
    answer = types("archive", "run")
    (file,) = (tmp_path / "old").rglob("*.gz")
    assert answer.output == f"INC-1: 6 entries in {file.relative_to(tmp_path)}\n1 incident archived, 0 left.\n"
    assert types("archive", "run").output == "0 incidents archived, 0 left.\n"


def test_whoever_looks_for_it_is_told_where_it_went(types: Callable[..., Result]) -> None:
    types("archive", "run", "--older-than", "400")
    answer = types("timeline", "INC-1")
    assert answer.exit_code == 1
    assert re.search(
        r"^Error: INC-1 of \d{4}-\d\d-\d\d was archived on .*; its 6 entries are in \d{4}/INC-1.jsonl.gz$",
        answer.output,
    )
    assert types("audit", "verify").output.startswith("1 chains checked, 0 broken.")


def test_less_than_a_month_is_refused(types: Callable[..., Result]) -> None:
    assert types("archive", "run", "--older-than", "29").exit_code == 2
