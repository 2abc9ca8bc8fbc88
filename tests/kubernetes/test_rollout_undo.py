"""`k8s.rollout_undo` against a real API server with its controllers, or against what it said."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.contracts import Going, Lasting, Observed, Permanent, Plan, Transient
from bot.incident.run import Risk
from bot.integrations.kubernetes import RolloutUndo
from tests.kubernetes.conftest import Cluster, budget

pytestmark = pytest.mark.kubernetes

BAD = {"nodeSelector": {"has": "no-such-gpu"}}
"""No node takes such a pod, so that a rollout to it gets stuck."""


def act(cluster: Cluster, **changes: Any) -> RolloutUndo:
    return RolloutUndo({"lab": cluster.target(**changes)})


def step(cluster: Cluster, **more: Any) -> dict[str, Any]:
    return {"target": "lab", "namespace": cluster.namespace, "deployment": "chat", **more}


def stored(plan: Plan) -> Plan:
    """As it comes back from the journal."""
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


def image(cluster: Cluster) -> str:
    return str(cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["image"])


def two_revisions(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1")
    cluster.deploy("registry/llm:v2")


def test_the_preview_pins_the_revision_and_changes_nothing(cluster: Cluster) -> None:
    cluster.make("/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets", budget(3))
    two_revisions(cluster)
    cluster.until("/apis/policy/v1beta1/namespaces/{ns}/poddisruptionbudgets/chat", budgeted, "the budget counts")
    plan = act(cluster).plan(step(cluster))
    lines = list(plan.lines)
    assert lines[0] == f"{cluster.namespace}/chat: revision 2 → 1"
    assert lines[1] == "image llm: registry/llm:v2 → registry/llm:v1"
    assert lines[2] == "4 replicas, 4 ready"
    assert lines[3] == "budget chat keeps 3, lets 1 go now"
    assert lines[4].startswith("a new pod takes about ")
    assert lines[5] == "the server would take it, and the bot may do it"
    assert (plan.risk, plan.undo, plan.warnings) == (Risk.REVERSIBLE, "back to revision 2", ())
    assert plan.request["revision"] == 1
    assert image(cluster) == "registry/llm:v2"


def budgeted(found: Any) -> bool:
    return bool(found["status"]["disruptionsAllowed"] == 1)


def test_it_rolls_back_and_says_how_far_it_is_and_forward_again(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    assert isinstance(kind, Lasting)
    plan = stored(kind.plan(step(cluster)))
    assert kind.observe(plan) is Observed.NOT_DONE
    kind.apply(plan, "run:undo:1")
    assert kind.observe(plan) is Observed.DONE
    assert isinstance(kind.go_on(plan, "run:undo:1"), Going)
    cluster.settled()
    assert kind.go_on(plan, "run:undo:1") is None
    found = cluster.deployment()
    assert image(cluster) == "registry/llm:v1"
    assert found["metadata"]["annotations"]["fixfirst.dev/act"].startswith("run:undo:1 ")
    kind.undo(plan, "run:undo:undo:1")
    assert image(cluster) == "registry/llm:v2"
    kind.undo(plan, "run:undo:undo:1")
    assert image(cluster) == "registry/llm:v2"


def test_the_same_act_again_does_not_bring_the_bad_one_back(cluster: Cluster) -> None:
    """kubectl rollout undo three times in a row is: good, bad, good."""
    two_revisions(cluster)
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    for _ in range(3):
        kind.apply(plan, "run:undo:1")
        assert image(cluster) == "registry/llm:v1"


def test_an_answer_that_gets_lost_is_found_done_by_the_second_try(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    plan = stored(kind.plan(step(cluster)))
    cluster.tape.lose = "PATCH"
    with pytest.raises(Transient) as lost:
        kind.apply(plan, "run:undo:1")
    assert lost.value.ambiguous
    assert kind.observe(plan) is Observed.DONE
    kind.apply(plan, "run:undo:1")
    assert image(cluster) == "registry/llm:v1"


def test_a_stale_preview_is_refused_and_says_what_moved(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    cluster.deploy("registry/llm:v3", 5)
    with pytest.raises(
        Permanent, match=r"replicas 4 → 5, revision 2 → 3, image llm registry/llm:v2 → registry/llm:v3"
    ) as e:
        kind.apply(plan, "run:undo:1")
    assert str(e.value).endswith("; preview again")
    assert kind.observe(plan) is Observed.UNKNOWN
    assert image(cluster) == "registry/llm:v3"


def test_what_moves_between_the_look_and_the_patch_is_refused_by_the_server(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/chat"
    cluster.tape.before["PATCH"] = lambda: cluster.change(path, {"spec": {"replicas": 5}})
    with pytest.raises(Permanent, match=r"changed since the preview: .* replicas 4 → 5, .*; preview again"):
        kind.apply(plan, "run:undo:1")
    assert image(cluster) == "registry/llm:v2"


def test_it_comes_back_from_a_rollout_that_is_stuck(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1")
    spec = {"progressDeadlineSeconds": 2, "template": {"spec": BAD}}
    cluster.change("/apis/apps/v1/namespaces/{ns}/deployments/chat", {"spec": spec})
    cluster.until("/apis/apps/v1/namespaces/{ns}/deployments/chat", stuck, "the rollout is stuck")
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    assert "also changes nodeSelector" in plan.lines
    kind.apply(plan, "run:undo:1")
    kind.go_on(plan, "run:undo:1")
    cluster.settled()
    assert kind.go_on(plan, "run:undo:1") is None


def stuck(found: Any) -> bool:
    reasons = {condition.get("reason") for condition in found["status"].get("conditions", [])}
    return "ProgressDeadlineExceeded" in reasons


def test_a_roll_back_that_gets_stuck_ends_with_the_controllers_words(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1")
    path = "/apis/apps/v1/namespaces/{ns}/deployments/chat"
    cluster.change(path, {"spec": {"progressDeadlineSeconds": 2, "template": {"spec": BAD}}})
    cluster.until(path, stuck, "the rollout is stuck")
    cluster.deploy("registry/llm:v3", nodeSelector={"has": None})
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    assert plan.request["revision"] == 2
    kind.apply(plan, "run:undo:1")
    cluster.until(path, stuck, "the roll-back is stuck")
    with pytest.raises(Permanent, match=r"is stuck: .*progress.*; [1-4] of 4 pods are new"):
        kind.go_on(plan, "run:undo:1")


def test_what_somebody_puts_back_meanwhile_is_said_and_left_alone(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    kind.apply(plan, "run:undo:1")
    cluster.deploy("registry/llm:v2")
    with pytest.raises(Permanent, match="was changed again by somebody else"):
        kind.go_on(plan, "run:undo:1")
    kind.undo(plan, "run:undo:undo:1")
    cluster.deploy("registry/llm:v4")
    with pytest.raises(Permanent, match="runs what this step did not bring; look before undoing"):
        kind.undo(plan, "run:undo:undo:1")
    assert image(cluster) == "registry/llm:v4"


def test_a_named_revision_is_taken_and_an_unknown_one_refused(cluster: Cluster) -> None:
    two_revisions(cluster)
    cluster.deploy("registry/llm:v3")
    kind = act(cluster)
    assert kind.plan(step(cluster, revision="1")).request["revision"] == 1
    with pytest.raises(Permanent, match="has no revision 7; the cluster keeps 1, 2, 3"):
        kind.plan(step(cluster, revision=7))
    with pytest.raises(Permanent, match="runs revision 3 already"):
        kind.plan(step(cluster, revision=3))
    kind.apply(kind.plan(step(cluster)), "run:undo:1")
    cluster.settled()
    (warning,) = kind.plan(step(cluster)).warnings
    assert warning == "revision 3 is newer than what runs: was it left before? Name `revision` for another"


def test_a_first_revision_has_none_before_it(cluster: Cluster) -> None:
    cluster.deploy("registry/llm:v1", 1)
    with pytest.raises(Permanent, match="has no earlier revision; the cluster keeps 1"):
        act(cluster).plan(step(cluster))


def test_who_keeps_it_in_git_is_said(cluster: Cluster) -> None:
    two_revisions(cluster)
    tracked = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/chat"}}}
    cluster.change("/apis/apps/v1/namespaces/{ns}/deployments/chat", tracked)
    plan = act(cluster).plan(step(cluster))
    assert plan.warnings == ("Argo CD (shop) keeps this as it stands in Git and may put it back",)


@pytest.mark.parametrize(
    ("automated", "warning"),
    [
        ({"selfHeal": True}, "Argo CD (shop) heals itself: it will put this back at once"),
        ({"prune": True}, "Argo CD (shop) puts this back at its next sync"),
        (None, "Argo CD (shop) puts this back at its next sync"),
    ],
    ids=["heals", "syncs", "by hand"],
)
def test_whether_argo_cd_heals_itself_is_looked_up(cluster: Cluster, automated: Any, warning: str) -> None:
    two_revisions(cluster)
    tracked = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/chat"}}}
    cluster.change("/apis/apps/v1/namespaces/{ns}/deployments/chat", tracked)
    cluster.knows("Application", "applications")
    cluster.has_namespace("argocd")
    shop = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop"}}
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
    cluster.make(path, shop | {"spec": {"syncPolicy": {"automated": automated} if automated else {}}})
    assert act(cluster).plan(step(cluster)).warnings == (warning,)
    cluster.remove(f"{path}/shop")


def test_what_the_account_may_not_do_is_named(cluster: Cluster) -> None:
    two_revisions(cluster)
    ns = cluster.namespace
    with pytest.raises(Permanent) as refused:
        act(cluster, guest=True).plan(step(cluster))
    assert "does not let the bot get deployments.apps in " in str(refused.value)
    assert f"patch deployments.apps in {ns}" in str(refused.value)
    assert f"list replicasets.apps in {ns}" in str(refused.value)


def test_another_namespace_is_none_of_its_business(cluster: Cluster) -> None:
    with pytest.raises(Permanent, match="takes steps only in these namespaces"):
        act(cluster).plan(step(cluster) | {"namespace": "kube-system"})
    with pytest.raises(Permanent, match=r"deployment cannot be '\.\./"):
        act(cluster).plan(step(cluster) | {"deployment": "../../x"})


def test_no_token_gets_into_a_plan(cluster: Cluster) -> None:
    two_revisions(cluster)
    kind = act(cluster)
    plan = kind.plan(step(cluster))
    assert "bot-5c1e" not in repr(plan) + repr(cluster.target())
