"""The command that tells what was changed of late."""

from pathlib import Path

import click

from bot.cli_hands import SERVER
from bot.terminal import CONFIG, Reach, hands_at, say


@click.command()
@CONFIG
@SERVER
@click.argument("whose", default="")
def changes(path: Path, server: str, whose: str) -> None:
    """Print what was deployed or set differently of late, UTC: of a model, a service, an incident, or everything."""
    with hands_at(Reach(path, server)) as hands:
        say(hands.read("changes", {"whose": whose}))


COMMANDS = (changes,)
