"""`k8s.cordon` and `k8s.drain`: budgets hold, and a node is opened again only by the step that closed it."""

from typing import Any

import pytest

from bot.contracts import Going, Lasting, Observed, Permanent, Transient
from bot.incident.run import Risk
from bot.integrations.kubernetes import Cordon, Drain
from tests.kubernetes.conftest import Cluster, budget
from tests.kubernetes.test_rollout_undo import stored
from tests.kubernetes.test_scale import LOAD

pytestmark = pytest.mark.kubernetes

NODE = "/api/v1/nodes/gpu-1"
BUDGETS = "/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets"


def cordon(cluster: Cluster) -> Cordon:
    return Cordon({"lab": cluster.target()})


def drain(cluster: Cluster, used: float | None = None, **changes: Any) -> Drain:
    return Drain({"lab": cluster.target(**changes)}, lambda _: used)


def step(**more: Any) -> dict[str, Any]:
    return {"target": "lab", "node": "gpu-1", **more}


def closed(cluster: Cluster) -> bool:
    return bool(cluster.read(NODE)["spec"].get("unschedulable"))


def on_first(cluster: Cluster) -> list[str]:
    pods = cluster.read("/api/v1/pods?fieldSelector=spec.nodeName%3Dgpu-1")["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def filled(cluster: Cluster, replicas: int, least: int = 0) -> None:
    """All pods of chat on gpu-1, which is cordoned then, and a budget."""
    cluster.change("/api/v1/nodes/gpu-2", {"spec": {"unschedulable": True}})
    if least:
        cluster.make(BUDGETS, budget(least))
    cluster.deploy("registry/llm:v1", replicas)
    cluster.change("/api/v1/nodes/gpu-2", {"spec": {"unschedulable": None}})
    cluster.change(NODE, {"spec": {"unschedulable": True}})
    if least:
        enough = "the budget counts"
        cluster.until(f"{BUDGETS}/chat", lambda found: found["status"]["currentHealthy"] == replicas, enough)


def test_a_node_is_closed_and_opened_again(cluster: Cluster) -> None:
    kind = cordon(cluster)
    plan = stored(kind.plan(step()))
    assert plan.lines[:2] == ("gpu-1: takes new pods → takes none", "0 pods on it stay")
    assert (plan.risk, plan.undo) == (Risk.REVERSIBLE, "takes new pods again")
    assert not closed(cluster)
    assert kind.observe(plan) is Observed.NOT_DONE
    cluster.tape.lose = "PATCH"
    with pytest.raises(Transient):
        kind.apply(plan, "run:cordon:1")
    assert kind.observe(plan) is Observed.DONE
    kind.apply(plan, "run:cordon:1")
    assert closed(cluster)
    kind.undo(plan, "run:cordon:undo:1")
    kind.undo(plan, "run:cordon:undo:1")
    assert not closed(cluster)


def test_what_somebody_else_has_closed_stays_closed(cluster: Cluster) -> None:
    kind = cordon(cluster)
    plan = kind.plan(step())
    cluster.change(NODE, {"spec": {"unschedulable": True}})
    kind.apply(plan, "run:cordon:1")
    with pytest.raises(Permanent, match="gpu-1 was cordoned by somebody else than this step"):
        kind.undo(plan, "run:cordon:undo:1")
    again = kind.plan(step())
    assert again.warnings == ("it is so already: nothing will be sent",)
    kind.undo(again, "run:cordon:undo:2")
    assert closed(cluster)


def test_a_drain_moves_what_the_budget_lets_go_and_waits_for_the_rest(cluster: Cluster) -> None:
    filled(cluster, 3, least=2)
    kind = drain(cluster)
    assert isinstance(kind, Lasting)
    ns = cluster.namespace
    plan = stored(kind.plan(step()))
    assert plan.lines[0] == "gpu-1: 3 of 3 pods go, the others belong to the node or are done"
    assert f"{ns}/chat: 0 of 3 replicas remain" in plan.lines
    assert (plan.risk, plan.undo, plan.warnings) == (Risk.DESTRUCTIVE, None, ())
    assert len(on_first(cluster)) == 3
    assert kind.observe(plan) is Observed.NOT_DONE
    kind.apply(plan, "run:drain:1")
    assert kind.observe(plan) is Observed.DONE
    assert len(on_first(cluster)) == 3
    going = kind.go_on(plan, "run:drain:1")
    assert going == Going(
        "0 of 3 pods moved, 1 under way, 2 wait: The disruption budget chat needs 2 healthy pods and has 2 currently"
    )
    for left in (2, 1):
        cluster.until("/api/v1/pods?fieldSelector=spec.nodeName%3Dgpu-1", _only(left), "it is gone")
        cluster.settled()
        cluster.until(f"{BUDGETS}/chat", lambda found: found["status"]["disruptionsAllowed"] == 1, "one more may go")
        assert isinstance(kind.go_on(plan, "run:drain:1"), Going)
    cluster.until("/api/v1/pods?fieldSelector=spec.nodeName%3Dgpu-1", _only(0), "all are gone")
    assert kind.go_on(plan, "run:drain:1") is None
    assert kind.go_on(plan, "run:drain:1") is None
    with pytest.raises(Permanent, match="pods stay where they went"):
        kind.undo(plan, "run:drain:undo:1")


def _only(count: int) -> Any:
    return lambda found: len(found["items"]) == count


def test_a_budget_that_lets_none_go_is_named_by_the_preview(cluster: Cluster) -> None:
    filled(cluster, 2, least=2)
    (doubt,) = drain(cluster).plan(step()).warnings
    assert doubt == "The disruption budget chat needs 2 healthy pods and has 2 currently: such pods wait"


def test_a_drain_refuses_to_begin_while_new_pods_come(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    kind = drain(cluster)
    plan = kind.plan(step())
    assert plan.warnings[-1].startswith("the node takes new pods: this step refuses to begin until it is cordoned")
    with pytest.raises(Permanent, match="gpu-1 takes new pods: cordon it first"):
        kind.apply(plan, "run:drain:1")


def test_a_drain_ends_when_somebody_opens_the_node(cluster: Cluster) -> None:
    filled(cluster, 2, least=2)
    kind = drain(cluster)
    plan = kind.plan(step())
    kind.apply(plan, "run:drain:1")
    cluster.change(NODE, {"spec": {"unschedulable": None}})
    with pytest.raises(Permanent, match="gpu-1 takes new pods again: somebody let it, with 2 pods to go"):
        kind.go_on(plan, "run:drain:1")
    assert len(on_first(cluster)) == 2


def test_a_pod_that_is_on_its_way_is_not_asked_again(cluster: Cluster) -> None:
    cluster.change("/api/v1/nodes/gpu-2", {"spec": {"unschedulable": True}})
    cluster.deploy("registry/llm:v1", 2, terminationGracePeriodSeconds=30)
    cluster.change(NODE, {"spec": {"unschedulable": True}})
    kind = drain(cluster)
    plan = kind.plan(step())
    kind.apply(plan, "run:drain:1")
    for _ in range(2):
        assert kind.go_on(plan, "run:drain:1") == Going("0 of 2 pods moved, 2 under way")
    asked = [exchange for exchange in cluster.tape.exchanges if "dryRun" not in exchange.path]
    assert sum(exchange.path.endswith("/eviction") for exchange in asked) == 2


def test_a_cordon_is_undone_after_the_drain_between(cluster: Cluster) -> None:
    closing, kind = cordon(cluster), drain(cluster)
    first = closing.plan(step())
    closing.apply(first, "run:cordon:1")
    second = kind.plan(step())
    kind.apply(second, "run:drain:1")
    assert kind.go_on(second, "run:drain:1") is None
    closing.undo(first, "run:cordon:undo:1")
    assert not closed(cluster)


def test_a_drain_of_more_pods_than_allowed_is_refused(cluster: Cluster) -> None:
    filled(cluster, 3)
    with pytest.raises(Permanent, match="3 pods of gpu-1 would have to go, more than max_pods 2"):
        drain(cluster).plan(step(max_pods=2))
    with pytest.raises(Permanent, match="max_pods must be a whole number from 1 to 110"):
        drain(cluster).plan(step(max_pods=0))


def test_a_drain_that_the_rest_could_not_carry_is_refused(cluster: Cluster) -> None:
    filled(cluster, 2)
    cluster.change("/apis/apps/v1/namespaces/{ns}/deployments/chat", {"spec": {"replicas": 4}})
    cluster.settled()
    ns = cluster.namespace
    with pytest.raises(Permanent, match="2 of 4 replicas remain, load 90 % afterwards"):
        drain(cluster, used=0.45, load=LOAD).plan(step())
    plan = drain(cluster, used=0.2, load=LOAD).plan(step())
    assert f"{ns}/chat: 2 of 4 replicas remain, load 40 % afterwards" in plan.lines
    with pytest.raises(Permanent, match="2 of 4 replicas remain, load 90 % afterwards"):
        drain(cluster, used=0.45, load=LOAD).apply(plan, "run:drain:1")
    assert len(on_first(cluster)) == 2


def test_a_pod_without_an_owner_stops_a_drain(cluster: Cluster) -> None:
    pod = {"containers": [{"name": "a", "image": "a"}], "nodeName": "gpu-1", "terminationGracePeriodSeconds": 0}
    cluster.make("/api/v1/namespaces/{ns}/pods", {"metadata": {"name": "alone"}, "spec": pod})
    with pytest.raises(Permanent, match=r"nothing would bring .*/alone back elsewhere"):
        drain(cluster).plan(step())


def test_what_belongs_to_the_node_stays_and_what_is_local_is_pointed_out(cluster: Cluster) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "a", "image": "a"}], "terminationGracePeriodSeconds": 0}
    daemon = {
        "selector": {"matchLabels": {"app": "exporter"}},
        "template": {"metadata": {"labels": {"app": "exporter"}}, "spec": spec},
    }
    cluster.make("/apis/apps/v1/namespaces/{ns}/daemonsets", {"metadata": {"name": "exporter"}, "spec": daemon})
    cluster.change("/api/v1/nodes/gpu-2", {"spec": {"unschedulable": True}})
    cluster.deploy("registry/llm:v1", 1, volumes=[{"name": "cache", "emptyDir": {}}])
    cluster.change(NODE, {"spec": {"unschedulable": True}})
    cluster.until("/apis/apps/v1/namespaces/{ns}/daemonsets/exporter", _daemon_ready, "the exporter runs")
    plan = drain(cluster).plan(step())
    assert plan.lines[0] == "gpu-1: 1 of 2 pods go, the others belong to the node or are done"
    assert plan.warnings == ("1 pods lose what they keep on the node (emptyDir)",)
    cluster.remove("/apis/apps/v1/namespaces/{ns}/daemonsets/exporter")


def _daemon_ready(found: Any) -> bool:
    return bool(found["status"].get("numberReady") == 2)


def test_a_node_that_is_not_there_is_said(cluster: Cluster) -> None:
    with pytest.raises(Permanent, match="there is no Node gpu-9"):
        cordon(cluster).plan({"target": "lab", "node": "gpu-9"})
