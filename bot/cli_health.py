"""The command that asks the telemetry: a report in the terminal, its picture, and how right its verdicts have been."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.incident.plain import plain
from bot.terminal import CONFIG, config_at, desk_at, say

if TYPE_CHECKING:
    from bot.config import Config
    from bot.incident.change import Change


@click.command()
@CONFIG
@click.argument("about", default="", metavar="ABOUT")
@click.option("--full", is_flag=True, help="With each check's query.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the last 90 minutes as a PNG.")
@click.option("--ratings", "rated", is_flag=True, help="Show how right the verdicts have been.")
def health(path: Path, about: str, full: bool, picture: Path | None, rated: bool) -> None:
    """Ask the telemetry how a model, a node, a GPU (UUID or NODE:INDEX) or the whole fleet is doing."""
    if rated:
        _ratings(path)
        return
    from bot.health import lines
    from bot.health.freeze import picture_of
    from bot.journal.clock import wall_clock
    from bot.sight import health_report, recorder_of, telemetry_of

    config = config_at(path)
    telemetry, recorder = telemetry_of(config), recorder_of(config)
    if telemetry is None or recorder is None:
        raise click.ClickException("no Prometheus is configured; add [prometheus] with its url")
    scope = telemetry.scope(about)
    changes, unread = _told(config, scope.model)
    report = health_report(config, telemetry, scope, wall_clock(), changes)
    if unread:
        report = replace(report, unknowns=(*report.unknowns, f"what pipelines told of: {unread}"))
    for text in lines(report):
        say(plain(text))
    for check in report.checks if full else ():
        say(f"\n{plain(f'{check.check} {check.title}: {check.text}')}\n  {plain(check.query) or 'not asked'}")
    if picture is None:
        return
    drawn = picture_of(report, recorder.record(report), (), config.health.sla_seconds, changes)
    if drawn is None:
        raise click.ClickException("the picture could not be drawn")
    try:
        picture.write_bytes(drawn)
    except OSError as error:
        raise click.ClickException(f"{picture}: {error.strerror or error}") from error
    click.echo(f"\nThe last 90 minutes are in {picture}")


def _told(config: "Config", model: str) -> "tuple[Sequence[Change], str]":
    """What pipelines told the server of that may be behind it, and why that could not be read."""
    from bot.desk import Desk
    from bot.journal import Busy
    from bot.journal.database import NewerSchema, Unreachable, reaching
    from bot.opening import NoJournal, open_journal

    try:
        with closing(open_journal(config, make=False)) as journal, reaching(config.database):
            return Desk(journal, config.policy, config.reading, lambda: None).suspects(model), ""
    except (NewerSchema, NoJournal, Unreachable, Busy, OSError) as error:
        return (), str(error)


def _ratings(path: Path) -> None:
    from bot.incident.rating import lines
    from bot.journal.ratings import ratings

    with desk_at(path) as desk:
        rated = desk.journal.ask(ratings)
    for text in lines(rated):
        say(plain(text))


COMMANDS = (health,)
