"""`make bench`: the real `fixfirst serve` against a floor of our own, in the same minutes on the same machine.

`python -m tests.bench health` runs a part: sqlite, postgresql, runbooks, health.

Three rounds; every ratio is the median of the rounds' own ratios. Ends with 1 when a promise of the table is missed.
Loopback only, bounded in time (under fifteen minutes), and it cleans up after itself.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bot.workbench.launch import Options, Workbench
from bot.workbench.settings import Ports
from tests.bench import books, health, house, measure, report
from tests.bench.measure import Click, Pair
from tests.databases import PostgreSQL, postgresql

ROUNDS: Final = 3
IDLE_S: Final = 5.0
CLICK_AT_MOST: Final = 5.0
CLICK_BELOW_MS: Final = 50.0
INTAKE_AT_LEAST: Final = 0.4
CARD_BELOW_S: Final = 1.0
PAGE_BELOW_S: Final = 2.0
MEMORY_BELOW_MB: Final = 120.0
COLD_START_BELOW_S: Final = 2.0
LINT_BELOW_S: Final = 2.0
PLAN_BELOW_S: Final = 1.0
REPORT_BELOW_S: Final = 2.0
REPORT_BELOW_MB: Final = 100.0
PICTURE_BELOW_MS: Final = 300.0
CAUSE_AT_LEAST: Final = 0.9
SCRAPED_AFTER_S: Final = 6.0
ANY: Final = Ports(page=0, pagerduty=0, fleet=0, prometheus=0, alertmanager=0, doors=0, pages=0)


def starts(folder: Path, outside: int) -> list[report.Line]:
    """Cold starts on an empty folder and on a known one, idle memory, and the way from webhook to page and card."""
    first: list[float] = []
    again: list[float] = []
    idle: list[float] = []
    reached: dict[str, tuple[float, float]] = {}
    for number in range(ROUNDS):
        with house.product(folder / f"start-{number}", outside) as bot:
            first.append(bot.cold_start)
            if number == 0:
                time.sleep(IDLE_S)
                idle.append(bot.resident() / 1e6)
                reached = measure.reach(bot.port, outside)
        with house.product(folder / f"start-{number}", outside) as bot:
            again.append(bot.cold_start)
    return [
        *ways(reached),
        report.absolute("memory after 5 s of idling", idle, "MB", MEMORY_BELOW_MB),
        report.absolute("cold start on an empty folder", first, "s", COLD_START_BELOW_S),
        report.absolute("cold start on a known folder", again, "s", COLD_START_BELOW_S),
    ]


def ways(reached: Mapping[str, tuple[float, float]], where: str = "") -> list[report.Line]:
    """How long it takes from a webhook to page and card: p50 and p99 of each."""
    lines = []
    for what, name, below in (("paged", "page at PagerDuty", PAGE_BELOW_S), ("posted", "card at Slack", CARD_BELOW_S)):
        p50, p99 = reached[what]
        lines.append(report.absolute(f"{where}webhook to {name}, p50", [p50], "s", None))
        lines.append(report.absolute(f"{where}webhook to {name}, p99", [p99], "s", below))
    return lines


def loads(folder: Path, outside: int) -> list[report.Line]:
    """Clicks under load and durable intake, floor and product by turns."""
    p50s: dict[str, list[Click]] = defaultdict(list)
    p99s: dict[str, list[Click]] = defaultdict(list)
    intakes: dict[str, list[Pair]] = defaultdict(list)
    storms: list[Pair] = []
    with (
        house.floor(folder / "bare") as bare,
        house.floor(folder / "keeper", str(folder / "floor.db")) as keeper,
        house.product(folder / "product", outside) as bot,
    ):
        measure.warm_up(bare, keeper, bot.port)
        for _ in range(ROUNDS):
            for shape, (rate, alerts) in measure.SHAPES.items():
                p50, p99 = measure.click(bare, keeper, bot.port, rate, alerts)
                p50s[shape].append(p50)
                p99s[shape].append(p99)
            for kind, traffic in measure.KINDS.items():
                for concurrency in measure.CONCURRENCY:
                    pair = measure.intake(keeper, bot.port, traffic, concurrency)
                    intakes[f"durable intake, {kind}, c={concurrency}"].append(pair)
            storms.append(measure.storm(keeper, bot.port))
    lines: list[report.Line] = []
    for shape in measure.SHAPES:
        for part, found, at_most in (("p50", p50s[shape], None), ("p99", p99s[shape], CLICK_AT_MOST)):
            pairs = [Pair(click.listener, click.product) for click in found]
            lines.append(report.waits(f"slash command {part} at {shape}", pairs, at_most))
            pairs = [Pair(click.bare, click.product) for click in found]
            lines.append(report.waits("... against a bare door that keeps nothing", pairs, None))
        worst = [click.product for click in p99s[shape]]
        lines.append(report.absolute("... in absolute terms", [1e3 * wait for wait in worst], "ms", CLICK_BELOW_MS))
    lines += rates(intakes)
    lines.append(report.waits("one webhook of 1,000 new alerts", storms, 1 / INTAKE_AT_LEAST))
    return lines


def on_sqlite(folder: Path) -> list[report.Line]:
    """Intake and commands under load, starts, memory, and the way to page and card."""
    with house.outside(folder / "outside") as outside:
        return [*loads(folder, outside), *starts(folder, outside)]


def on_postgresql(folder: Path) -> list[report.Line]:
    """Durable intake, floor and product by turns on one PostgreSQL, each with a database of its own; and the way to
    page and card."""
    with postgresql() as databases, house.outside(folder / "outside") as outside:
        return _intake(folder, outside, databases)


def _intake(folder: Path, outside: int, databases: PostgreSQL) -> list[report.Line]:
    intakes: dict[str, list[Pair]] = defaultdict(list)
    with house.product(folder / "reach", outside, databases.new()) as bot:
        reached = measure.reach(bot.port, outside, every_s=measure.SELDOM_S)
    with (
        house.floor(folder / "keeper", databases.empty()) as keeper,
        house.product(folder / "product", outside, databases.new()) as bot,
    ):
        measure.warm_up(keeper, bot.port)
        for _ in range(ROUNDS):
            for kind, traffic in measure.KINDS.items():
                for concurrency in measure.CONCURRENCY:
                    pair = measure.intake(keeper, bot.port, traffic, concurrency)
                    intakes[f"PostgreSQL: durable intake, {kind}, c={concurrency}"].append(pair)
    return [*rates(intakes), *ways(reached, "PostgreSQL, two a second: ")]


def rates(intakes: Mapping[str, Sequence[Pair]]) -> list[report.Line]:
    """What one sender alone gets is told without a gate: it pays for the round trips that a batch shares."""
    return [
        report.rates(name, pairs, None if name.endswith("c=1") else INTAKE_AT_LEAST) for name, pairs in intakes.items()
    ]


def lints(folder: Path) -> list[report.Line]:
    """The whole command over a folder, its start included; nothing else runs meanwhile."""
    took = [books.lint(folder / f"books-{number}") for number in range(ROUNDS)]
    return [report.absolute(f"lint of {books.RUNBOOKS} runbooks", took, "s", LINT_BELOW_S)]


def plans(folder: Path) -> list[report.Line]:
    """A preview of six steps, against a real Prometheus and the fleet's Kubernetes."""
    with Workbench(Options(directory=folder / "workbench", ports=ANY, bot=False)) as bench:
        time.sleep(SCRAPED_AFTER_S)
        took = [books.plan(bench, "gpu-off-the-bus", node="node-2", ns="inference") for _ in range(ROUNDS)]
    return [report.absolute(f"plan of {books.STEPS} steps", took, "s", PLAN_BELOW_S)]


