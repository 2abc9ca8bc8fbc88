"""`k8s.scale`: with an autoscaler and without, up and down, and what the rest must be able to carry."""

from typing import Any

import pytest

from bot.contracts import Going, Observed, Permanent, Transient
from bot.incident.run import Risk
from bot.integrations.kubernetes import Scale
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.test_rollout_undo import stored

pytestmark = pytest.mark.kubernetes

CHAT = "/apis/apps/v1/namespaces/{ns}/deployments/chat"
SCALER = "/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers"
LOAD = 'used{namespace="{{ namespace }}",deployment="{{ deployment }}"}'


def act(cluster: Cluster, used: float | None = None, **changes: Any) -> Scale:
    return Scale({"lab": cluster.target(**changes)}, lambda _: used)


def step(cluster: Cluster, replicas: object) -> dict[str, Any]:
    return {"target": "lab", "namespace": cluster.namespace, "deployment": "chat", "replicas": replicas}


def replicas(cluster: Cluster) -> int:
    return int(cluster.deployment()["spec"]["replicas"])


def autoscaled(cluster: Cluster, least: int, most: int) -> None:
    owned = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}
    spec = {"minReplicas": least, "maxReplicas": most, "scaleTargetRef": owned, "targetCPUUtilizationPercentage": 80}
    cluster.make(SCALER, {"metadata": {"name": "chat-hpa"}, "spec": spec})


def least(cluster: Cluster) -> int:
    found = cluster.read(SCALER.format(ns=cluster.namespace) + "/chat-hpa")
    return int(found["spec"]["minReplicas"])


