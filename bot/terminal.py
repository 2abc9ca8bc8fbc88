"""What the commands of the terminal share: the configuration, the desk, and who sits there."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bot.config import Config, load, load_for_terminal
from bot.incident import commands as cmd
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.incident.state import Incident

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("fixfirst.toml"),
    envvar="FIXFIRST_CONFIG",
    show_default=True,
    help="The configuration file.",
)


def config_at(path: Path, read: Callable[[Path], tuple[Config | None, list[str]]] = load) -> Config:
    """The configuration; with faults, all of them are printed and the command ends with 2."""
    config, faults = read(path)
    for fault in faults:
        click.echo(f"{path}: {fault}", err=True)
    if config is None:
        raise SystemExit(2)
    return config


@contextmanager
def desk_at(path: Path) -> Iterator[Any]:
    """The desk over the same journal that the server works on; the server's sweep delivers what we decide.

    It needs no secrets: at 3 AM, on a terminal, with chat down, nobody has them in the environment.
    """
    from bot.app import open_journal
    from bot.desk import Desk
    from bot.journal.database import NewerSchema

    config = config_at(path, load_for_terminal)
    try:
        journal = open_journal(config)
    except NewerSchema as error:
        raise click.ClickException(str(error)) from error
    try:
        yield Desk(journal, config.policy, config.reading, lambda: None)
    finally:
        journal.close()


def find(desk: Any, ref: str) -> Incident:
    incident: Incident | None = desk.journal.find(ref)
    if incident is None:
        archived = desk.journal.archived(ref)
        raise click.ClickException(str(archived or f"there is no incident {ref}; fixfirst list shows them"))
    return incident


def me() -> str:
    """The name of whoever sits at this terminal; a container may run as a number without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def by_me(desk: Any, incident: Incident) -> dict[str, Any]:
    """What every command by the person at this terminal says: whoever can read the journal may act on it."""
    from bot.journal.ids import new_id

    who = me()
    by = Actor(ActorKind.MEMBER, f"cli:{who}", f"{who} (terminal)", frozenset({Right.RESPOND}))
    return {"incident": incident.id, "by": by, "at": desk.journal.clock(), "key": f"cli:{new_id()}", "source": "cli"}


def carry_out(desk: Any, make: Callable[[dict[str, Any]], cmd.Command], incident: Incident) -> Incident:
    """One command by the person at this terminal."""
    try:
        after: Incident = desk.handle(make(by_me(desk, incident)), timeout=30).incident
    except Refused as refused:
        raise click.ClickException(str(refused)) from refused
    return after
