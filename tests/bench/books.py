"""Many runbooks, and how long the command takes that checks them."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

RUNBOOKS: Final = 500
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
