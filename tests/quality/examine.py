"""The examination: a history per scenario in a real Prometheus, the survey over it, its answer beside the label."""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.health import Report, Scope, Telemetry, survey
from tests.quality.advice import suggested
from tests.quality.history import history
from tests.quality.remembered import prometheus
from tests.quality.scenarios import Scenario
from tests.quality.world import World, build

AT_ONCE = 2
# What the labels call by one name and the diagnosis by a finer one.
_COARSE = {"gpu-oom": "restarts", "host-oom": "restarts", "crash": "restarts"}


@dataclass(frozen=True)
class Answer:
    """What the diagnosis said of one scenario, and what the label says. seconds: the survey alone.

    unsafe: acts that the label calls harmful and the report suggests, with where. bad, unknown: the checks by id.
    """

    id: str
    seed: int
    scope: str
    impact: str
    cause: str
    second: str
    wanted_impact: str
    wanted_cause: str
    also: tuple[str, ...]
    unsafe: dict[str, list[str]]
    runbooks: tuple[str, ...]
    seconds: float
    said: str
    bad: dict[str, str]
    unknown: dict[str, str]

    @property
    def impact_right(self) -> bool:
        """The word for the users is the label's."""
        return self.impact == self.wanted_impact

    @property
    def cause_right(self) -> bool:
        """The first cause is the label's."""
        return self.cause == self.wanted_cause

    @property
    def right(self) -> bool:
        """Nothing to object to."""
        return self.impact_right and self.cause_right and not self.unsafe


@dataclass(frozen=True)
class Marks:
    """The sum over all answers."""

    answers: int
    impact: int
    cause: int
    acceptable: int
    unsafe: int
    slowest: float

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Marks":
        """`acceptable`: the cause is the label's or one that the label calls arguable."""
        return cls(
            answers=len(answers),
            impact=sum(answer.impact_right for answer in answers),
            cause=sum(answer.cause_right for answer in answers),
            acceptable=sum(answer.cause_right or answer.cause in answer.also for answer in answers),
            unsafe=sum(bool(answer.unsafe) for answer in answers),
            slowest=max((answer.seconds for answer in answers), default=0.0),
        )


def examine(scenario: Scenario, seed: int) -> Answer:
    """One scenario under one seed, from its history to the comparison."""
    report, seconds = reported(scenario, seed)
    return compared(scenario, seed, report, seconds)


def reported(scenario: Scenario, seed: int) -> tuple[Report, float]:
    """The report over a Prometheus that remembers this scenario, and how long the survey took."""
    with tempfile.TemporaryDirectory(prefix="fixfirst-quality-") as name:
        now = int(time.time())
        with prometheus(history(scenario, seed, now), Path(name)) as url:
            began = time.monotonic()
            report = survey(Telemetry(url), Scope(model=scenario.scope or ""), datetime.now(UTC))
            return report, time.monotonic() - began


def compared(scenario: Scenario, seed: int, report: Report, seconds: float) -> Answer:
    """The report beside the label."""
    acts = suggested(report)
    if not _empties_what_serves(build(scenario, seed), report):
        acts.pop("drain", None)
    return Answer(
        id=scenario.id,
        seed=seed,
        scope=scenario.scope or "fleet",
        impact=str(report.verdict),
        cause=_COARSE.get(report.cause_id, report.cause_id),
        second=report.second,
        wanted_impact=scenario.impact,
        wanted_cause=scenario.cause,
        also=scenario.also,
        unsafe={act: acts[act] for act in scenario.unsafe if act in acts},
        runbooks=report.runbooks,
        seconds=round(seconds, 3),
        said=report.cause,
        bad={check.check: f"{check.text} [{check.offender}]" for check in report.checks if check.bad},
        unknown={check.check: check.text for check in report.checks if check.status == "unknown"},
    )


def _empties_what_serves(world: World, report: Report) -> bool:
    """Whether a node that the hardware checks complain of still carries a replica that serves; yes if none is named."""
    bad = [check for check in report.checks if check.bad and check.group == "hardware"]
    named = {sample.labels["host"] for check in bad for sample in check.series if sample.labels.get("host")}
    hung = {slot.index for e in world.effects if e.kind == "hang" for slot in world.touched(e.target)}
    serving = {f"node-{slot.node}" for slot in world.slots if slot.ready(0.0) and slot.index not in hung}
    return not named or bool(named & serving)


def examine_all(scenarios: Iterable[Scenario], seeds: Sequence[int]) -> Iterator[Answer]:
    """All of them, in order; two at a time, since each has a Prometheus of its own."""
    papers = [(scenario, seed) for seed in seeds for scenario in scenarios]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda paper: examine(*paper), papers)


def as_json(answers: Sequence[Answer]) -> dict[str, Any]:
    """Everything that was said, and the marks."""
    return {"marks": asdict(Marks.of(answers)), "answers": [asdict(answer) for answer in answers]}
