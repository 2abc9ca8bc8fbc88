"""Many runbooks, how long the command takes that checks them; and one, how long its previews take."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bot.app import runbook_parts
from bot.config import load
from bot.runbook.preview import foresee
from bot.runbook.render import start
from bot.runbook.shelf import load as load_runbooks
from bot.workbench.launch import Workbench

RUNBOOKS: Final = 500
STEPS: Final = 6
SHIPPED: Final = sorted((Path(__file__).parents[2] / "runbooks").glob("*.md"))


def lint(folder: Path) -> float:
    """Seconds from the start of `fixfirst lint` to its end, over copies of the shipped runbooks."""
    folder.mkdir()
    for number in range(RUNBOOKS):
        shipped = SHIPPED[number % len(SHIPPED)]
        text = shipped.read_text(encoding="utf-8").replace(f"id: {shipped.stem}\n", f"id: copy-{number}\n", 1)
        (folder / f"copy-{number}.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "bot.cli", "lint", "--format", "text", str(folder)]
    began = time.perf_counter()
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    took = time.perf_counter() - began
    if told.stdout != f"Runbooks checked: {RUNBOOKS}. Faults: 0.\n":
        raise RuntimeError(f"the linter says: {told.stdout}")
    return took


def plan(bench: Workbench, runbook: str, **values: str) -> float:
    """Seconds for a preview of every step of a runbook, as the bot makes them, on the workbench's fleet."""
    config, faults = load(bench.bot_config, bench.secrets.bot_environment().get)
    if config is None:
        raise RuntimeError(f"the workbench's configuration is wrong: {faults}")
    books, _ = load_runbooks(config.runbooks_dir, targets=config.targets)
    steps = start(books[runbook], values, targets=config.targets).steps
    parts = runbook_parts(config)
    began = time.perf_counter()
    shown = list(foresee(steps, parts))
    took = time.perf_counter() - began
    wrong = [f"{one.step.id}: {one.trouble}" for one in shown if one.trouble]
    if wrong or len(shown) != STEPS:
        raise RuntimeError(f"of {len(shown)} steps could not be planned: {wrong}")
    return took
