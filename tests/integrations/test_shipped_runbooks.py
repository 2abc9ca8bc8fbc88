"""Two shipped runbooks against the workbench's fleet over HTTP, with the endpoints as its configuration states them."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette

from bot.contracts import Observed, Permanent, Plan
from bot.incident.run import Risk, StepSpec
from bot.integrations.http import Endpoint, HttpRequest
from bot.runbook.model import Runbook
from bot.runbook.render import start
from bot.runbook.shelf import load
from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.fleet.exposition import metrics
from bot.workbench.server import Servers, Site, bind
from bot.workbench.settings import Ports, bot_config

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
TOKEN = "fleet-token-of-this-test"


@dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class World:
    fleet: Fleet
    clock: Clock
    endpoints: Mapping[str, Endpoint]
    act: HttpRequest
    runbooks: Mapping[str, Runbook]

    def plan(self, runbook: str, step: str, model: str) -> Plan:
        return self.act.plan(self.step(runbook, step, model).args)

    def step(self, runbook: str, step: str, model: str) -> StepSpec:
        run = start(self.runbooks[runbook], {"model": model}, targets={"endpoints": self.endpoints})
        return next(spec for spec in run.steps if spec.id == step)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    fleet = Fleet(clock)
    listener = bind(0, "--fleet-port")
    servers = Servers([Site(Starlette(routes=fleet_app(fleet, TOKEN)), listener)])
    servers.start()
    tables = tomllib.loads(bot_config(tmp_path, Ports(fleet=listener.getsockname()[1])))["endpoints"]
    endpoints = {}
    for name, table in tables.items():
        endpoint, faults = Endpoint.from_toml(name, table, {"FLEET_TOKEN": TOKEN}.get)
        assert faults == []
        assert endpoint is not None
        endpoints[name] = endpoint
    found, _ = load(RUNBOOKS, targets={"endpoints": endpoints})
    runbooks = {name: found[name] for name in ("rollback-model-deploy", "serve-from-cache")}
    yield World(fleet, clock, endpoints, HttpRequest(endpoints), runbooks)
    servers.stop()


def test_a_bad_deploy_is_rolled_back_and_the_rollback_undone(world: World) -> None:
    world.fleet.set_fault("bad-deploy", True)
    bad = world.fleet.model("llama-70b")["revision"]
    plan = world.plan("rollback-model-deploy", "roll-back", "llama-70b")
    assert plan.lines[0] == f"revision: {bad} → r41"
    assert (plan.risk, plan.undo) == (Risk.REVERSIBLE, f"revision back to {bad}")

    world.act.apply(plan, "run:roll-back:1")
    assert world.fleet.model("llama-70b")["rolling_to"] == "r41"
    world.clock.now += 60
    assert world.act.observe(plan) is Observed.DONE

    world.act.undo(plan, "run:roll-back:undo:1")
    world.clock.now += 60
    assert world.fleet.model("llama-70b")["revision"] == bad


def test_a_deploy_between_preview_and_act_asks_for_a_new_preview(world: World) -> None:
    world.fleet.set_fault("bad-deploy", True)
    plan = world.plan("rollback-model-deploy", "roll-back", "llama-70b")
    world.fleet.deploy("llama-70b", "r40")
    world.clock.now += 60
    with pytest.raises(Permanent, match="changed since the preview"):
        world.act.apply(plan, "k")
    assert world.fleet.model("llama-70b")["revision"] == "r40"


def test_the_cache_answers_for_a_model_that_is_down_until_it_is_undone(world: World) -> None:
    world.fleet.set_fault("model-down", True)
    plan = world.plan("serve-from-cache", "fallback-on", "mistral-small")
    assert plan.lines[0] == "fallback: off → cache"
    world.act.apply(plan, "k")
    assert world.act.observe(plan) is Observed.DONE
    world.act.undo(plan, "u")
    assert world.fleet.model("mistral-small")["fallback"] == "off"


def test_a_model_that_the_fleet_does_not_know_is_refused_in_its_own_words(world: World) -> None:
    with pytest.raises(Permanent, match=r"answered 404: There is no model gpt\. The models are: llama-70b"):
        world.plan("rollback-model-deploy", "roll-back", "gpt")


def queries_of(steps: tuple[StepSpec, ...]) -> list[str]:
    asserted = [step.args["query"] for step in steps if step.kind == "promql.assert"]
    return asserted + [step.verify.query for step in steps if step.verify]


@pytest.mark.parametrize("model", ["llama-70b", "mistral-small"])
def test_the_queries_ask_for_series_that_the_fleet_exports(world: World, model: str) -> None:
    """Name and exact labels of every selector: a query for a series that nobody has can only say "no data"."""
    world.fleet.set_fallback(model, "cache")
    world.clock.now += 30
    page = world.fleet.render(metrics).splitlines()
    for runbook in world.runbooks.values():
        queries = queries_of(start(runbook, {"model": model}, targets={"endpoints": world.endpoints}).steps)
        assert len(queries) == 2
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", " ".join(queries)):
            wanted = re.findall(r'\w+="[^"]*"', matchers)
            series = [line for line in page if line.startswith(f"{name}{{")]
            assert any(all(label in line for label in wanted) for line in series), f"{name}{{{matchers}}}"
