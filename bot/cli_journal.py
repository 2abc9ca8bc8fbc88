"""The commands that look after the journal: whether it is whole, and what may be taken out of it."""

from pathlib import Path

import click

from bot.terminal import CONFIG, desk_at, find


@click.group()
def audit() -> None:
    """Show whether the journal is what was once written."""


def _verify(path: Path, ref: str) -> None:
    from bot.journal.chains import examine

    with desk_at(path) as desk:
        only = find(desk, ref).id if ref else ""
        found = desk.journal.ask(lambda direct, workspace: examine(direct, workspace, only))
    for damage in found.damage:
        click.echo(str(damage), err=True)
    click.echo(f"{found.incidents} chains checked, {len({damage.ref for damage in found.damage})} broken.")
    if found.damage:
        raise SystemExit(1)


@audit.command(name="verify")
@CONFIG
@click.argument("ref", default="")
def audit_verify(path: Path, ref: str) -> None:
    """Check an incident's chain of hashes, or all; what was changed, deleted, swapped or cut off is named."""
    _verify(path, ref)


@click.command()
@CONFIG
@click.argument("ref", default="")
def verify(path: Path, ref: str) -> None:
    """The same as audit verify."""
    _verify(path, ref)


COMMANDS = (audit, verify)
