"""The steps of Kubernetes, which were proven against a real API server, find the same in the fleet's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from starlette.applications import Starlette

from bot.contracts import Going, Lasting, Observed
from bot.incident.run import Sample
from bot.integrations.kubernetes import Cordon, Drain, Get, Restart, RolloutUndo, Scale, Target
from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.server import Servers, Site, bind

ON = {"target": "fleet", "namespace": "inference", "deployment": "mistral-small"}


class Rig(Protocol):
    fleet: Fleet

    def wait(self, seconds: float) -> None: ...


@pytest.fixture
def targets(rig: Rig) -> Iterator[dict[str, Target]]:
    listener = bind(0, "fleet")
    servers = Servers([Site(Starlette(routes=fleet_app(rig.fleet, "service-account")), listener)])
    servers.start()
    table = {"server": f"http://127.0.0.1:{listener.getsockname()[1]}", "token_env": "T", "namespaces": ["inference"]}
    target, faults = Target.from_toml("fleet", table, lambda _: "service-account")
    assert faults == []
    assert target is not None
    yield {"fleet": target}
    servers.stop()


def done(rig: Rig, kind: Any, args: dict[str, Any]) -> tuple[Any, list[str]]:
    """The plan, carried out to its end, and what was said on the way."""
    plan = kind.plan(args)
    assert kind.observe(plan) is Observed.NOT_DONE
    kind.apply(plan, "run:step:1")
    assert kind.observe(plan) is Observed.DONE
    said: list[str] = []
    while isinstance(kind, Lasting) and isinstance(going := kind.go_on(plan, "run:step:1"), Going):
        said.append(going.text)
        assert len(said) < 100, said[-3:]
        rig.wait(10)
    return plan, said


def test_a_roll_back_and_a_scale_are_done_and_undone(rig: Rig, targets: dict[str, Target]) -> None:
    kind = RolloutUndo(targets)
    plan, _ = done(rig, kind, ON)
    assert plan.lines[0] == "inference/mistral-small: revision 2 → 1"
    kind.undo(plan, "run:step:undo:1")
    rig.wait(600)
    scale = Scale(targets)
    plan, _ = done(rig, scale, ON | {"replicas": "+1"})
    look = {"target": "fleet", "namespace": "inference", "resource": "deployment", "name": "mistral-small"}
    ready = look | {"path": "status.readyReplicas", "expect": "== 3"}
    assert Get(targets).check(ready).sample is Sample.HOLDS
    scale.undo(plan, "run:step:undo:1")
    rig.wait(60)
    assert Get(targets).check(ready).sample is Sample.FAILS


def test_a_restart_replaces_pods(rig: Rig, targets: dict[str, Target]) -> None:
    plan, said = done(rig, Restart(targets), ON)
    assert plan.lines[1] == "meanwhile inference/mistral-small: 1 of 2 replicas remain"
    assert said


def test_a_node_is_closed_and_drained_as_its_budget_lets_it(rig: Rig, targets: dict[str, Target]) -> None:
    closing, _ = done(rig, Cordon(targets), {"target": "fleet", "node": "node-1"})
    plan, said = done(rig, Drain(targets), {"target": "fleet", "node": "node-1"})
    assert plan.lines[0] == "node-1: 2 of 3 pods go, the others belong to the node or are done"
    assert any("The disruption budget llama-70b needs" in text for text in said)
    Cordon(targets).undo(closing, "run:step:undo:1")