def test_more_replicas_are_a_number_by_the_preview_and_taken_back(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    kind = act(cluster)
    plan = stored(kind.plan(step(cluster, "+2")))
    assert plan.lines[:2] == (f"{cluster.namespace}/chat: 2 → 4 replicas", "2 replicas, 2 ready")
    assert (plan.risk, plan.undo) == (Risk.REVERSIBLE, "back to 2 replicas")
    assert replicas(cluster) == 2
    assert kind.observe(plan) is Observed.NOT_DONE
    kind.apply(plan, "run:scale:1")
    kind.apply(plan, "run:scale:1")
    assert replicas(cluster) == 4
    assert kind.observe(plan) is Observed.DONE
    assert isinstance(kind.go_on(plan, "run:scale:1"), Going)
    cluster.settled()
    assert kind.go_on(plan, "run:scale:1") is None
    kind.undo(plan, "run:scale:undo:1")
    kind.undo(plan, "run:scale:undo:1")
    assert replicas(cluster) == 2


def test_fewer_replicas_cannot_be_had_without_saying_what_remains(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 4)
    kind = act(cluster, used=0.6, load=LOAD)
    plan = kind.plan(step(cluster, "-1"))
    assert plan.risk is Risk.DESTRUCTIVE
    assert f"{cluster.namespace}/chat: 3 of 4 replicas remain, load 80 % afterwards" in plan.lines
    with pytest.raises(Permanent, match="3 of 4 replicas remain, load 93 % afterwards"):
        act(cluster, used=0.7, load=LOAD).apply(plan, "run:scale:1")
    kind.apply(plan, "run:scale:1")
    kind.go_on(plan, "run:scale:1")
    cluster.settled()
    assert kind.go_on(plan, "run:scale:1") is None
    assert replicas(cluster) == 3


def test_what_the_rest_could_not_carry_is_refused(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 4)
    with pytest.raises(Permanent, match="2 of 4 replicas remain, load 120 % afterwards: more than the 85 %"):
        act(cluster, used=0.6, load=LOAD).plan(step(cluster, 2))
    with pytest.raises(Permanent, match="0 of 4 replicas remain, nobody carries its load"):
        act(cluster, used=0.1, load=LOAD).plan(step(cluster, 0))
    (doubt,) = act(cluster, used=None, load=LOAD).plan(step(cluster, 2)).warnings
    assert doubt.endswith("can carry its load cannot be told: no data")


def test_an_autoscaler_is_moved_and_not_fought(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    autoscaled(cluster, 2, 4)
    kind = act(cluster)
    plan = stored(kind.plan(step(cluster, "+1")))
    assert plan.lines[1] == "chat-hpa (2 to 4) owns it: its minimum 2 → 3"
    assert plan.undo == "chat-hpa's minimum back to 2"
    assert least(cluster) == 2
    cluster.tape.lose = "PATCH"
    with pytest.raises(Transient):
        kind.apply(plan, "run:scale:1")
    assert kind.observe(plan) is Observed.DONE
    kind.apply(plan, "run:scale:1")
    assert least(cluster) == 3
    cluster.until(CHAT, lambda found: found["spec"]["replicas"] == 3, "the autoscaler has raised it")
    cluster.settled()
    assert kind.go_on(plan, "run:scale:1") is None
    kind.undo(plan, "run:scale:undo:1")
    assert least(cluster) == 2


def test_an_autoscalers_most_is_a_bound_and_its_least_may_decide_already(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    autoscaled(cluster, 1, 4)
    with pytest.raises(Permanent, match=r"chat-hpa \(1 to 4\) owns .* raise its maxReplicas first"):
        act(cluster).plan(step(cluster, 5))
    with pytest.raises(Permanent, match="keeps 2 replicas for their load: a lower minimum would change nothing"):
        act(cluster).plan(step(cluster, "-1"))
    with pytest.raises(Permanent, match="takes no minimum of 0"):
        act(cluster).plan(step(cluster, 0))


def test_an_autoscaler_that_was_moved_since_the_preview_is_left_alone(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 2)
    autoscaled(cluster, 2, 4)
    kind = act(cluster)
    plan = kind.plan(step(cluster, 3))
    cluster.tape.before["PATCH"] = lambda: cluster.change(SCALER + "/chat-hpa", {"spec": {"minReplicas": 1}})
    with pytest.raises(Permanent, match="changed since the preview: the minimum of chat-hpa 2 → 1; preview again"):
        kind.apply(plan, "run:scale:1")
    assert kind.observe(plan) is Observed.UNKNOWN
    assert least(cluster) == 1


def test_who_scales_it_back_is_noticed(cluster: Cluster) -> None:
    """As an autoscaler does that came later, or Argo CD."""
    cluster.deploy("registry/llm:v1", 2)
    kind = act(cluster)
    plan = kind.plan(step(cluster, 3))
    kind.apply(plan, "run:scale:1")
    cluster.change(CHAT, {"spec": {"replicas": 2}})
    with pytest.raises(Permanent, match=r"2 replicas are wanted again, not 3: .* was changed again by somebody else"):
        kind.go_on(plan, "run:scale:1")
    kind.undo(plan, "run:scale:undo:1")
    cluster.change(CHAT, {"spec": {"replicas": 1}})
    with pytest.raises(Permanent, match="has 1 replicas, which this step did not set"):
        kind.undo(plan, "run:scale:undo:1")


def test_the_same_number_wanted_again_later_is_set_again(cluster: Cluster) -> None:
    """The mark of the first time still stands there."""
    cluster.deploy("registry/llm:v1", 2)
    kind = act(cluster)
    kind.apply(kind.plan(step(cluster, 3)), "run:scale:1")
    cluster.change(CHAT, {"spec": {"replicas": 2}})
    kind.apply(kind.plan(step(cluster, 3)), "other:scale:1")
    assert replicas(cluster) == 3


@pytest.mark.parametrize("wanted", ["-3", "two", "1.5", True, -1])
def test_what_is_no_number_of_replicas_is_refused(cluster: Cluster, wanted: object) -> None:
    cluster.deploy("registry/llm:v1", 2)
    with pytest.raises(Permanent, match=r"replicas must be|cannot become 3 fewer"):
        act(cluster).plan(step(cluster, wanted))
