"""The commands about alert rules and objectives: write the pack, look at it, and examine the rules that are loaded."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bot.config import Config, load_for_terminal
from bot.health.rules.watched import ENGINE_IDS, EXPORTERS, Scope
from bot.terminal import CONFIG, config_at, say

if TYPE_CHECKING:
    from bot.health.rules.live import Prometheus

UNREACHABLE: Final = 2


@click.group()
def rules() -> None:
    """Alert rules for Prometheus: written for what you have, and examined where they are loaded."""


def _scope(path: Path, engines: str, exporters: str) -> Scope:
    """As the configuration says; without a file, the standard. What the options name goes before it."""
    scope = config_at(path, load_for_terminal).rules if path.exists() else Scope()
    chosen = _named("--engines", engines, ENGINE_IDS), _named("--exporters", exporters, EXPORTERS)
    return replace(scope, engines=chosen[0] or scope.engines, exporters=chosen[1] or scope.exporters)


def _named(option: str, text: str, known: Collection[str]) -> tuple[str, ...]:
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    wrong = [name for name in names if name not in known]
    if wrong:
        raise click.UsageError(f"{option}: {wrong[0]} is not known; use {', '.join(known)}")
    return names


ENGINES = click.option("--engines", default="", metavar="NAME,…", help=f"Any of {', '.join(ENGINE_IDS)}.")
EXPORTERS_OPTION = click.option("--exporters", default="", metavar="NAME,…", help=f"Any of {', '.join(EXPORTERS)}.")


@rules.command()
@CONFIG
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("alerts"), show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(("prometheus", "operator")),
    default="prometheus",
    show_default=True,
    help="'operator' adds a PrometheusRule for prometheus-operator.",
)
@ENGINES
@EXPORTERS_OPTION
def generate(path: Path, out: Path, form: str, engines: str, exporters: str) -> None:
    """Write the alert pack: rules, their unit tests for promtool, and a list of counters for the DCGM exporter.

    Rules and tests that it wrote into the folder before and that are not wanted now are removed: Prometheus would load
    them still.
    """
    from bot.health.rules.write import files

    written = files(_scope(path, engines, exporters), form)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (out / name).write_text(text, encoding="utf-8")
            click.echo(out / name)
        for file in _left(out, written):
            file.unlink()
            click.echo(f"removed {file}")
    except OSError as error:
        raise click.ClickException(f"{error.filename or out} cannot be written: {error.strerror}") from error


def _left(folder: Path, written: Collection[str]) -> list[Path]:
    """Files there that bear our head line and were not written this time; nobody else's."""
    from bot.health.rules.write import HEAD

    def ours(file: Path) -> bool:
        with file.open("rb") as opened:
            return opened.read(len(HEAD)) == HEAD.encode()

    there = sorted((*folder.glob("*.yml"), *folder.glob("*.yaml")))
    return [file for file in there if file.name not in written and file.is_file() and ours(file)]


@rules.command(name="list")
@CONFIG
@ENGINES
@EXPORTERS_OPTION
def list_(path: Path, engines: str, exporters: str) -> None:
    """Print the alerts that would be written, as a Markdown table."""
    from bot.health.rules.pack import catalogue, pack

    click.echo(catalogue(pack(_scope(path, engines, exporters))), nl=False)


@rules.command()
@CONFIG
@click.option("--prometheus", "url", default="", help="Its address; without it, the configured one.")
@click.option(
    "--file",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Examine a rule file that is not loaded yet; may be repeated.",
)
def doctor(path: Path, url: str, paths: tuple[Path, ...]) -> None:
    """Find the alert rules that can never fire, or that mislead.

    Ends with 0 when there are none, with 1 when there are, with 2 when Prometheus or a file cannot be read.
    """
    from bot.health.rules.doctor import examine, read_file
    from bot.health.rules.findings import lines
    from bot.health.rules.live import Unreachable
    from bot.health.rules.syntax import Unreadable

    config = None if url else config_at(path)
    try:
        with _prometheus(config, url) as prometheus:
            loaded = [rule for file in paths for rule in read_file(file)] if paths else prometheus.rules()
            examination = examine(loaded, prometheus)
    except (Unreachable, Unreadable) as error:
        say(str(error), err=True)
        raise SystemExit(UNREACHABLE) from error
    for line in lines(examination):
        say(line)
    raise SystemExit(1 if examination.findings else 0)


def _prometheus(config: Config | None, url: str) -> "Prometheus":
    """The one that the option names, else the configured one with its token."""
    from bot.health.rules.live import Prometheus

    if url:
        return Prometheus(url)
    settings = config.prometheus if config else None
    if settings is None:
        raise click.ClickException("no Prometheus is configured; add [prometheus] with its url, or use --prometheus")
    return Prometheus(settings.url, timeout=settings.timeout, headers=settings.headers)


@click.command()
@CONFIG
def slo(path: Path) -> None:
    """Print the objectives: how much of each error budget is left, and how fast it burns."""
    from bot.health import standings
    from bot.sight import telemetry_of

    config = config_at(path)
    telemetry = telemetry_of(config)
    if telemetry is None:
        raise click.ClickException("no Prometheus is configured; add [prometheus] with its url")
    for standing in standings(telemetry, config.rules.kept):
        say(f"{standing.state:<8}{standing.line}")


COMMANDS: Final = (rules, slo)