def runbooks(folder: Path) -> list[report.Line]:
    """Lint and preview."""
    return [*lints(folder), *plans(folder)]


def diagnosis(folder: Path) -> list[report.Line]:
    """The health report over a large fleet, and the marks of the forty labelled incidents."""
    found = health.measured(folder)
    marks = health.marks()
    slowest = max(pair.product for pair in found.reports)
    return [
        report.waits("health report, 256 GPUs and 64 replicas", found.reports, None),
        report.absolute("... the slowest of five", [slowest], "s", REPORT_BELOW_S),
        report.absolute("... its picture", [1e3 * took for took in found.pictures], "ms", PICTURE_BELOW_MS),
        report.absolute("... memory above idle, with the picture", [found.above_idle], "MB", REPORT_BELOW_MB),
        report.share("labelled incidents: impact right", marks.impact, marks.answers, 1.0),
        report.share("labelled incidents: first cause right", marks.cause, marks.answers, CAUSE_AT_LEAST),
        report.share("labelled incidents: nothing unsafe said", marks.answers - marks.unsafe, marks.answers, 1.0),
    ]


PARTS: Final[Mapping[str, Callable[[Path], list[report.Line]]]] = {
    "sqlite": on_sqlite,
    "postgresql": on_postgresql,
    "runbooks": runbooks,
    "health": diagnosis,
}


def main(wanted: Sequence[str]) -> int:
    """Runs these parts, all without a name; the exit status says whether every promise was kept."""
    if unknown := [name for name in wanted if name not in PARTS]:
        sys.stderr.write(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}\n")
        return 2
    began = time.monotonic()
    lines: list[report.Line] = []
    with tempfile.TemporaryDirectory(prefix="fixfirst-bench-") as name:
        for part in wanted or PARTS:
            folder = Path(name) / part
            folder.mkdir()
            lines += PARTS[part](folder)
    missed = [line.name for line in lines if line.kept is False]
    verdict = f"Missed: {'; '.join(missed)}." if missed else "Every promise is kept."
    took = f"{time.monotonic() - began:.0f} s, {ROUNDS} rounds"
    sys.stdout.write(f"{report.table(lines)}\n\n{took}. {verdict}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
