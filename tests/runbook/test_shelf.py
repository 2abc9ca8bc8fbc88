"""The shipped runbooks are faultless, and a folder with faults loses only the faulty ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.runbook.parse import MAX_BYTES
from bot.runbook.render import offer, start
from bot.runbook.shelf import load

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "runbooks"


def test_the_shipped_runbooks_have_no_fault() -> None:
    runbooks, faults = load(SHIPPED)
    assert faults == []
    assert set(runbooks) == {path.stem for path in SHIPPED.glob("*.md")}
    assert len(runbooks) == 16


@pytest.mark.parametrize(
    ("alert", "expected"),
    [
        ("LLMErrorRatioHigh", ["rollback-model-deploy", "serve-from-cache"]),
        ("LLMTTFTp99AboveSLA", ["rollback-model-deploy"]),
        ("ModelDown", ["serve-from-cache"]),
    ],
)
def test_the_shipped_runbooks_are_offered_ready_to_start(alert: str, expected: list[str]) -> None:
    runbooks, _ = load(SHIPPED)
    offers = offer(runbooks.values(), alert, {"model_name": "llama-70b"})
    assert [offered.runbook.id for offered in offers] == expected
    for offered in offers:
        assert offered.missing == ()
        assert start(offered.runbook, offered.params).target.endswith("/llama-70b")


def test_every_shipped_runbook_can_be_done_by_hand() -> None:
    for runbook in load(SHIPPED)[0].values():
        for heading in ("## When to use it", "## When not", "## What it costs", "## By hand"):
            assert heading in runbook.intro, f"{runbook.file} lacks {heading!r}"


def test_one_bad_file_takes_no_other_with_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Not a runbook.")
    (tmp_path / "warm-cache.md").write_text(text)
    (tmp_path / "latin.md").write_bytes(b"---\nid: caf\xe9\n")
    (tmp_path / "other.md").write_text(text)
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "long.md").write_text("é" * MAX_BYTES)
    runbooks, faults = load(tmp_path)
    assert set(runbooks) == {"warm-cache"}
    assert {(Path(fault.file).name, fault.line, fault.message) for fault in faults} == {
        ("gone.md", 1, "cannot be read: No such file or directory"),
        ("latin.md", 2, "not UTF-8 at byte 11: save the file as UTF-8"),
        ("long.md", 1, "longer than 128 KiB: split it into two runbooks"),
        ("other.md", 3, "the id 'warm-cache' must be the file's name 'other'"),
        ("pipe.md", 1, "is not a file"),
    }


def test_a_folder_is_read_with_its_subfolders_but_not_what_is_hidden(text: str, tmp_path: Path) -> None:
    """A ConfigMap, as Kubernetes mounts it, holds each file twice: once behind a name that begins with a dot."""
    hidden = tmp_path / "..2026_11_21"
    below = tmp_path / "caches" / "cold.md"
    for folder in (hidden, below):
        folder.mkdir(parents=True)
    (hidden / "warm-cache.md").write_text(text)
    (below / "warm-cache.md").symlink_to(hidden / "warm-cache.md")
    (tmp_path / ".draft.md").write_text("not yet")
    (tmp_path / "loop").symlink_to(tmp_path)
    runbooks, faults = load(tmp_path)
    assert (set(runbooks), faults) == ({"warm-cache"}, [])


def test_two_files_of_one_name_in_two_folders_cannot_both_be_meant(text: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "warm-cache.md").write_text(text)
    runbooks, faults = load(tmp_path)
    assert runbooks["warm-cache"].file == f"{tmp_path}/a/warm-cache.md"
    assert [str(fault) for fault in faults] == [
        f"{tmp_path}/b/warm-cache.md:3: the id 'warm-cache' is already used by {tmp_path}/a/warm-cache.md"
    ]


def test_a_folder_below_and_a_file_that_may_not_be_read_are_faults(text: str, tmp_path: Path) -> None:
    """Root may read everything, unless it gives that right away first."""
    (tmp_path / "warm-cache.md").write_text(text)
    (tmp_path / "secret.md").touch(mode=0o000)
    (tmp_path / "locked").mkdir(mode=0o000)
    giving = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = "import sys; from bot.cli import main; main(['lint', sys.argv[1]])"
    told = subprocess.run(
        [*giving, sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (tmp_path / "locked").chmod(0o700)
    assert told.returncode == 1, told.stderr
    assert told.stdout.splitlines() == [
        f"{tmp_path}/locked:1: cannot be read: Permission denied",
        f"{tmp_path}/secret.md:1: cannot be read: Permission denied",
        "Runbooks checked: 2. Faults: 2.",
    ]


def test_a_missing_folder_is_a_fault_and_not_an_error(tmp_path: Path) -> None:
    runbooks, faults = load(tmp_path / "nowhere")
    assert runbooks == {}
    assert [fault.message for fault in faults] == ["there is no such folder"]
