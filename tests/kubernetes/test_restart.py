"""`k8s.restart`: all pods of a deployment by rolling, or one pod."""

from typing import Any

import pytest

from bot.contracts import Going, Observed, Permanent, Transient
from bot.incident.run import Risk
from bot.integrations.kubernetes import Restart
from tests.kubernetes.conftest import Cluster, budget, deployment
from tests.kubernetes.test_rollout_undo import stored
from tests.kubernetes.test_scale import LOAD

pytestmark = pytest.mark.kubernetes

PODS = "/api/v1/namespaces/{ns}/pods"


def act(cluster: Cluster, used: float | None = None, **changes: Any) -> Restart:
    return Restart({"lab": cluster.target(**changes)}, lambda _: used)


def step(cluster: Cluster, **what: str) -> dict[str, Any]:
    return {"target": "lab", "namespace": cluster.namespace, **what}


def names(cluster: Cluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods()}


def test_all_pods_are_new_once(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 4)
    kind = act(cluster, used=0.4, load=LOAD)
    was = names(cluster)
    plan = stored(kind.plan(step(cluster, deployment="chat")))
    assert plan.lines[:2] == (
        f"{cluster.namespace}/chat: all its pods are replaced, 1 at a time",
        f"meanwhile {cluster.namespace}/chat: 3 of 4 replicas remain, load 53 % afterwards",
    )
    assert (plan.risk, plan.undo) == (Risk.DESTRUCTIVE, None)
    cluster.tape.lose = "PATCH"
    with pytest.raises(Transient):
        kind.apply(plan, "run:restart:1")
    assert kind.observe(plan) is Observed.DONE
    assert isinstance(kind.go_on(plan, "run:restart:1"), Going)
    cluster.settled()
    assert kind.go_on(plan, "run:restart:1") is None
    new = names(cluster)
    assert not was & new
    kind.apply(plan, "run:restart:1")
    assert cluster.deployment()["metadata"]["generation"] == plan.before["generation"] + 1
    with pytest.raises(Permanent, match="cannot be taken back"):
        kind.undo(plan, "run:restart:undo:1")


def test_a_restart_that_the_rest_could_not_carry_is_refused(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    spec = {"strategy": {"type": "Recreate", "rollingUpdate": None}}
    cluster.change("/apis/apps/v1/namespaces/{ns}/deployments/chat", {"spec": spec})
    with pytest.raises(Permanent, match="0 of 2 replicas remain, nobody carries its load"):
        act(cluster, used=0.3, load=LOAD).plan(step(cluster, deployment="chat"))


def test_one_pod_goes_and_comes_back_under_another_name(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 3)
    kind = act(cluster)
    first = min(names(cluster))
    plan = stored(kind.plan(step(cluster, pod=first)))
    ns = cluster.namespace
    assert plan.lines[:2] == (
        f"{ns}/{first} goes; its Deployment chat brings another",
        f"{ns}/chat: 2 of 3 replicas remain",
    )
    assert kind.observe(plan) is Observed.NOT_DONE
    kind.apply(plan, "run:restart:1")
    assert kind.observe(plan) is Observed.DONE
    cluster.until(PODS + f"?fieldSelector=metadata.name={first}", lambda found: not found["items"], "it is gone")
    cluster.settled()
    assert kind.go_on(plan, "run:restart:1") is None
    assert first not in names(cluster)
    kind.apply(plan, "run:restart:1")
    assert len(names(cluster)) == 3


def test_the_pod_that_came_under_the_same_name_is_another_one(cluster: Cluster) -> None:
    """As those of a StatefulSet do."""
    body = deployment("registry/llm:v1", 1)
    body["metadata"]["name"], body["spec"]["serviceName"] = "db", "db"
    sets = "/apis/apps/v1/namespaces/{ns}/statefulsets"
    cluster.make(sets, body)
    cluster.until(f"{sets}/db", _one_ready, "it is ready")
    kind = act(cluster)
    plan = kind.plan(step(cluster, pod="db-0"))
    was = plan.request["uid"]
    kind.apply(plan, "run:restart:1")
    cluster.until(PODS, lambda found: _other(found, was), "another one has come")
    cluster.until(f"{sets}/db", _one_ready, "it is ready again")
    assert kind.observe(plan) is Observed.DONE
    assert kind.go_on(plan, "run:restart:1") is None
    (now,) = cluster.pods()
    kind.apply(plan, "run:restart:1")
    (still,) = cluster.pods()
    assert now["metadata"]["uid"] == still["metadata"]["uid"] != was
    cluster.remove(f"{sets}/db")


def _one_ready(found: Any) -> bool:
    return bool(found["status"].get("readyReplicas") == 1)


def _other(found: Any, uid: str) -> bool:
    return [pod["metadata"]["uid"] for pod in found["items"]] not in ([], [uid])


def test_a_ready_pod_that_its_budget_keeps_stays(cluster: Cluster) -> None:
    cluster.make("/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets", budget(2))
    cluster.deploy("registry/llm:v1", 2)
    path = "/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets/chat"
    cluster.until(path, lambda found: found["status"]["currentHealthy"] == 2, "the budget counts")
    with pytest.raises(Permanent, match=r"may not go now: .*disruption budget chat needs 2 healthy pods and has 2"):
        act(cluster).plan(step(cluster, pod=min(names(cluster))))


def test_a_pod_that_serves_nothing_goes_whatever_its_budget_says(cluster: Cluster) -> None:
    cluster.make("/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets", budget(1))
    body = deployment("registry/llm:v1", 1, nodeSelector={"has": "no-such-gpu"})
    cluster.make("/apis/apps/v1/namespaces/{ns}/deployments", body)
    cluster.until(PODS, _unplaced, "the pod finds no node")
    kind = act(cluster)
    (name,) = names(cluster)
    plan = kind.plan(step(cluster, pod=name))
    assert "it is not ready (Unschedulable), so no budget counts it" in plan.lines
    kind.apply(plan, "run:restart:1")
    assert name not in names(cluster)


def _unplaced(found: Any) -> bool:
    return any(pod["status"].get("conditions") for pod in found["items"])


def test_a_pod_that_nothing_would_bring_back_is_left_alone(cluster: Cluster) -> None:
    pod = {"containers": [{"name": "llm", "image": "llm:v1"}], "terminationGracePeriodSeconds": 0}
    cluster.make(PODS, {"metadata": {"name": "alone"}, "spec": pod})
    with pytest.raises(Permanent, match="alone has no owner: nothing would bring it back"):
        act(cluster).plan(step(cluster, pod="alone"))


def test_a_restart_is_of_one_thing(cluster: Cluster) -> None:
    for what in ({}, {"pod": "a", "deployment": "b"}):
        with pytest.raises(Permanent, match="give one of the two"):
            act(cluster).plan(step(cluster, **what))
