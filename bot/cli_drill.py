"""Drills from the terminal: which there are, to begin one, to end them, and how one went."""

from pathlib import Path

import click

from bot.terminal import CONFIG, at_host, config_at, desk_at, say, the_one_here


@click.command()
@CONFIG
@click.argument("scenario", default="")
@click.option("--stop", is_flag=True, help="End every drill that goes on, and make whole what it broke.")
@click.option("--score", default="", metavar="REF", help="How the drill of this incident went.")
def drill(path: Path, scenario: str, stop: bool, score: str) -> None:
    """Practise: break something on purpose, or seem to. Without SCENARIO: what there is, and what goes on."""
    from bot.drills import Drills

    config = config_at(path)  # with its secrets: what breaks something asks for a token
    with desk_at(path) as desk, at_host():
        drills = Drills(desk, config.drills)
        if score:
            say(drills.score(score))
        elif stop:
            ended = drills.stop(the_one_here())
            click.echo("\n".join(f"{one.scenario}: ended" for one in ended) or "No drill goes on.")
        elif scenario:
            begun = drills.start(scenario, the_one_here())
            click.echo(
                f"{begun.scenario} has begun, until {begun.until:%H:%M} UTC at most. Its incident comes as a real"
            )
            click.echo("one does; fixfirst list shows it, fixfirst drill --score REF how it went.")
        else:
            names = (f"{name:<20} {one.about}" for name, one in drills.scenarios.items())
            going = (
                f"{one.scenario} goes on since {one.started_at:%H:%M} UTC ({one.by})" for one in drills.under_way()
            )
            say("\n".join([*names, *going]) or "No drill is set up; add a table [drills.NAME] to fixfirst.toml.")


COMMANDS = (drill,)
