"""`k8s.get`: what is there, one value of it, and what is none of a runbook's business."""

from typing import Any

import pytest

from bot.contracts import Permanent
from bot.incident.run import Reading, Sample
from bot.integrations.kubernetes import Get
from tests.kubernetes.conftest import Cluster

pytestmark = pytest.mark.kubernetes


def look(cluster: Cluster, **step: Any) -> Reading:
    return Get({"lab": cluster.target()}).check({"target": "lab", "namespace": cluster.namespace, **step})


@pytest.fixture
def chat(cluster: Cluster) -> Cluster:
    cluster.deploy("registry/llm:v1", 2)
    return cluster


def test_values_of_an_object_are_read_and_judged(chat: Cluster) -> None:
    ns = chat.namespace
    ready = look(chat, resource="deployments", name="chat", path="status.readyReplicas", expect=">= 2")
    assert ready == Reading(Sample.HOLDS, f"status.readyReplicas of deployments.apps {ns}/chat is 2 (want >= 2)")
    for path, expect, sample in (
        ("status.readyReplicas", "< 2", Sample.FAILS),
        ("status.noSuchThing", "> 0", Sample.INCONCLUSIVE),
        ("status.noSuchThing", "empty", Sample.HOLDS),
        ("status.noSuchThing", "nonempty", Sample.INCONCLUSIVE),
        ("spec.template.spec.containers.0.image", "== registry/llm:v1", Sample.HOLDS),
        ("spec.template.spec.containers.0.image", "!= registry/llm:v1", Sample.FAILS),
        ("spec.template.spec.containers.0.image", "> 3", Sample.INCONCLUSIVE),
        ("spec.template.spec.containers.7.image", "nonempty", Sample.INCONCLUSIVE),
        ("metadata.annotations.deployment\\.kubernetes\\.io/revision", "== 1", Sample.HOLDS),
        ("spec.template.spec", "== x", Sample.INCONCLUSIVE),
    ):
        read = look(chat, resource="deployment", name="chat", path=path, expect=expect)
        assert (path, expect, read.sample) == (path, expect, sample)


def test_what_is_not_there_is_never_a_yes(chat: Cluster) -> None:
    assert look(chat, resource="deployment", name="chat").sample is Sample.HOLDS
    assert look(chat, resource="deployment", name="none").sample is Sample.INCONCLUSIVE
    assert look(chat, resource="deployment", name="none", expect="empty").sample is Sample.HOLDS
    unknown = look(chat, resource="rollouts.v9.argoproj.io", name="a")
    assert unknown.sample is Sample.INCONCLUSIVE
    assert "knows no rollouts.argoproj.io" in unknown.text


def test_a_node_is_looked_at_without_a_namespace(cluster: Cluster) -> None:
    step = {"target": "lab", "resource": "node", "name": "gpu-1", "path": "spec.unschedulable", "expect": "empty"}
    assert Get({"lab": cluster.target()}).check(step).sample is Sample.HOLDS


def test_what_is_long_is_cut_and_what_is_secret_is_blanked(chat: Cluster) -> None:
    chat.change(
        "/apis/apps/v1/namespaces/{ns}/deployments/chat",
        {"metadata": {"annotations": {"token": "xoxb-111111111111-222222222222-abcdefghijklmnopqrstuvwx"}}},
    )
    whole = look(chat, resource="deployment", name="chat", path="spec.template.spec")
    assert len(whole.text) < 420
    secret = look(chat, resource="deployment", name="chat", path="metadata.annotations.token")
    assert "xoxb" not in secret.text
    assert "xoxb" not in look(chat, resource="deployment", name="chat", path="metadata.annotations").text


@pytest.mark.parametrize("resource", ["secret", "secrets", "Secrets", "secrets.v1.", "secrets.v1.core"])
def test_secrets_are_not_looked_at(cluster: Cluster, resource: str) -> None:
    with pytest.raises(Permanent, match="secrets are not looked at"):
        look(cluster, resource=resource, name="token")


def test_what_may_not_be_looked_at_is_said(cluster: Cluster) -> None:
    with pytest.raises(Permanent, match="takes steps only in these namespaces"):
        look(cluster, resource="pods", name="a", namespace="kube-system")
    with pytest.raises(Permanent, match=r"does not let the bot do this: services .* is forbidden"):
        look(cluster, resource="service", name="a")
    with pytest.raises(Permanent, match="is no resource: write one of configmaps, "):
        look(cluster, resource="deploymints", name="a")
