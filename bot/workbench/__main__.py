"""`python -m bot.workbench`: start everything, say where the page is, and end it all on Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from bot.workbench.children import StartFailed
from bot.workbench.launch import MANIFEST, Options, Workbench
from bot.workbench.monitoring import APT_LINE
from bot.workbench.server import PortTaken
from bot.workbench.settings import PORT_OPTIONS, Ports

BOLD, DIM, PINK, OFF = "\033[1m", "\033[2m", "\033[38;5;204m", "\033[0m"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m bot.workbench", description=__doc__)
    defaults = Ports()
    for name, option in PORT_OPTIONS.items():
        default = getattr(defaults, name)
        words = f"port of {name} (default {default}, 0: any free one)"
        result.add_argument(option, dest=name, type=_port, default=default, metavar="PORT", help=words)
    result.add_argument("--dir", type=Path, help="keep all state here (default: a fresh temporary directory)")
    result.add_argument("--manifest", type=Path, default=MANIFEST, help="the bot's Slack app manifest")
    result.add_argument("--no-bot", action="store_true", help="start everything but the bot")
    result.add_argument("--socket-mode", action="store_true", help="Slack and the bot talk over a WebSocket")
    result.add_argument("--open", action="store_true", help="open the page in a browser")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM; returns the exit status."""
    args = parser().parse_args(argv)
    options = Options(
        ports=Ports(**{name: getattr(args, name) for name in PORT_OPTIONS}),
        directory=args.dir,
        bot=not args.no_bot,
        manifest=args.manifest,
        socket_mode=args.socket_mode,
    )
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    try:
        bench = Workbench(options)
        bench.start()
    except (PortTaken, StartFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        print(welcome(bench, colour=sys.stdout.isatty()), flush=True)
        if args.open:
            webbrowser.open(bench.ports.url("page"))
        _watch(bench, ending)
    finally:
        print("\nEnding …", flush=True)
        bench.stop()
    return 0


def welcome(bench: Workbench, *, colour: bool) -> str:
    """What a person reads after the start: the address, what to press, what is missing, where the state is."""
    bold, dim, pink, off = (BOLD, DIM, PINK, OFF) if colour else ("", "", "", "")
    ports = bench.ports
    lines = [
        "",
        f"  {pink}FixFirst{off}{bold} · the workbench is running{off}",
        "",
        f"  {bold}{ports.url('page')}{off}   open this, then press {bold}Bad deploy{off} in the panel",
        "",
        f"  {dim}An alert becomes a card in #incidents within seconds. Acknowledge it, run the rollback,{off}",
        f"  {dim}see it verified, resolve, and read the postmortem.{off}",
        "",
    ]
    if bench.options.bot:
        lines.append(f"  bot           {ports.url('pages')}")
    else:
        lines += [
            "  bot           not started (--no-bot); by hand:",
            f"                . {bench.directory / 'bot.env'}",
            f"                python -m bot.cli serve --config {bench.bot_config}",
        ]
    lines += [
        f"  PagerDuty     {ports.url('pagerduty')}",
        f"  fleet         {ports.url('fleet')}/metrics",
    ]
    for name, key in (("Prometheus", "prometheus"), ("Alertmanager", "alertmanager")):
        state = bench.monitoring.state(key)
        lines.append(f"  {name:<13} {ports.url(key) if state == 'up' else 'not installed'}")
    if bench.monitoring.missing:
        lines += [
            "",
            f"  {bold}Without {' and '.join(bench.monitoring.missing)} no fault becomes an alert.{off} To add:",
            f"  {APT_LINE}",
        ]
    lines += [f"  state         {bench.directory}", "", f"  {dim}Ctrl-C ends it all.{off}", ""]
    return "\n".join(lines)


def _watch(bench: Workbench, ending: threading.Event) -> None:
    """Wait for the end; say once when the bot has ended by itself. Nothing is restarted behind anyone's back."""
    told = not bench.options.bot
    while not ending.wait(0.5):
        if not told and not bench.bot.running:
            told = True
            print(
                f"The bot has ended by itself; the rest still runs.\n{bench.bot.log_tail()}",
                file=sys.stderr,
                flush=True,
            )


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError(text)
    return port


if __name__ == "__main__":
    sys.exit(main())
