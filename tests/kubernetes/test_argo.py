"""`argo.abort` and `argo.undo` on a Rollout whose controller is this test: the API server only keeps the objects."""

from typing import Any

import pytest

from bot.contracts import Going, Observed, Permanent, Transient
from bot.incident.run import Risk
from bot.integrations.kubernetes import Abort, ArgoUndo
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.test_rollout_undo import stored

pytestmark = pytest.mark.kubernetes

ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/{ns}/rollouts"
SETS = "/apis/apps/v1/namespaces/{ns}/replicasets"
HASH = "rollouts-pod-template-hash"


def template(image: str, hashed: str = "") -> Any:
    labels = {"app": "chat"} | ({HASH: hashed} if hashed else {})
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "llm", "image": image}]}}


@pytest.fixture
def rollout(cluster: Cluster) -> Cluster:
    """Revision 2 is being rolled out, revision 1 is stable."""
    cluster.knows("Rollout", "rollouts")
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "chat"}}, "template": template("registry/llm:v2")}
    meta = {"name": "chat", "annotations": {"rollout.argoproj.io/revision": "2"}}
    cluster.make(ROLLOUTS, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta, "spec": spec})
    if cluster.real:
        found = cluster.real.must("GET", f"{ROLLOUTS}/chat".format(ns=cluster.namespace))
        owner = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "name": "chat",
            "uid": found["metadata"]["uid"],
        }
        for number, hashed in ((1, "aaa"), (2, "bbb")):
            labels = {"app": "chat", HASH: hashed}
            kept = {
                "name": f"chat-{hashed}",
                "labels": labels,
                "annotations": {"rollout.argoproj.io/revision": f"{number}"},
                "ownerReferences": [owner | {"controller": True}],
            }
            sets = {"replicas": 0, "selector": {"matchLabels": labels}}
            sets["template"] = template(f"registry/llm:v{number}", hashed)
            cluster.make(SETS, {"metadata": kept, "spec": sets})
        status(cluster, phase="Progressing", currentPodHash="bbb", stableRS="aaa")
    return cluster


def status(cluster: Cluster, **now: Any) -> None:
    """What Argo's controller would say."""
    if cluster.real:
        path = f"{ROLLOUTS}/chat".format(ns=cluster.namespace)
        generation = cluster.real.must("GET", path)["metadata"]["generation"]
        cluster.change(f"{path}/status", {"status": now | {"observedGeneration": str(generation)}})


def seen(cluster: Cluster) -> Any:
    return cluster.read(f"{ROLLOUTS}/chat".format(ns=cluster.namespace))


def step(cluster: Cluster) -> dict[str, Any]:
    return {"target": "lab", "namespace": cluster.namespace, "rollout": "chat"}


def test_a_rollout_is_aborted_and_goes_on_again(rollout: Cluster) -> None:
    kind = Abort({"lab": rollout.target()})
    plan = stored(kind.plan(step(rollout)))
    assert plan.lines[0] == f"{rollout.namespace}/chat: the rollout of revision 2 is aborted"
    assert (plan.risk, plan.undo) == (Risk.REVERSIBLE, "the aborted rollout goes on")
    assert "abort" not in seen(rollout)["status"]
    assert kind.observe(plan) is Observed.NOT_DONE
    rollout.tape.lose = "PATCH"
    with pytest.raises(Transient):
        kind.apply(plan, "run:abort:1")
    assert kind.observe(plan) is Observed.DONE
    kind.apply(plan, "run:abort:1")
    assert seen(rollout)["status"]["abort"] is True
    kind.undo(plan, "run:abort:undo:1")
    kind.undo(plan, "run:abort:undo:1")
    assert seen(rollout)["status"]["abort"] is False


def test_a_rollout_goes_back_to_a_pinned_revision_and_forward_again(rollout: Cluster) -> None:
    kind = ArgoUndo({"lab": rollout.target()})
    plan = stored(kind.plan(step(rollout)))
    assert plan.lines[:2] == (
        f"{rollout.namespace}/chat: revision 2 → 1",
        "image llm: registry/llm:v2 → registry/llm:v1",
    )
    kind.apply(plan, "run:undo:1")
    kind.apply(plan, "run:undo:1")
    spec = seen(rollout)["spec"]["template"]
    assert spec["spec"]["containers"][0]["image"] == "registry/llm:v1"
    assert spec["metadata"]["labels"] == {"app": "chat"}
    assert kind.go_on(plan, "run:undo:1") == Going("Argo Rollouts has not taken it up yet")
    status(
        rollout, phase="Progressing", message="more replicas need to be updated", currentPodHash="aaa", stableRS="aaa"
    )
    assert kind.go_on(plan, "run:undo:1") == Going("Progressing: more replicas need to be updated")
    status(rollout, phase="Healthy", currentPodHash="aaa", stableRS="aaa")
    assert kind.go_on(plan, "run:undo:1") is None
    kind.undo(plan, "run:undo:undo:1")
    assert seen(rollout)["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/llm:v2"


def test_a_rollout_that_degrades_ends_with_argos_words(rollout: Cluster) -> None:
    kind = ArgoUndo({"lab": rollout.target()})
    plan = kind.plan(step(rollout))
    kind.apply(plan, "run:undo:1")
    status(rollout, phase="Degraded", message="ProgressDeadlineExceeded", currentPodHash="aaa", stableRS="aaa")
    with pytest.raises(Permanent, match="is degraded: ProgressDeadlineExceeded"):
        kind.go_on(plan, "run:undo:1")


def test_nothing_is_aborted_where_nothing_rolls(rollout: Cluster) -> None:
    status(rollout, phase="Healthy", currentPodHash="aaa", stableRS="aaa")
    with pytest.raises(Permanent, match="is not rolling anything out: there is nothing to abort"):
        Abort({"lab": rollout.target()}).plan(step(rollout))


def test_a_rollout_that_is_not_there_is_said(rollout: Cluster) -> None:
    for kind in (Abort({"lab": rollout.target()}), ArgoUndo({"lab": rollout.target()})):
        with pytest.raises(Permanent, match=r"there is no Rollout none in .*, or Argo Rollouts is"):
            kind.plan(step(rollout) | {"rollout": "none"})
