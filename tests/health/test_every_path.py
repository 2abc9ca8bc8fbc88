"""Every check in every state, every fallback of every query, and every cause and verdict: each was seen to happen.

What there is comes from the catalogue and from the causes, what could be told from the pages as they were written: a
new check, engine field or cause without a scenario fails here.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.health import Scope, Telemetry, Verdict, survey
from bot.health.catalogue import catalogue
from bot.health.causes import CAUSES, DRAINING
from bot.health.checks import Check
from bot.health.engines import ENGINES
from bot.health.logs import Logs
from bot.health.observation import Observation, Status
from bot.health.promql import Settings, expand, names, render
from bot.health.queries import kubernetes
from bot.health.telemetry import FACTS
from tests.health import elsewhere, ladder, stories
from tests.health.conftest import Past, remembered
from tests.health.dialects import DIALECTS, EngineName
from tests.health.exporters import GENERATIONS, Generation
from tests.health.fleet import Exporter

SETTINGS = Settings()
CHECKS = {check.id: check for check in catalogue(SETTINGS)}


def states(check: Check) -> set[Status]:
    """Every state that the check can be in."""
    found: set[Status] = {"ok", "unknown"}
    if check.warn is not None or check.rule == "xid":
        found.add("warn")
    if check.crit is not None or check.rule == "xid":
        found.add("crit")
    return found


def told(check: Check, written: frozenset[str]) -> bool:
    """Whether one of the metrics that were written can answer it. A budget alone tells of no use."""
    return any(not names(source).isdisjoint(written - {"gateway_token_budget_per_second"}) for source in check.sources)


@dataclass(frozen=True)
class Climbed:
    """What was seen on all the levels.

    states: by who was asked about and the check. written: the metrics that were there, by whom. fleet: the whole
    fleet's, by level. unanswered: the sources that no past answers, asked each alone.
    """

    states: Mapping[tuple[str, str], set[Status]]
    written: Mapping[str, frozenset[str]]
    fleet: Mapping[str, tuple[Observation, ...]]
    unanswered: frozenset[str]

    def missing(self, who: str, check: Check) -> set[Status]:
        """States of the check in which it was not seen; none where it cannot be told at all."""
        return states(check) - self.states[who, check.id] if told(check, self.written[who]) else set()


def metrics(past: Past, label: str) -> frozenset[str]:
    """The metrics that hold this value of a label, or a name that Kubernetes made from it."""
    return frozenset(
        name
        for name, labels in past.series
        if any(value == label or value.startswith(f"{label}-7c9f4") for value in labels.values())
    )


def all_sources() -> dict[str, str]:
    """Every source of every check and fact, by a name that says whose it is."""
    of_checks = {f"{check.id} #{n}": one for check in CHECKS.values() for n, one in enumerate(check.sources, 1)}
    return of_checks | {f"{part} #{n}": one for part, sources in FACTS.items() for n, one in enumerate(sources, 1)}


def unanswered(telemetry: Telemetry, queries: Mapping[str, str]) -> dict[str, str]:
    """Those that get no answer there."""
    answers = telemetry.ask(queries)
    assert not [answer for answer in answers.values() if isinstance(answer, str)]
    return {key: query for key, query in queries.items() if not answers[key]}


def whom(suffix: str = "") -> dict[str, tuple[Scope, list[Check]]]:
    """Who is asked about on a level, and what: engines by their model, GPU exporters by their node."""
    of_gpus = [check for check in CHECKS.values() if check.group == "hardware"]
    others = [check for check in CHECKS.values() if check.group != "hardware"]
    asked = {str(made): (Scope(node=f"{ladder.node(made)}{suffix}"), of_gpus) for made in GENERATIONS}
    if not suffix:
        asked |= {str(engine): (Scope(model=ladder.model(engine)), others) for engine in DIALECTS}
    return asked


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Climbed:
    """All levels, each in a Prometheus of its own, and everybody in it asked about by name."""
    seen: dict[tuple[str, str], set[Status]] = defaultdict(set)
    written: dict[str, frozenset[str]] = defaultdict(frozenset)
    fleet: dict[str, tuple[Observation, ...]] = {}
    slots = kubernetes.served(ENGINES)
    left = {key: render(expand(source, slots), SETTINGS) for key, source in all_sources().items()}
    with remembered(elsewhere.past(), tmp_path_factory.mktemp("elsewhere")) as url:
        left = unanswered(Telemetry(url), left)
    for level in ladder.LEVELS:
        past = ladder.past_of(level)
        with remembered(past, tmp_path_factory.mktemp(level)) as url:
            telemetry = Telemetry(url)
            for suffix in ("", "-silent") if level == "warn" else ("",):
                for who, (scope, checks) in whom(suffix).items():
                    written[who] |= metrics(past, scope.name)
                    open_ = [check for check in checks if states(check) - seen[who, check.id]]
                    for one in telemetry.survey(scope, open_):
                        seen[who, one.check].add(one.status)
            if level in {"crit", "gone"}:
                fleet[level] = telemetry.survey()
            left = unanswered(telemetry, left)
    return Climbed(seen, written, fleet, frozenset(left))


@pytest.mark.xdist_group("every-path")
@pytest.mark.parametrize("engine", DIALECTS)
def test_what_an_engine_can_tell_was_seen_well_bad_and_unknown(climbed: Climbed, engine: EngineName) -> None:
    missing = {c.id: climbed.missing(engine, c) for c in CHECKS.values() if c.group != "hardware"}

    assert {check: lacking for check, lacking in missing.items() if lacking} == {}


@pytest.mark.xdist_group("every-path")
@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_a_gpu_exporter_can_tell_was_seen_well_bad_and_unknown(climbed: Climbed, generation: Generation) -> None:
    of_gpus = [check for check in CHECKS.values() if check.group == "hardware"]
    missing = {check.id: climbed.missing(generation, check) for check in of_gpus}

    assert {check: lacking for check, lacking in missing.items() if lacking} == {}
    assert all(told(check, climbed.written[generation]) for check in of_gpus)


@pytest.mark.xdist_group("every-path")
def test_every_check_of_the_catalogue_is_somebodys_to_tell(climbed: Climbed) -> None:
    whose = {check: {who for who in climbed.written if told(CHECKS[check], climbed.written[who])} for check in CHECKS}

    assert {check for check, who in whose.items() if not who} == set()


@pytest.mark.xdist_group("every-path")
def test_every_fallback_of_every_question_is_answered_by_somebody(climbed: Climbed) -> None:
    assert climbed.unanswered == frozenset()


@pytest.mark.xdist_group("every-path")
def test_a_fleet_whose_telemetry_ended_is_known_by_nothing_and_one_that_is_ill_by_everything(climbed: Climbed) -> None:
    gone = {one.check: one for one in climbed.fleet["gone"] if one.group in {"users", "engine"}}
    bad = {one.check for one in climbed.fleet["crit"] if one.status == "crit"}

    assert {check for check, one in gone.items() if one.status != "unknown"} == {"U5b"}
    assert gone["U5b"].text == "100% of an hour ago's replicas no longer report"
    assert bad == {check.id for check in CHECKS.values() if check.crit is not None or check.rule == "xid"} - {"U5b"}


# --- causes and verdicts --------------------------------------------------------------------------------------------

CAUSE_IDS = {"blind", "none", *(cause.id for cause in CAUSES)}
CAST: tuple[tuple[EngineName, Exporter], ...] = (
    ("vllm", "new"),
    ("vllm-old", "old"),
    ("sglang", "new"),
    ("triton", "old"),
    ("triton-llm", "new"),
)


@pytest.mark.parametrize(("engine", "exporter"), CAST)
def test_every_cause_and_every_verdict_is_told_in_the_names_of(
    engine: EngineName, exporter: Exporter, tmp_path: Path
) -> None:
    past = Past(thin=True)
    incidents = stories.write(past, engine, exporter)
    with remembered(past, tmp_path) as url:
        telemetry = Telemetry(url)
        reports = [
            survey(telemetry, Scope(model=one.model), datetime.now(UTC), logs=Logs([one]) if one.log else None)
            for one in incidents
        ]

    assert [report.cause_id for report in reports] == [one.cause for one in incidents]
    assert {report.cause_id for report in reports} == CAUSE_IDS - stories.UNSEEN.get(engine, frozenset())
    assert {report.verdict for report in reports} == {*Verdict}
    drains = [drain for report in reports for drain in report.drains]
    assert {drain.refused for drain in drains} == {True, False}
    for report in reports:
        refused = [drain for drain in report.drains if drain.refused]
        assert not refused or not DRAINING & {*report.runbooks}, report.headline
        assert all(drain.reason in "; ".join(report.not_advised) for drain in refused)
