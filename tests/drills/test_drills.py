"""Every shipped runbook is practised: a fault raises its alert, the steps mend it, what can be undone is undone."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bot.contracts import Act, Lasting, Observed, Plan
from bot.incident.run import Reading, Sample, StepSpec
from bot.incident.runs import ASKS_PEOPLE
from bot.runbook.model import Runbook
from bot.runbook.render import prefill, start
from bot.runbook.shelf import load
from bot.workbench.fleet import FAULTS
from bot.workbench.fleet.scenarios import SCENARIOS, Scenario
from bot.workbench.settings import FLAGS
from tests.drills.conftest import APART_S, EVERY_S, World, rules

SOON_S = 5 * 60.0
ALERT_S = 60.0
"""A fault is an alert by then: the windows of the workbench's rules are short."""


@pytest.fixture(scope="module")
def alerts() -> dict[str, dict[str, Any]]:
    return rules()


def firing(world: World, rule: Mapping[str, Any]) -> list[dict[str, str]]:
    """The labels of the rule's alerts now, as Alertmanager would get them."""
    found = [sample["metric"] for sample in world.past.query(rule["expr"])]
    return [labels | {name: filled(text, labels) for name, text in rule["labels"].items()} for labels in found]


def filled(text: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)


def until(world: World, seconds: float) -> Iterator[None]:
    """Looks again after each scrape, at most for so many seconds."""
    for _ in range(round(seconds / EVERY_S)):
        yield
        world.passes(EVERY_S)
    yield


def breaks(world: World, scenario: Scenario, rule: Mapping[str, Any]) -> dict[str, str]:
    """Switches the fault on and gives the labels of its alert, once it fires."""
    assert firing(world, rule) == [], "nothing is wrong yet"
    world.fleet.set_fault(scenario.fault, True)
    for _ in until(world, ALERT_S):
        if found := firing(world, rule):
            break
    else:
        pytest.fail(f"{scenario.alert} does not fire")
    world.passes(SOON_S)
    assert firing(world, rule), "it does not mend itself"
    return found[0]


def looked(world: World, step: StepSpec) -> Reading:
    """What a step that only looks finds; one that waits may wait."""
    check = world.parts.checks[step.kind]
    waits = step.timeout.total_seconds() if step.kind == "promql.wait" else 0.0
    for _ in until(world, waits):
        reading = check.check(step.args)
        if reading.sample is Sample.HOLDS:
            break
    return reading


def acted(world: World, step: StepSpec) -> Plan:
    """Previews, acts, waits until the act has ended, and measures that it helped."""
    act = world.parts.acts[step.kind]
    plan = act.plan(step.args)
    assert plan.lines
    assert act.observe(plan) is not Observed.DONE, "there is something to do"
    act.apply(plan, f"drill:{step.id}:1")
    ended(world, act, plan, step)
    proven(world, step)
    assert act.observe(plan) is Observed.DONE
    return plan


def ended(world: World, act: Act, plan: Plan, step: StepSpec) -> None:
    """An act that lasts goes on until it has ended."""
    if not isinstance(act, Lasting):
        return
    said = ""
    for _ in until(world, step.timeout.total_seconds()):
        still = act.go_on(plan, f"drill:{step.id}:1")
        if still is None:
            return
        said = still.text
    pytest.fail(f"{step.id} has not ended: {said}")


def proven(world: World, step: StepSpec) -> None:
    """The measurement holds for as long as it must, in time."""
    verify, since = step.verify, None
    assert verify is not None
    for _ in until(world, verify.within.total_seconds()):
        reading = world.parts.measure(verify.query, verify.expect)
        if reading.sample is not Sample.HOLDS:
            since = None
            continue
        since = since or world.now
        if world.now - since >= verify.hold.total_seconds():
            return
    pytest.fail(f"{step.id} is not proven: {reading.text}")


