"""The commands that work on incidents when chat is down: on the server's own host, or from anywhere over HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bot.terminal import CONFIG, WITHIN_S, Reach, at_host, desk_at, hands_at, me, say, the_one_here, who_hears_of_it

SERVER = click.option(
    "--server",
    envvar="FIXFIRST_SERVER",
    default="",
    help="The address of the pages, to work from elsewhere; the key comes from FIXFIRST_KEY, or is asked for.",
)
REASON = click.option("--reason", default="", help="Why you act past the chat; kept with your name.")


def _reading(command: Callable[..., Any]) -> Callable[..., Any]:
    return CONFIG(SERVER(command))


def _acting(command: Callable[..., Any]) -> Callable[..., Any]:
    return CONFIG(SERVER(REASON(command)))


def _reads_unless_more_is_said(context: click.Context, reach: Reach, word: str) -> None:
    """What a group of commands does by itself; its commands get the reach."""
    context.obj = reach
    if context.invoked_subcommand is None:
        with hands_at(reach) as hands:
            say(hands.read(word, {}))


@click.command(name="list")
@_reading
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
def list_(path: Path, server: str, everything: bool) -> None:
    """List the incidents."""
    with hands_at(Reach(path, server)) as hands:
        say(hands.read("list", {"all": "yes"} if everything else {}))


@click.command()
@_reading
@click.argument("ref")
def timeline(path: Path, server: str, ref: str) -> None:
    """Print what happened, in order, UTC, each with the number of its entry."""
    with hands_at(Reach(path, server)) as hands:
        say(hands.read("timeline", {"ref": ref}))


@click.command()
@_acting
@click.argument("ref")
def ack(path: Path, server: str, reason: str, ref: str) -> None:
    """Acknowledge an incident, for when chat is down."""
    with hands_at(Reach(path, server, reason)) as hands:
        say(hands.act("ack", {"ref": ref}))


@click.command()
@_acting
@click.argument("ref")
@click.argument("plan", default="")
def approve(path: Path, server: str, reason: str, ref: str, plan: str) -> None:
    """Show the runbook step that waits for an approval; with its PLAN as shown, approve that and nothing else."""
    with hands_at(Reach(path, server, reason)) as hands:
        say(hands.act("approve", {"ref": ref, "plan": plan}) if plan else hands.read("plan", {"ref": ref}))


@click.command()
@CONFIG
@SERVER
@click.argument("ref")
@click.argument("reason")
@click.option("--despite-firing", is_flag=True, help="Resolve although alerts still fire; they are snoozed.")
@click.option("--unproven", is_flag=True, help="Resolve although the telemetry does not prove it, or cannot be asked.")
def resolve(path: Path, server: str, ref: str, reason: str, **despite: bool) -> None:
    """Resolve an incident, for when chat is down; the REASON is also why you act past the chat."""
    words = {"ref": ref, "reason": reason, **{name: "yes" for name, said in despite.items() if said}}
    with hands_at(Reach(path, server, reason, stands_in=True)) as hands:
        say(hands.act("resolve", words))


@click.group(invoke_without_command=True)
@_reading
@click.pass_context
def failover(context: click.Context, path: Path, server: str) -> None:
    """Say whether automation is frozen because the database failed over or was restored."""
    _reads_unless_more_is_said(context, Reach(path, server), "failover")


@failover.command()
@REASON
@click.pass_obj
def confirm(reach: Reach, reason: str) -> None:
    """Vouch for the database as it is now, so that runbooks act again."""
    with hands_at(reach.because(reason)) as hands:
        say(hands.act("confirm", {}))


@click.group(invoke_without_command=True)
@_reading
@click.pass_context
def runbooks(context: click.Context, path: Path, server: str) -> None:
    """Say whether runbooks may act, and which are under way."""
    _reads_unless_more_is_said(context, Reach(path, server), "runbooks")


@runbooks.command()
@click.argument("reason")
@click.pass_obj
def stop(reach: Reach, reason: str) -> None:
    """Stop all runbooks at once; the REASON is also why you act past the chat. What was done can be undone."""
    with hands_at(reach.because(reason, stands_in=True)) as hands:
        say(hands.act("stop-runbooks", {"reason": reason}))


@runbooks.command()
@REASON
@click.pass_obj
def start(reach: Reach, reason: str) -> None:
    """Let runbooks act again after they were stopped."""
    with hands_at(reach.because(reason)) as hands:
        say(hands.act("start-runbooks", {}))


@click.command(name="break-glass")
@CONFIG
@click.option("--reason", default="", help="Why; it is kept with your name.")
@click.option("--for", "name", default="", help="Who gets the key, when it is not you.")
@click.option("--take-back", default="", metavar="KEY-ID", help="End a key before its hour is over.")
def break_glass(path: Path, reason: str, name: str, take_back: str) -> None:
    """Make a key for a terminal elsewhere, good for an hour; it is shown once. On this host you need none."""
    from bot.journal import glass

    with desk_at(path) as desk, at_host():
        if take_back:
            taken = desk.soon(lambda txn: glass.shut(txn, the_one_here(), take_back), WITHIN_S)
            click.echo(f"The key {taken.id} of {taken.name} opens nothing any more.")
            return
        key = glass.new_key()
        made = desk.soon(lambda txn: glass.break_glass(txn, the_one_here(), name or me(), reason, key), WITHIN_S)
    told = who_hears_of_it(path)
    click.echo(f"The key {made.id} is good until {made.until:%H:%M} UTC; {told}. Shown once:", err=True)
    click.echo(key)
    click.echo("Where it is used: export FIXFIRST_SERVER=https://... and FIXFIRST_KEY, then fixfirst ack REF", err=True)


COMMANDS = (list_, timeline, ack, approve, resolve, runbooks, failover, break_glass)
