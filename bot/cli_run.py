"""The command that shows what a runbook would do, for who tries one out before anything burns."""

from pathlib import Path
from typing import Final

import click

from bot.incident.plain import hanging
from bot.terminal import CONFIG, config_at, say


@click.command()
@CONFIG
@click.argument("runbook")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--plan", is_flag=True, help="Show what each step would do, and do none of it.")
def run(path: Path, runbook: str, values: tuple[str, ...], plan: bool) -> None:
    """Show what a runbook would do to the world as it is now.

    It is carried out in an incident, where people see it: /incident run. Ends with 1 when a step could not be done.
    """
    from bot.app import runbook_parts
    from bot.incident.people import Refused
    from bot.runbook.library import Library
    from bot.runbook.preview import foresee
    from bot.runbook.shelf import load

    if not plan:
        raise click.UsageError(
            "a runbook is carried out in an incident, by /incident run; here it is shown with --plan"
        )
    config = config_at(path)
    wrong = [text for text in values if "=" not in text]
    if wrong:
        raise click.UsageError(f"write the value of a parameter as NAME=VALUE, not {wrong[0]!r}")
    books, _ = load(config.runbooks_dir, targets=config.targets)
    try:
        start = Library(books, config.targets).start(runbook, dict(text.split("=", 1) for text in values))
    except Refused as refused:
        raise click.ClickException(f"{refused} `fixfirst lint` says what is wrong with a runbook.") from refused
    say(f"{start.title}, on {start.target}. Nothing is done; each step is shown as the world is now.")
    troubles = 0
    for number, step in enumerate(foresee(start.steps, runbook_parts(config)), 1):
        say(f"\n{number}. {step.step.title}  ({step.terms})")
        for text in step.lines:
            say(hanging("   ", text))
        if step.trouble:
            troubles += 1
            say(hanging("   could not be planned: ", step.trouble))
    raise SystemExit(1 if troubles else 0)


COMMANDS: Final = (run,)