def values(book: Runbook, scenario: Scenario, labels: Mapping[str, str]) -> dict[str, str]:
    """Every value of the runbook: from the alert, from the scenario, or its default."""
    offered = prefill(book, labels)
    assert {param.name for param in offered.missing} == set(scenario.params), "nobody is asked for what the alert knows"
    return {**offered.params, **scenario.params}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_runbook_mends_what_its_alert_is_about(name: str, world: World, alerts: dict[str, dict[str, Any]]) -> None:
    scenario = SCENARIOS[name]
    books, faults = load(world.config.runbooks_dir, targets=world.config.targets)
    assert faults == []
    book = books[scenario.runbook]
    labels: dict[str, str] = {}
    world.flies = scenario.alert == "ModelCanaryFailing"
    if scenario.fault:
        rule = alerts[scenario.alert]
        labels = breaks(world, scenario, rule)
        assert {name for name, other in alerts.items() if firing(world, other)} <= set(scenario.alerts)
        assert rule["annotations"]["runbook"] == book.id
        assert scenario.alert in book.alerts

    done: list[tuple[StepSpec, Plan, dict[str, Any]]] = []
    for step in start(book, values(book, scenario, labels), targets=world.config.targets).steps:
        if step.kind in ASKS_PEOPLE:
            continue
        if step.kind in world.parts.checks:
            reading = looked(world, step)
            assert reading.sample is Sample.HOLDS, f"{step.id}: {reading.text}"
        else:
            before = settings(world)
            done.append((step, acted(world, step), before))
    assert tuple(step.id for step, _, _ in done) == scenario.mends

    if scenario.fault:
        for _ in until(world, SOON_S):
            if not firing(world, rule):
                break
        assert firing(world, rule) == [], "users are well again"
        assert on(world, scenario.fault) is scenario.outlasts
    world.passes(30)
    for model in world.fleet.model_panel():
        assert model["error_rate"] < 0.01, model
        assert model["queue"] < 20, model

    for step, plan, before in reversed(done):
        if step.undo == "auto":
            assert settings(world) != before
            world.parts.acts[step.kind].undo(plan, f"drill:{step.id}:undo:1")
            world.passes(30)
            assert settings(world) == before, f"{step.id} is taken back"


def settings(world: World) -> dict[str, Any]:
    """Everything that is set on the fleet: what an undo puts back."""
    with world.fleet.held() as view:
        deployed = {d.spec.name: (d.target, len(d.replicas), d.fallback, d.token_cap) for d in view.running()}
        cordoned = [node.name for node in view.hardware.nodes.values() if node.cordoned]
    return {
        "deployed": deployed,
        "cordoned": cordoned,
        "runtime": dict(world.fleet.runtime.admin),
        "flags": (world.config.data_dir.parent / FLAGS).read_text(),
    }


def on(world: World, fault: str) -> bool:
    return next(switch["on"] for switch in world.fleet.faults() if switch["id"] == fault)


def test_nothing_is_proven_by_a_prometheus_that_knows_nothing(world: World) -> None:
    books, _ = load(world.config.runbooks_dir, targets=world.config.targets)
    world.past.clock.now += APART_S
    asked = 0
    for book in books.values():
        given = {param.name: "llama-70b" for param in book.params}
        for step in start(book, given, targets=world.config.targets).steps:
            readings = []
            if step.kind.startswith("promql."):
                readings.append(world.parts.checks[step.kind].check(step.args))
            if step.verify is not None:
                readings.append(world.parts.measure(step.verify.query, step.verify.expect))
            for reading in readings:
                assert reading.sample is not Sample.HOLDS, (book.id, step.id, reading.text)
                asked += 1
    assert asked > len(books)


def test_every_shipped_runbook_is_practised(world: World) -> None:
    books, _ = load(world.config.runbooks_dir, targets=world.config.targets)
    assert {scenario.runbook for scenario in SCENARIOS.values()} == set(books)


def test_every_fault_can_be_practised() -> None:
    assert {name for name, scenario in SCENARIOS.items() if scenario.fault == name} == {fault.id for fault in FAULTS}


def test_every_alert_names_a_shipped_runbook_that_names_it(world: World, alerts: dict[str, dict[str, Any]]) -> None:
    books, _ = load(world.config.runbooks_dir, targets=world.config.targets)
    for name, rule in alerts.items():
        assert name in books[rule["annotations"]["runbook"]].alerts
