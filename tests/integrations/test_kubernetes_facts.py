"""What is read out of a cluster's objects, where no real cluster of the tests has such objects."""

from typing import Any

import pytest

from bot.contracts import Permanent
from bot.integrations.kubernetes import facts
from bot.integrations.kubernetes.change import rolling


def raw(**changes: Any) -> dict[str, Any]:
    meta = {"uid": "u", "namespace": "n", "name": "chat", "generation": 1, "resourceVersion": "7"}
    return {"metadata": meta | changes.pop("metadata", {}), "spec": changes, "status": {}}


@pytest.mark.parametrize(
    ("replicas", "strategy", "missing"),
    [
        (8, {}, 2),
        (3, {}, 0),
        (1, {"rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}}, 1),
        (8, {"rollingUpdate": {"maxUnavailable": 3}}, 3),
        (2, {"rollingUpdate": {"maxUnavailable": 9}}, 2),
        (4, {"type": "Recreate"}, 4),
    ],
)
def test_how_many_pods_may_be_missing_while_it_rolls(replicas: int, strategy: Any, missing: int) -> None:
    assert facts.deployment(raw(replicas=replicas, strategy=strategy)).unavailable == missing


@pytest.mark.parametrize(
    ("meta", "keeper"),
    [
        ({}, ("", "")),
        ({"labels": {"app.kubernetes.io/instance": "chat"}}, ("", "")),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, ("Argo CD", "shop")),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:n/chat"}}, ("Argo CD", "shop")),
        ({"managedFields": [{"manager": "argocd-controller"}]}, ("Argo CD", "")),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, ("Flux", "apps")),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "chat"}}, ("Flux", "chat")),
    ],
)
def test_who_keeps_an_object_as_it_stands_in_git(meta: dict[str, Any], keeper: tuple[str, str]) -> None:
    assert facts.deployment(raw(metadata=meta)).keeper == keeper


SELECTOR = {
    "matchLabels": {"app": "chat"},
    "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
        {"key": "gpu", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ],
}


def test_a_selector_is_asked_for_and_fits_as_kubernetes_has_it() -> None:
    assert facts.selector(SELECTOR) == "app=chat,tier in (a,b),zone notin (x),gpu,!old"
    good = {"app": "chat", "tier": "a", "gpu": ""}
    assert facts.fits(SELECTOR, good)
    assert facts.fits({}, {})
    for wrong in ({"app": "x"}, {"tier": "c"}, {"zone": "x"}, {"old": "1"}):
        assert not facts.fits(SELECTOR, good | wrong)
    assert not facts.fits(SELECTOR, {"app": "chat", "tier": "a"})


def test_of_a_change_images_are_shown_and_of_the_rest_only_names() -> None:
    def template(image: str, secret: str, **spec: Any) -> Any:
        return {
            "spec": {"containers": [{"name": "a", "image": image, "env": [{"name": "KEY", "value": secret}]}], **spec}
        }

    lines = facts.changes(template("a:2", "canary-1", hostNetwork=True), template("a:1", "canary-2"))
    assert lines == ["image a: a:2 → a:1", "also changes containers.a.env.KEY.value, hostNetwork"]
    more = facts.changes(
        template("a:1", "k"), {"spec": {"containers": [], "initContainers": [{"name": "i", "image": "i:1"}]}}
    )
    assert more[:2] == ["image a: a:1 → none", "image i: none → i:1"]


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        (("ReplicaSet", "chat-5d79"), {"pod-template-hash": "5d79"}, ("Deployment", "n", "chat")),
        (("ReplicaSet", "by-hand"), {}, ("ReplicaSet", "n", "by-hand")),
        (("StatefulSet", "db"), {}, ("StatefulSet", "n", "db")),
    ],
)
def test_a_pod_belongs_to_what_people_know(owner: Any, labels: dict[str, str], workload: Any) -> None:
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}]
    meta = {"uid": "u", "namespace": "n", "name": "p", "labels": labels, "ownerReferences": owners}
    assert facts.pod({"metadata": meta, "spec": {}, "status": {}}).workload == workload


def test_how_long_a_pod_took_is_told_by_the_middle_one() -> None:
    def took(ready: str) -> facts.Pod:
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-11-21T10:{ready}Z"},
        ]
        meta = {"uid": "u", "namespace": "n", "name": "p"}
        return facts.pod({"metadata": meta, "spec": {}, "status": {"conditions": conditions}})

    assert facts.cold_start([took("04:00"), took("05:00"), took("59:00")]) == 300
    assert facts.cold_start([]) is None


def test_a_rollout_that_was_stuck_before_is_not_stuck_yet() -> None:
    """The controller leaves the condition of the earlier rollout as it is until a pod of the new one has moved."""
    given_up = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out."}
    found = raw(replicas=2)
    found["status"] = {"observedGeneration": 1, "replicas": 2, "conditions": [given_up | {"lastUpdateTime": "10:00"}]}
    assert rolling(facts.deployment(found), {"stuck": "10:00"}) == "0 of 2 pods are new"
    with pytest.raises(Permanent, match="n/chat is stuck: timed out; 0 of 2 pods are new"):
        rolling(facts.deployment(found), {"stuck": "09:00"})


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"observedGeneration": 0}, "its controller has not taken it up yet"),
        ({"updatedReplicas": 1, "replicas": 3}, "1 of 2 pods are new"),
        ({"updatedReplicas": 2, "replicas": 3, "availableReplicas": 2}, "1 old pods are still ending"),
        ({"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}, "1 of 2 new pods are available"),
        ({"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, ""),
    ],
)
def test_how_far_a_rollout_is(status: dict[str, int], words: str) -> None:
    found = raw(replicas=2)
    found["status"] = {"observedGeneration": 1, **status}
    assert rolling(facts.deployment(found), {"stuck": ""}) == words
