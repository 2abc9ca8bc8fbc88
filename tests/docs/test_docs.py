"""The documents are held against the code: what they name exists, and what exists is named."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
import yaml
from starlette.routing import Mount, Route

from bot.app import App
from bot.cli import main
from bot.config import DATABASE, Config, read
from bot.desk import Desk
from bot.incident.policy import Policy
from bot.integrations import CHANGES, SOURCES
from bot.opening import open_journal
from bot.runbook.library import Library
from bot.runbook.shelf import load as load_runbooks
from bot.slack.cards import Context
from bot.slack.verbs import Verbs

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
MANIFEST: Final = ROOT / "bot" / "slack" / "manifest.yaml"
DECISIONS: Final = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.relative_to(ROOT).as_posix()
)
# Written in two parts, so that this file does not find itself.
MACHINE_PATHS: Final = ("/" + "work/", "/" + "home/", "/" + "root/", "/" + "tmp/", "/" + "Users/")


def named(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fenced(path: Path, language: str) -> list[str]:
    """The code blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE)


def prose(path: Path) -> str:
    """The document without its code blocks; a longer fence may hold blocks itself."""
    return re.sub(r"^(`{3,}).*?^\1$", "", text(path), flags=re.DOTALL | re.MULTILINE)


def table_under(path: Path, first: str) -> list[str]:
    """The first cells of the table whose heading begins with `first`, without backticks."""
    lines = text(path).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append(line.split("|")[1].strip().strip("`"))
    return cells


@pytest.fixture
def documented() -> Config:
    """All TOML of the README as one file, with every secret it may name."""
    values = tomllib.loads("\n".join(fenced(README, "toml")))
    config, faults = read(
        values, ROOT, lambda name: None if name == DATABASE else f"a value for {name}".replace(" ", "-")
    )
    assert not faults
    assert config is not None
    return config


# -- the README ----------------------------------------------------------------------------------------------


def test_every_word_of_the_slash_command_is_in_the_readme_and_no_other(tmp_path: Path) -> None:
    config, _ = read({}, tmp_path, lambda _: None)
    assert config is not None
    journal = open_journal(config)
    try:
        desk = Desk(journal, config.policy, config.reading, lambda: None)
        words = Verbs(desk, Library({}, {}), None, Context(Policy(), "", {})).words
    finally:
        journal.close()
    rows = [row.split()[1] for row in table_under(README, "Command")]
    assert rows == list(words)
    mentioned = set(re.findall(r"`/incident ([a-z]+)", text(README)))
    assert mentioned == set(words)
    hint = yaml.safe_load(text(MANIFEST))["features"]["slash_commands"][0]["usage_hint"]
    assert hint.split(" | ") == list(words)


def signature(name: str, command: click.Command) -> str:
    """`fixfirst resolve REF REASON`: the arguments as click knows them, those with a default in brackets."""
    arguments = [param for param in command.params if isinstance(param, click.Argument) and param.nargs == 1]
    shown = [
        f"[{param.human_readable_name}]" if not param.required else param.human_readable_name for param in arguments
    ]
    return " ".join(["fixfirst", name, *shown])


