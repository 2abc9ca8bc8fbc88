"""The command that asks a model the canary's prompts now, or tells how it answered the bot."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli_drift import WRONG, hand_out, no_result, outlets
from bot.incident.plain import plain
from bot.terminal import CONFIG, config_at, desk_at, say

if TYPE_CHECKING:
    from bot.quality.canary import Canary, Round


@click.command()
@CONFIG
@click.argument("name", default="")
@click.option("--last", is_flag=True, help="Ask nobody: tell how the bot's own last rounds went.")
@outlets
def canary(*, path: Path, name: str, last: bool, style: str, textfile: Path | None, pushgateway: str) -> None:
    """Ask a model the canary's prompts and hold its answers against what they must be. Without NAME: every canary.

    Ends with 0 when all answers are as expected, 1 when some are not, and 2 when no answer came at all.
    """
    from bot.canaries import last_rounds
    from bot.quality import exposition
    from bot.quality.canary import figures

    chosen = _chosen(config_at(path).canaries, name)
    if last:
        with desk_at(path) as desk:
            names = {one.name for one in chosen}
            rounds = [one for one in last_rounds(desk.journal) if one.canary in names]
        if not rounds:
            raise click.ClickException("the bot has not done a round yet")
    else:
        rounds = [_now(one) for one in chosen]
    models = dict.fromkeys(one.model for one in rounds)
    told = {model: list(figures([one for one in rounds if one.model == model])) for model in models}
    with no_result():
        hand_out("fixfirst_canary", told, textfile, pushgateway)
    if style == "json":
        click.echo(json.dumps([one.to_dict() for one in rounds], indent=2))
    elif style == "openmetrics":
        click.echo(exposition.text(figures(rounds), open_metrics=True), nl=False)
    else:
        say("\n\n".join("\n".join(map(plain, one.lines())) for one in rounds))
    if any(one.quality is None for one in rounds):
        raise SystemExit(WRONG)
    raise SystemExit(1 if any(one.failed for one in rounds) else 0)


def _chosen(canaries: "tuple[Canary, ...]", name: str) -> "list[Canary]":
    chosen = [one for one in canaries if name in ("", one.name)]
    if not chosen:
        known = ", ".join(one.name for one in canaries) or "none; add a table [[canary]] to fixfirst.toml"
        raise click.UsageError(f"there is no canary {name}; there are {known}" if name else f"there are {known}")
    return chosen


def _now(canary: "Canary") -> "Round":
    from datetime import UTC, datetime

    found = canary.round(lambda: datetime.now(UTC))
    if found is None:
        raise AssertionError("a round that nobody stops ends")
    return found


COMMANDS = (canary,)
