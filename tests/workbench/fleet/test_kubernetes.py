"""The fleet as a Kubernetes API: objects, patches, evictions and refusals, as a client meets them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from .conftest import Rig

APPS = "/apis/apps/v1/namespaces/inference"
PODS = "/api/v1/namespaces/inference/pods"
MISTRAL = f"{APPS}/deployments/mistral-small"
REVISION = "deployment.kubernetes.io/revision"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


def got(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def patched(client: TestClient, path: str, patch: object, kind: str = JSON_PATCH, dry: bool = False) -> Any:
    answer = client.patch(
        path, content=json.dumps(patch), headers={"content-type": kind}, params={"dryRun": "All"} if dry else {}
    )
    return answer.status_code, answer.json()


def refused(answer: Any, code: int, reason: str) -> str:
    """The sentence of a refusal, which is a `Status` object."""
    assert answer.status_code == code, answer.text
    status = answer.json()
    assert (status["kind"], status["status"], status["code"], status["reason"]) == ("Status", "Failure", code, reason)
    return str(status["message"])


def names(client: TestClient, path: str) -> list[str]:
    return [item["metadata"]["name"] for item in got(client, path)["items"]]


def test_a_deployment_leads_to_its_replica_sets_and_its_pods(client: TestClient) -> None:
    deployment = got(client, MISTRAL)
    assert deployment["metadata"]["annotations"][REVISION] == "2"
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"] == 1
    sets = got(client, f"{APPS}/replicasets?labelSelector=app%3Dmistral-small")["items"]
    assert {owned["metadata"]["ownerReferences"][0]["uid"] for owned in sets} == {deployment["metadata"]["uid"]}
    assert [(one["metadata"]["annotations"][REVISION], one["spec"]["replicas"]) for one in sets] == [
        ("1", 0),
        ("2", 2),
    ]
    pods = got(client, f"{PODS}?labelSelector=app%3Dmistral-small")["items"]
    assert [pod["spec"]["nodeName"] for pod in pods] == ["node-2", "node-3"]
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {sets[1]["metadata"]["uid"]}
    assert [condition["status"] for condition in pods[0]["status"]["conditions"]] == ["True", "True"]


def test_going_back_to_a_template_gives_the_old_revision_the_highest_number(client: TestClient, rig: Rig) -> None:
    old = got(client, f"{APPS}/replicasets/mistral-small-r17")["spec"]["template"]
    change = [
        {"op": "test", "path": "/metadata/generation", "value": 1},
        {"op": "add", "path": "/metadata/annotations/fixfirst.dev~1step", "value": "run-1"},
        {"op": "replace", "path": "/spec/template", "value": old},
    ]
    status, deployment = patched(client, MISTRAL, change)
    assert status == 200
    assert deployment["metadata"]["generation"] == 2
    assert deployment["status"]["observedGeneration"] == 1, "the controller sees it a moment later"
    assert deployment["metadata"]["annotations"] == {"fixfirst.dev/step": "run-1", REVISION: "3"}
    rig.wait(1)
    assert got(client, MISTRAL)["status"]["observedGeneration"] == 2
    assert got(client, MISTRAL)["status"]["updatedReplicas"] == 1
    rig.wait(6)
    assert got(client, MISTRAL)["status"]["readyReplicas"] == 2
    assert rig.fleet.model("mistral-small")["revision"] == "r17"
    assert got(client, f"{APPS}/replicasets/mistral-small-r17")["metadata"]["annotations"][REVISION] == "3"


def test_a_patch_made_for_an_older_generation_is_refused_and_changes_nothing(client: TestClient) -> None:
    stale = [
        {"op": "test", "path": "/metadata/generation", "value": 7},
        {"op": "replace", "path": "/spec/replicas", "value": 5},
    ]
    answer = client.patch(MISTRAL, content=json.dumps(stale), headers={"content-type": JSON_PATCH})
    assert "rejected our request" in refused(answer, 422, "Invalid")
    assert got(client, MISTRAL)["spec"]["replicas"] == 2


def test_a_dry_run_says_what_would_be_and_does_not_do_it(client: TestClient, rig: Rig) -> None:
    status, shown = patched(client, MISTRAL, [{"op": "replace", "path": "/spec/replicas", "value": 4}], dry=True)
    assert (status, shown["spec"]["replicas"]) == (200, 4)
    patched(client, "/api/v1/nodes/node-1", {"spec": {"unschedulable": True}}, MERGE_PATCH, dry=True)
    pod = names(client, PODS)[0]
    evicted = client.post(f"{PODS}/{pod}/eviction", params={"dryRun": "All"}, json={"metadata": {"name": pod}})
    assert evicted.status_code == 201
    rig.wait(1)
    assert got(client, MISTRAL)["spec"]["replicas"] == 2
    assert got(client, MISTRAL)["metadata"]["generation"] == 1
    assert got(client, "/api/v1/nodes/node-1")["spec"] == {}
    assert pod in names(client, PODS)


def test_scale_adds_replicas_by_its_own_part_and_by_the_deployment(client: TestClient, rig: Rig) -> None:
    status, scale = patched(client, f"{MISTRAL}/scale", {"spec": {"replicas": 3}}, MERGE_PATCH)
    assert (status, scale["kind"], scale["spec"]["replicas"]) == (200, "Scale", 3)
    patched(client, MISTRAL, [{"op": "replace", "path": "/spec/replicas", "value": 4}])
    rig.wait(6)
    assert got(client, MISTRAL)["status"]["readyReplicas"] == 4
    assert got(client, MISTRAL)["metadata"]["generation"] == 3


def test_what_cannot_be_is_invalid(client: TestClient) -> None:
    for value in (-1, 17, "many", True):
        change = json.dumps([{"op": "replace", "path": "/spec/replicas", "value": value}])
        answer = client.patch(MISTRAL, content=change, headers={"content-type": JSON_PATCH})
        assert "spec.replicas" in refused(answer, 422, "Invalid")
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "vllm:r99"}]
    answer = client.patch(MISTRAL, content=json.dumps(image), headers={"content-type": JSON_PATCH})
    assert "no image of r99" in refused(answer, 422, "Invalid")


def test_a_restart_replaces_every_pod_one_after_another(client: TestClient, rig: Rig) -> None:
    before = set(names(client, f"{PODS}?labelSelector=app%3Dmistral-small"))
    noted = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    assert patched(client, MISTRAL, noted, "application/strategic-merge-patch+json")[0] == 200
    rig.wait(1)
    assert len(before & set(names(client, f"{PODS}?labelSelector=app%3Dmistral-small"))) == 1
    rig.wait(6)
    after = set(names(client, f"{PODS}?labelSelector=app%3Dmistral-small"))
    assert before.isdisjoint(after)
    assert got(client, MISTRAL)["status"]["readyReplicas"] == 2
    assert rig.fleet.model("mistral-small")["revision"] == "r18"


def test_a_budget_lets_one_pod_go_and_keeps_the_next_until_another_serves(client: TestClient, rig: Rig) -> None:
    first, second = names(client, f"{PODS}?labelSelector=app%3Dmistral-small")
    assert client.post(f"{PODS}/{first}/eviction", json={"metadata": {"name": first}}).status_code == 201
    kept = client.post(f"{PODS}/{second}/eviction", json={"metadata": {"name": second}})
    refused(kept, 429, "TooManyRequests")
    (cause,) = kept.json()["details"]["causes"]
    assert cause == {
        "reason": "DisruptionBudget",
        "message": "The disruption budget mistral-small needs 1 healthy pods and has 1 currently",
    }
    (budget,) = [
        one["status"]
        for one in got(client, "/apis/policy/v1/namespaces/inference/poddisruptionbudgets")["items"]
        if one["metadata"]["name"] == "mistral-small"
    ]
    assert (budget["currentHealthy"], budget["disruptionsAllowed"]) == (1, 0)
    rig.wait(6)
    assert client.post(f"{PODS}/{second}/eviction", json={"metadata": {"name": second}}).status_code == 201


def test_a_pod_is_deleted_only_when_it_is_the_one_that_was_meant(client: TestClient) -> None:
    pod = got(client, PODS)["items"][0]
    path = f"{PODS}/{pod['metadata']['name']}"
    wrong = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert "UID in precondition" in refused(client.request("DELETE", path, json=wrong), 409, "Conflict")
    assert client.delete(path, params={"uid": pod["metadata"]["uid"]}).status_code == 200
    assert "not found" in refused(client.get(path), 404, "NotFound")


def test_a_cordoned_node_keeps_its_pods_and_gets_no_more(client: TestClient, rig: Rig) -> None:
    node = "/api/v1/nodes/node-2"
    assert patched(client, node, [{"op": "add", "path": "/spec/unschedulable", "value": True}])[0] == 200
    held = names(client, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-2")
    assert len(held) == 3, "two replicas and the exporter"
    assert client.post(f"{PODS}/{held[0]}/eviction", json={}).status_code == 201
    rig.wait(6)
    assert len(names(client, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-2")) == 2
    assert patched(client, node, {"spec": {"unschedulable": None}}, MERGE_PATCH)[0] == 200
    assert rig.fleet.node("node-2")["schedulable"]


def test_an_exporter_that_is_deleted_comes_back_under_another_name(client: TestClient, rig: Rig) -> None:
    pods = "/api/v1/namespaces/gpu-operator/pods"
    rig.fleet.set_fault("telemetry-blind", True)
    before = names(client, pods)
    gone = got(client, f"{pods}?fieldSelector=spec.nodeName%3Dnode-1")["items"][0]["metadata"]["name"]
    assert client.delete(f"{pods}/{gone}").status_code == 200
    assert len(set(names(client, pods)) - set(before)) == 1
    assert not next(fault["on"] for fault in rig.fleet.faults() if fault["id"] == "telemetry-blind")


def test_whoever_has_the_token_may_do_everything_and_nobody_else_anything(client: TestClient) -> None:
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"spec": {"resourceAttributes": {"verb": "patch", "resource": "nodes"}}}
    answer = client.post(review, json=asked)
    assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, True)
    refused(client.get(MISTRAL, headers={"authorization": "Bearer other"}), 401, "Unauthorized")
    refused(client.post(review, json=asked, headers={"authorization": ""}), 401, "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", f"{APPS}/deployments/gpt", 404, "NotFound"),
        ("GET", "/apis/apps/v1/namespaces/elsewhere/deployments/mistral-small", 404, "NotFound"),
        ("GET", "/apis/argoproj.io/v1alpha1/namespaces/inference/rollouts/x", 404, "NotFound"),
        ("GET", f"{PODS}?labelSelector=app+in+(a)", 400, "BadRequest"),
        ("DELETE", MISTRAL, 405, "MethodNotAllowed"),
        ("POST", f"{APPS}/deployments", 405, "MethodNotAllowed"),
        ("PATCH", MISTRAL, 415, "UnsupportedMediaType"),
        ("PATCH", f"{MISTRAL}?dryRun=Some", 400, "BadRequest"),
    ],
)
def test_what_is_not_there_is_refused_as_kubernetes_does(
    client: TestClient, method: str, path: str, code: int, reason: str
) -> None:
    refused(client.request(method, path), code, reason)


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        (JSON_PATCH, "{}", 400),
        (JSON_PATCH, "[1]", 422),
        (JSON_PATCH, '[{"op": "replace", "path": "", "value": 1}]', 422),
        (JSON_PATCH, '[{"op": "move", "path": "/spec/replicas"}]', 422),
        (JSON_PATCH, '[{"op": "replace", "path": "/spec", "value": 1}]', 400),
        (MERGE_PATCH, "[]", 400),
        (MERGE_PATCH, '{"spec": null}', 400),
        (MERGE_PATCH, "{", 400),
    ],
)
def test_a_patch_that_is_none_is_refused_and_changes_nothing(
    client: TestClient, kind: str, content: str, code: int
) -> None:
    before = got(client, MISTRAL)["spec"]
    answer = client.patch(MISTRAL, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["kind"]) == (code, "Status")
    assert got(client, MISTRAL)["spec"] == before


def test_the_log_of_the_container_before_tells_why_it_ended(client: TestClient, rig: Rig) -> None:
    pod = names(client, f"{PODS}?labelSelector=app%3Dmistral-small")[0]
    never = client.get(f"{PODS}/{pod}/log", params={"previous": "true"})
    assert "previous terminated container" in refused(never, 400, "BadRequest")
    rig.fleet.set_fault("gpu-oom", True)
    rig.wait(180)
    hungry = [
        item["metadata"]["name"]
        for item in got(client, PODS)["items"]
        if any(one["restartCount"] for one in item["status"].get("containerStatuses", ()))
    ]
    log = client.get(f"{PODS}/{hungry[0]}/log", params={"previous": "true", "tailLines": "50"})
    assert log.headers["content-type"].startswith("text/plain")
    assert "torch.OutOfMemoryError: CUDA out of memory" in log.text
    assert client.get(f"{PODS}/{hungry[0]}/log").text == "", "the present one runs"
    assert refused(client.get(f"{PODS}/nobody/log"), 404, "NotFound")
