"""The `fixfirst` command: what operators run, and the way in when chat itself is down."""

import getpass
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import structlog

from bot.config import Config, load, load_for_terminal, shipped_runbooks
from bot.incident import commands as cmd
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.incident.state import Incident
from bot.incident.timeline import line, span

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("fixfirst.toml"),
    envvar="FIXFIRST_CONFIG",
    show_default=True,
    help="The configuration file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fixfirst", prog_name="fixfirst")
def main() -> None:
    """Fix first, understand later: the incident-response bot for teams that run AI inference on GPUs."""


def _config(path: Path, read: Callable[[Path], tuple[Config | None, list[str]]] = load) -> Config:
    """The configuration; with faults, all of them are printed and the command ends with 2."""
    config, faults = read(path)
    for fault in faults:
        click.echo(f"{path}: {fault}", err=True)
    if config is None:
        raise SystemExit(2)
    return config


@main.command()
@CONFIG
@click.option("--plain/--json", "plain", default=sys.stderr.isatty(), help="How log lines look.")
def serve(path: Path, plain: bool) -> None:
    """Run the bot."""
    from bot.app import AlreadyRunning, PortTaken, serve

    _logging(plain=plain)
    try:
        serve(_config(path))
    except (AlreadyRunning, PortTaken) as error:
        raise click.ClickException(str(error)) from error


