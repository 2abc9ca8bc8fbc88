"""The command for who writes runbooks: it needs no journal and no network, and a configuration only if told so."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bot.config import load_for_terminal
from bot.terminal import config_at, say

if TYPE_CHECKING:
    from bot.runbook.model import Fault

DEFAULT_FOLDER: Final = Path("runbooks")
FORMATS: Final = ("text", "github", "json")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="FIXFIRST_CONFIG",
    help="A fixfirst.toml whose targets the runbooks must fit; without it targets are not looked at.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(FORMATS),
    help="How faults are written; 'github' by itself in a GitHub workflow, else 'text'.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema for editors, and check nothing.")
def lint(paths: tuple[Path, ...], config_path: Path | None, style: str | None, schema: bool) -> None:
    """Check runbooks: files, and folders with all below them.

    Without PATHS: the folder that the configuration names, or ./runbooks. Each fault is FILE:LINE: what is wrong.
    Ends with 0 without a fault, with 1 when there is one, with 2 when there is nothing to check.
    """
    from bot.runbook import schema as editors
    from bot.runbook import shelf

    if schema:
        click.echo(json.dumps(editors.schema(), indent=2, ensure_ascii=False))
        return
    config = config_at(config_path, load_for_terminal) if config_path else None
    whole = paths or ((config.runbooks_dir,) if config else (DEFAULT_FOLDER,))
    if not paths and not whole[0].is_dir():
        raise click.UsageError(f"there is no folder ./{DEFAULT_FOLDER} here; name files or folders")
    for path in whole:
        if path.is_dir() and shelf.files(path) == ([], []):
            raise click.UsageError(f"{path} holds no runbook: no *.md but {shelf.NOT_A_RUNBOOK}")
    checked, faults = shelf.check_all(whole, config.targets if config else None)
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    _print(style or ("github" if on_github else "text"), checked, faults)
    raise SystemExit(1 if faults else 0)


def _print(style: str, checked: int, faults: Sequence["Fault"]) -> None:
    from bot.runbook import report

    if style == "json":
        click.echo(report.as_json(faults))
        return
    if faults:
        github = style == "github"
        say(report.as_github(faults, os.environ.get("GITHUB_WORKSPACE", "")) if github else report.as_text(faults))
    click.echo(f"Runbooks checked: {checked}. Faults: {len(faults)}.")


COMMANDS: Final = (lint,)