def signatures(group: click.Group, *within: str) -> Iterator[str]:
    """Every command of a group and of the groups in it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield signature(" ".join([*within, name]), command)
            yield from signatures(command, *within, name)
        else:
            yield signature(" ".join([*within, name]), command)


def test_the_table_of_commands_is_what_the_terminal_takes() -> None:
    rows = re.findall(r"^\| `(fixfirst [^`]+)` \|", text(README), re.MULTILINE)
    assert sorted(rows) == sorted(signatures(main))


def test_every_option_in_the_readme_is_one_the_command_takes() -> None:
    for name, options in re.findall(r"^\| `fixfirst ([\w-]+)[^`]*` \| (.*) \|$", text(README), re.MULTILINE):
        known = {option for param in main.commands[name].params for option in param.opts}
        assert set(re.findall(r"`(--[a-z-]+)`", options)) <= known


def test_the_table_of_scopes_is_the_manifest() -> None:
    scopes = yaml.safe_load(text(MANIFEST))["oauth_config"]["scopes"]["bot"]
    assert table_under(README, "Scope") == scopes


def test_the_settings_in_the_readme_are_accepted(documented: Config) -> None:
    assert documented.slack is not None
    assert documented.pagerduty is not None
    assert documented.prometheus is not None


def test_with_the_settings_in_the_readme_its_two_runbooks_can_be_used(documented: Config) -> None:
    runbooks, _ = load_runbooks(documented.runbooks_dir, targets=documented.targets)
    assert {"rollback-model-deploy", "serve-from-cache"} <= set(runbooks)


def test_with_the_targets_of_the_example_every_shipped_runbook_can_be_used() -> None:
    values = tomllib.loads(text(ROOT / "fixfirst.example.toml"))
    config, faults = read(values, ROOT, lambda name: None if name == DATABASE else "secret-for-a-test-0123")
    assert config is not None, faults
    runbooks, wrong = load_runbooks(config.runbooks_dir, targets=config.targets)
    assert wrong == []
    assert len(runbooks) == 16


def test_the_alertmanager_example_sends_to_our_door_with_a_token() -> None:
    (example,) = fenced(README, "yaml")
    config = yaml.safe_load(example)
    (receiver,) = config["receivers"]
    (hook,) = receiver["webhook_configs"]
    assert config["route"]["receiver"] == receiver["name"]
    assert hook["url"].endswith("/hooks/alertmanager")
    assert hook["http_config"]["authorization"]["type"] == "Bearer"
    assert hook["send_resolved"] is True


def test_the_two_listeners_answer_to_what_the_readme_says(tmp_path: Path) -> None:
    config, _ = read({}, tmp_path, lambda _: None)
    assert config is not None
    app = App(config)
    app.close()
    (row,) = (line for line in text(README).splitlines() if line.startswith("| Answers to |"))
    doors, pages = (set(re.findall(r"`([^`]+)`", cell)) for cell in row.split("|")[2:4])
    assert doors == set(app.doors.traffic.doors)
    served = {route.path for route in app.pages.routes if isinstance(route, Route | Mount)}
    assert pages == {path for path in served if "{" not in path} - {"/static"}


def test_every_secret_in_the_readme_is_one_the_bot_reads() -> None:
    mentioned = set(re.findall(r"FIXFIRST_[A-Z_]+", text(README)))
    sources = "".join(text(path) for path in (ROOT / "bot").rglob("*.py") if "workbench" not in path.parts)
    tokens = {f"FIXFIRST_{source.upper()}_TOKENS" for source in (*SOURCES, *CHANGES)}
    assert mentioned
    assert mentioned <= set(re.findall(r"FIXFIRST_[A-Z_]+", sources)) | tokens


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for path in (README, ROOT / "CONTRIBUTING.md"):
        assert set(re.findall(r"(?:`|^)make ([a-z]+)", text(path), re.MULTILINE)) <= targets


def test_the_packages_to_install_are_those_of_the_build_machine() -> None:
    wanted = re.search(r"^packages=\((.*)\)$", text(ROOT / ".ci" / "run"), re.MULTILINE)
    assert wanted is not None
    installed = re.search(r"apt-get install -y ((?:.*\\\n)*.*)$", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    assert installed is not None
    assert set(wanted[1].split()) <= set(installed[1].split())


# -- the architecture ----------------------------------------------------------------------------------------


def tree(path: Path) -> Iterator[str]:
    """The paths of the file tree in a document: two spaces of indent for each folder."""
    (block,) = [block for block in fenced(path, "") if block.startswith(".ci/")]
    folders: list[str] = []
    for line in block.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth:]
        yield "".join(folders) + name
        if name.endswith("/"):
            folders.append(name)


def test_the_tree_names_only_what_exists() -> None:
    missing = [name for name in tree(ARCHITECTURE) if not (ROOT / name).exists()]
    assert not missing


def test_every_room_is_in_the_tree() -> None:
    rooms = {f"bot/{path.name}/" for path in (ROOT / "bot").iterdir() if (path / "__init__.py").exists()}
    modules = {f"bot/{path.name}" for path in (ROOT / "bot").glob("*.py") if path.name != "__init__.py"}
    assert rooms | modules <= set(tree(ARCHITECTURE))


def test_the_order_of_the_rooms_is_the_rule_of_imports() -> None:
    rules = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [rule["layers"] for rule in rules if rule["type"] == "layers"]
    order = [room.removeprefix("bot.") for layer in layers for room in layer.split(" | ")]
    sentence = " ".join(text(ARCHITECTURE).split("enforces")[1].split("\n\n")[0].split())
    assert [word for word in re.findall(r"`([a-z]+)`", sentence) if word in order] == order


# -- all documents -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", named(DECISIONS))
def test_a_decision_has_its_four_headings(name: str) -> None:
    lines = text(ROOT / name).splitlines()
    number = int(Path(name).name[:4])
    assert lines[0].startswith(f"# {number}. ")
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == ["## Context", "## Decision", "## Consequences", "## Alternatives"]


def test_the_decisions_are_numbered_without_a_gap_and_all_are_listed() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = re.findall(r"\(([0-9][^)]+\.md)\)", text(ROOT / "docs" / "decisions" / "README.md"))
    assert listed == [path.name for path in DECISIONS]


def anchors(path: Path) -> set[str]:
    """The names under which GitHub reaches the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", named(DOCUMENTS))
def test_every_link_inside_leads_somewhere(name: str) -> None:
    path = ROOT / name
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if "://" not in target and not (there.exists() and (not anchor or anchor in anchors(there))):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("name", named(DOCUMENTS))
def test_every_file_of_ours_that_is_named_exists(name: str) -> None:
    files = re.findall(r"`((?:bot|docs|tests|runbooks)/[\w./-]+)`", text(ROOT / name))
    assert not [file for file in files if "NAME" not in file and not (ROOT / file).exists()]


@pytest.mark.parametrize("name", named(DOCUMENTS))
def test_no_document_names_a_place_on_somebodys_machine(name: str) -> None:
    found = [place for place in MACHINE_PATHS if place in text(ROOT / name)]
    assert not found