@main.command(name="try", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def try_(arguments: tuple[str, ...]) -> None:
    """Try everything on this machine: a local chat, pager, GPU fleet and monitoring. No account needed."""
    os.execv(sys.executable, [sys.executable, "-m", "bot.workbench", *arguments])  # noqa: S606 - our own program


@main.command()
@CONFIG
def check(path: Path) -> None:
    """Check the configuration and the runbooks, and report every fault at once."""
    from bot.runbook.shelf import load as load_runbooks

    config, faults = load(path)
    lines = [f"{path}: {fault}" for fault in faults]
    if config is not None:
        runbooks, wrong = load_runbooks(config.runbooks_dir, endpoints=config.endpoints)
        if config.runbooks_dir == shipped_runbooks():
            for fault in wrong:
                click.echo(f"a shipped runbook is not offered yet: {fault}")
        else:
            lines += [str(fault) for fault in wrong]
        for name, connected in _connections(config):
            click.echo(f"{'connected' if connected else 'not connected':>14}  {name}")
        click.echo(f"{len(runbooks):>14}  runbooks in {config.runbooks_dir}")
    for text in lines:
        click.echo(text, err=True)
    if lines:
        raise SystemExit(2)
    click.echo("No faults.")


def _connections(config: Config) -> list[tuple[str, bool]]:
    return [
        ("Slack", config.slack is not None),
        *((name.capitalize(), bool(tokens)) for name, tokens in config.tokens.items()),
        ("PagerDuty", config.pagerduty is not None),
        ("Prometheus", config.prometheus is not None),
        ("on-call rota", bool(config.oncall.rotas)),
    ]


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def lint(folder: Path) -> None:
    """Check the runbooks of a folder; each fault is FILE:LINE: what is wrong."""
    from bot.runbook.shelf import load as load_runbooks

    runbooks, faults = load_runbooks(folder)
    for fault in faults:
        click.echo(str(fault), err=True)
    click.echo(f"{len(runbooks)} runbooks without fault, {len(faults)} faults.")
    if faults:
        raise SystemExit(1)


@contextmanager
def _desk(path: Path) -> Iterator[Any]:
    """The desk over the same journal that the server works on; the server's sweep delivers what we decide.

    It needs no secrets: at 3 AM, on a terminal, with chat down, nobody has them in the environment.
    """
    from bot.app import open_journal
    from bot.desk import Desk

    config = _config(path, load_for_terminal)
    journal = open_journal(config)
    try:
        yield Desk(journal, config.policy, config.reading, lambda: None)
    finally:
        journal.close()


def _find(desk: Any, ref: str) -> Incident:
    incident: Incident | None = desk.journal.find(ref)
    if incident is None:
        raise click.ClickException(f"there is no incident {ref}; fixfirst list shows them")
    return incident


def _me() -> str:
    """The name of whoever sits at this terminal; a container may run as a number without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _carry_out(desk: Any, make: Callable[[dict[str, Any]], cmd.Command], incident: Incident) -> Incident:
    """One command by the person at this terminal, who can read the journal and so may act on it."""
    from bot.journal.ids import new_id

    who = _me()
    by = Actor(ActorKind.MEMBER, f"cli:{who}", f"{who} (terminal)", frozenset({Right.RESPOND}))
    common = {"incident": incident.id, "by": by, "at": desk.journal.clock(), "key": f"cli:{new_id()}", "source": "cli"}
    try:
        after: Incident = desk.handle(make(common), timeout=30).incident
    except Refused as refused:
        raise click.ClickException(str(refused)) from refused
    return after


@main.command(name="list")
@CONFIG
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
def list_(path: Path, everything: bool) -> None:
    """List the incidents."""
    with _desk(path) as desk:
        incidents = desk.journal.recent(50) if everything else desk.journal.live()
        now = desk.journal.clock()
        for item in incidents:
            click.echo(
                f"{item.ref:<8} {item.severity} {item.status:<12} {span(now - item.opened_at):>10}  "
                f"{item.firing} firing  {item.title}"
            )
        if not incidents:
            click.echo("No incident is open.")


@main.command()
@CONFIG
@click.argument("ref")
def ack(path: Path, ref: str) -> None:
    """Acknowledge an incident, for when chat is down."""
    with _desk(path) as desk:
        after = _carry_out(desk, lambda common: cmd.Acknowledge(**common), _find(desk, ref))
        click.echo(f"{after.ref} is {after.status}.")


@main.command()
@CONFIG
@click.argument("ref")
@click.argument("reason")
@click.option("--despite-firing", is_flag=True, help="Resolve although alerts still fire; they are snoozed.")
def resolve(path: Path, ref: str, reason: str, despite_firing: bool) -> None:
    """Resolve an incident, for when chat is down."""
    with _desk(path) as desk:
        after = _carry_out(
            desk,
            lambda common: cmd.Resolve(**common, reason=reason, despite_firing=despite_firing),
            _find(desk, ref),
        )
        click.echo(f"{after.ref} is {after.status}.")


@main.command()
@CONFIG
@click.argument("ref")
def timeline(path: Path, ref: str) -> None:
    """Print what happened, in order, UTC."""
    with _desk(path) as desk:
        incident = _find(desk, ref)
        for entry in desk.journal.entries(incident.id):
            text = line(entry, incident)
            if text:
                click.echo(f"{entry.at:%Y-%m-%d %H:%M:%S}  {text}")


@main.command()
@CONFIG
@click.argument("model", default="")
def health(path: Path, model: str) -> None:
    """Ask the telemetry how a model, or the whole fleet, is doing."""
    from bot.app import telemetry_of, wall_clock
    from bot.health import lines, survey

    telemetry = telemetry_of(_config(path))
    if telemetry is None:
        raise click.ClickException("no Prometheus is configured; add [prometheus] with its url")
    for text in lines(survey(telemetry, model or None, wall_clock())):
        click.echo(text)


@main.command()
@CONFIG
def verify(path: Path) -> None:
    """Check every incident's chain of hashes; a changed, missing or swapped entry is named."""
    with _desk(path) as desk:
        broken = 0
        incidents = desk.journal.recent(1_000_000)
        for item in incidents:
            seq = desk.journal.verify(item.id)
            if seq is not None:
                broken += 1
                click.echo(f"{item.ref}: the chain breaks at entry {seq}", err=True)
        click.echo(f"{len(incidents)} chains checked, {broken} broken.")
        if broken:
            raise SystemExit(1)


def _logging(*, plain: bool) -> None:
    """One line per thing that happened: an event name and its fields."""
    renderer: Any = structlog.dev.ConsoleRenderer(colors=False) if plain else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


if __name__ == "__main__":
    main()
