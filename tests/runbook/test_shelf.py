"""The shipped runbooks are faultless, and a folder with faults loses only the faulty ones."""

from pathlib import Path

import pytest

from bot.runbook.render import offer, start
from bot.runbook.shelf import load

SHIPPED = Path(__file__).parents[2] / "runbooks"


def test_the_shipped_runbooks_have_no_fault() -> None:
    runbooks, faults = load(SHIPPED)
    assert faults == []
    assert set(runbooks) == {"rollback-model-deploy", "serve-from-cache"}


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
    (tmp_path / "folder.md").mkdir()
    runbooks, faults = load(tmp_path)
    assert set(runbooks) == {"warm-cache"}
    assert [(Path(fault.file).name, fault.line, fault.message) for fault in faults] == [
        ("folder.md", 1, "cannot be read: Is a directory"),
        ("latin.md", 1, "not UTF-8 at byte 11"),
        ("other.md", 3, "the id 'warm-cache' must be the file's name 'other'"),
    ]


def test_a_missing_folder_is_a_fault_and_not_an_error(tmp_path: Path) -> None:
    runbooks, faults = load(tmp_path / "nowhere")
    assert runbooks == {}
    assert [fault.message for fault in faults] == ["there is no such folder"]
