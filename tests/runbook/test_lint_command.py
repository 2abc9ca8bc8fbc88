"""`fixfirst lint` as people and build machines type it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.runbook.model import Fault
from bot.runbook.report import as_github
from bot.runbook.schema import schema

Type = Callable[..., Result]
CONFIG = """\
workspace = "night-shift"
runbooks_dir = "books"
[endpoints.warm]
risk = "destructive"
url = "https://cache.internal/{model}"
json = {}
"""
SOON = "'timeout' must be a time such as 30s, 5m or 1h30m, not 'soon'"


@pytest.fixture
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in an empty folder, outside of any workflow."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "FIXFIRST_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(main, words, env=environment)

    return run


@pytest.fixture
def books(types: Type, tmp_path: Path, text: str) -> Path:
    """A folder with a good runbook, and below it one with a fault."""
    (tmp_path / "books" / "team").mkdir(parents=True)
    (tmp_path / "books" / "warm-cache.md").write_text(text)
    bad = text.replace("id: warm-cache", "id: bad").replace("timeout: 1m30s", "timeout: soon")
    (tmp_path / "books" / "team" / "bad.md").write_text(bad)
    return tmp_path / "books"


def test_each_fault_is_a_line_that_editors_know_and_the_end_is_1(types: Type, books: Path) -> None:
    told = types("lint", "books")
    assert (told.exit_code, told.stdout) == (1, f"books/team/bad.md:36: {SOON}\nRunbooks checked: 2. Faults: 1.\n")


def test_without_a_fault_the_end_is_0(types: Type, books: Path) -> None:
    told = types("lint", "books/warm-cache.md")
    assert (told.exit_code, told.stdout) == (0, "Runbooks checked: 1. Faults: 0.\n")


def test_files_and_folders_may_be_mixed_and_nothing_counts_twice(types: Type, books: Path) -> None:
    told = types("lint", "books/warm-cache.md", "books", "books/team/bad.md")
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (1, "Runbooks checked: 2. Faults: 1.")


def test_without_a_path_it_is_the_folder_runbooks_or_the_configured_one(
    types: Type, books: Path, tmp_path: Path
) -> None:
    nothing = types("lint")
    assert nothing.exit_code == 2
    assert "there is no folder ./runbooks here; name files or folders" in nothing.stderr
    (tmp_path / "fixfirst.toml").write_text(CONFIG)
    assert types("lint", "--config", "fixfirst.toml").stdout.endswith("Runbooks checked: 2. Faults: 1.\n")
    assert types("lint", FIXFIRST_CONFIG="fixfirst.toml").stdout.endswith("Runbooks checked: 2. Faults: 1.\n")
    books.rename(tmp_path / "runbooks")
    assert types("lint").stdout.startswith("runbooks/team/bad.md:36: ")


def test_with_a_configuration_endpoints_are_known(types: Type, books: Path, tmp_path: Path) -> None:
    (tmp_path / "fixfirst.toml").write_text(CONFIG.replace("endpoints.warm", "endpoints.warmer"))
    assert types("lint", "books/warm-cache.md").exit_code == 0
    told = types("lint", "books/warm-cache.md", "--config", "fixfirst.toml")
    assert told.exit_code == 1
    assert "34: step 'warm': no endpoint 'warm' is configured; did you mean 'warmer'?" in told.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lint", "nowhere"), "Path 'nowhere' does not exist."),
        (("lint", "empty"), "empty holds no runbook: no *.md but README.md"),
        (("lint", "books", "--format", "xml"), "'xml' is not one of 'text', 'github', 'json'."),
        (("lint", "books", "--config", "none.toml"), "none.toml: cannot be read (No such file or directory)"),
    ],
)
def test_where_nothing_can_be_checked_the_end_is_2(
    types: Type, books: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    """A build that checks the wrong folder must not be green."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("Not a runbook.")
    told = types(*words)
    assert told.exit_code == 2
    assert message in told.stderr


def test_github_shows_faults_beside_their_lines_without_being_asked(types: Type, books: Path, tmp_path: Path) -> None:
    command = f"::error file=books/team/bad.md,line=36,title=Runbook::{SOON}"
    for told in (types("lint", "books", "--format", "github"), types("lint", "books", GITHUB_ACTIONS="true")):
        assert (told.exit_code, told.stdout.splitlines()) == (1, [command, "Runbooks checked: 2. Faults: 1."])
    assert types("lint", "books", "--format", "text", GITHUB_ACTIONS="true").stdout.startswith("books/team/bad.md:36: ")
    inside = types("lint", "books", GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(tmp_path / "books"))
    assert inside.stdout.splitlines()[0] == command.replace("books/", "")


def test_what_github_reads_as_a_command_is_escaped() -> None:
    """As the runner takes it apart: properties end with a comma, the command with two colons, a line with its break."""
    (command,) = as_github([Fault("a:b,c%.md", 3, "100%\r\n::error::x, y: z")]).split("\n")
    assert command == "::error file=a%3Ab%2Cc%25.md,line=3,title=Runbook::100%25%0D%0A::error::x, y: z"


def test_programs_read_json(types: Type, books: Path) -> None:
    told = types("lint", "books", "--format", "json")
    assert told.exit_code == 1
    assert json.loads(told.stdout) == [{"file": "books/team/bad.md", "line": 36, "message": SOON}]
    assert json.loads(types("lint", "books/warm-cache.md", "--format", "json").stdout) == []


def test_the_schema_is_printed_where_there_is_nothing_to_check(types: Type) -> None:
    told = types("lint", "--schema")
    assert told.exit_code == 0
    assert json.loads(told.stdout) == schema()
