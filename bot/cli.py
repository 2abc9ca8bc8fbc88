"""The `fixfirst` command: what operators run, and the way in when chat itself is down."""

import os
import sys
from pathlib import Path

import click

from bot import (
    cli_canary,
    cli_changes,
    cli_drift,
    cli_drill,
    cli_hands,
    cli_health,
    cli_journal,
    cli_lint,
    cli_rules,
    cli_run,
    loglines,
)
from bot.config import Config, load, shipped_runbooks
from bot.terminal import CONFIG, config_at


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fixfirst", prog_name="fixfirst")
def main() -> None:
    """Fix first, understand later: the incident-response bot for teams that run AI inference on GPUs."""


@main.command()
@CONFIG
@click.option("--plain/--json", "plain", default=sys.stderr.isatty(), help="How log lines look.")
def serve(path: Path, plain: bool) -> None:
    """Run the bot."""
    from bot.app import serve
    from bot.journal.database import NewerSchema, Unreachable
    from bot.opening import AlreadyRunning
    from bot.web.listen import PortTaken

    loglines.begin(plain=plain)
    try:
        serve(config_at(path))
    except (AlreadyRunning, NewerSchema, PortTaken, Unreachable) as error:
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
        runbooks, wrong = load_runbooks(config.runbooks_dir, targets=config.targets)
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


for group in (
    cli_canary,
    cli_changes,
    cli_drift,
    cli_drill,
    cli_hands,
    cli_health,
    cli_journal,
    cli_lint,
    cli_rules,
    cli_run,
):
    for command in group.COMMANDS:
        main.add_command(command)


if __name__ == "__main__":
    main()
