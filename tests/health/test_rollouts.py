"""Roll-outs as kube-state-metrics shows them, through a real Prometheus with an invented past."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bot.health import Settings, Telemetry
from bot.health.rollouts import Found, find
from bot.incident.change import Change, ChangeKind, words
from bot.incident.events import Precision
from tests.health.conftest import PAST, Past
from tests.servers import free_port

HOUR, MIN = 3600.0, 60.0
Start = Callable[[Past], str]


@dataclass
class Cluster:
    """What kube-state-metrics would have said for three hours; all times are seconds before now."""

    past: Past = field(default_factory=Past)
    namespace: str = "inference"
    began: float = field(default_factory=time.time)

    def replicaset(
        self, deployment: str, revision: str, replicas: Callable[[float], float] | float, created_ago: float = 9 * HOUR
    ) -> str:
        """`replicas`: by seconds before now."""
        name = f"{deployment}-{revision}"
        labels = {"namespace": self.namespace, "replicaset": name}
        born = self.began - created_ago
        seen = min(created_ago, PAST)
        self.past.appearing("kube_replicaset_created", labels, born, seen)
        owner = {**labels, "owner_kind": "Deployment", "owner_name": deployment}
        self.past.appearing("kube_replicaset_owner", owner, 1, seen)
        self.past.during("kube_replicaset_spec_replicas", labels, replicas, seen)
        return name

    def pod(
        self, kind: str, owner: str, pod: str, image: str, since: float = PAST, until: float = 0, model: str = ""
    ) -> None:
        labels = {"namespace": self.namespace, "pod": pod}
        owned = {**labels, "owner_kind": kind, "owner_name": owner}
        tag = image.rpartition("/")[2]
        runs = {
            **labels,
            "container": "server",
            "image": image,
            "image_id": f"{image}@sha256:{tag.encode().hex():0>64}",
        }
        self.past.during("kube_pod_owner", owned, 1, since, until)
        self.past.during("kube_pod_container_info", runs, 1, since, until)
        if model:
            serves = {**labels, "model_name": model, "engine": "0"}
            self.past.during("vllm:num_requests_running", serves, 3, since, until)

    def look(self, start: Start, model: str = "llama-70b") -> Found:
        telemetry = Telemetry(start(self.past), settings=Settings())
        return find(telemetry, model, datetime.now(UTC), timedelta(hours=2))


def ago(change: Change) -> float:
    """Minutes before now."""
    return (datetime.now(UTC) - change.at).total_seconds() / 60


def deployed(cluster: Cluster, name: str = "llama-70b", when: float = 40 * MIN) -> None:
    """Version r42 took the place of r41."""
    old = cluster.replicaset(name, "r41", lambda t: 3 if t > when else 0)
    new = cluster.replicaset(name, "r42", 3, created_ago=when)
    cluster.pod(
        "ReplicaSet", old, f"{name}-r41-a", "registry.example/serving/llama:1.4.2", until=when, model="llama-70b"
    )
    cluster.pod(
        "ReplicaSet", new, f"{name}-r42-a", "registry.example/serving/llama:1.4.3", since=when, model="llama-70b"
    )


def test_a_roll_out_is_seen_with_its_time_and_both_images(remembering: Start) -> None:
    cluster = Cluster()
    deployed(cluster)
    found = cluster.look(remembering)
    assert found.missing == ""
    (change,) = found.changes
    assert words(change) == "Deployed llama-70b: llama:1.4.2 -> 1.4.3"
    assert (change.revision, change.previous, change.precision) == ("r42", "r41", Precision.EXACT)
    assert 39 < ago(change) < 42


def test_a_resize_is_no_change(remembering: Start) -> None:
    cluster = Cluster()
    cluster.replicaset("llama-70b", "r41", lambda t: 3 if t > 30 * MIN else 8)
    cluster.replicaset("llama-70b", "r40", 0)
    assert cluster.look(remembering).changes == ()


def test_scaling_up_from_nothing_is_no_change(remembering: Start) -> None:
    cluster = Cluster()
    cluster.replicaset("llama-70b", "r41", lambda t: 0 if 20 * MIN < t < 60 * MIN else 2)
    cluster.replicaset("other", "r1", lambda t: 0 if t > 25 * MIN else 2)
    assert cluster.look(remembering).changes == ()


def test_going_back_to_an_old_replicaset_is_a_change_of_its_own(remembering: Start) -> None:
    cluster = Cluster()
    cluster.replicaset("llama-70b", "r41", lambda t: 0 if 20 * MIN < t <= 50 * MIN else 3)
    cluster.replicaset("llama-70b", "r42", lambda t: 3 if 20 * MIN < t <= 50 * MIN else 0, created_ago=50 * MIN)
    back, forth = cluster.look(remembering).changes
    assert words(back) == "Rolled back llama-70b: r42 -> r41"
    assert back.precision is Precision.MINUTE
    assert 18 < ago(back) < 23
    assert words(forth) == "Deployed llama-70b: r41 -> r42"


def test_new_pods_of_the_same_image_are_told_as_such(remembering: Start) -> None:
    cluster = Cluster()
    old = cluster.replicaset("llama-70b", "r41", lambda t: 3 if t > 30 * MIN else 0)
    new = cluster.replicaset("llama-70b", "r42", 3, created_ago=30 * MIN)
    for owner, since, until in ((old, PAST, 30 * MIN), (new, 30 * MIN, 0)):
        cluster.pod("ReplicaSet", owner, f"{owner}-a", "registry.example/llama:1.4.2", since, until)
    (change,) = cluster.look(remembering).changes
    assert words(change) == "Deployed llama-70b: r41 -> r42 (same image)"


def test_a_new_image_of_a_statefulset_is_a_roll_out(remembering: Start) -> None:
    cluster = Cluster()
    for pod in ("llama-0", "llama-1"):
        cluster.pod("StatefulSet", "llama", pod, "vllm/vllm-openai:v0.11.0", until=35 * MIN, model="llama-70b")
        cluster.pod("StatefulSet", "llama", pod, "vllm/vllm-openai:v0.11.2", since=34 * MIN, model="llama-70b")
    (change,) = cluster.look(remembering).changes
    assert words(change) == "Deployed llama-70b: vllm-openai:v0.11.0 -> v0.11.2"
    assert 32 < ago(change) < 36


def test_a_moved_tag_is_told_by_its_digest(remembering: Start) -> None:
    cluster = Cluster()
    for n, (since, until) in enumerate(((PAST, 35 * MIN), (34 * MIN, 0.0))):
        labels = {"namespace": "inference", "pod": "llama-0"}
        owned = {**labels, "owner_kind": "StatefulSet", "owner_name": "llama"}
        image_id = f"docker.io/llama@sha256:{str(n) * 64}"
        runs = {**labels, "container": "server", "image": "llama:latest", "image_id": image_id}
        cluster.past.during("kube_pod_container_info", runs, 1, since, until)
        cluster.past.during("kube_pod_owner", owned, 1, since, until)
    (change,) = cluster.look(remembering, "").changes
    assert words(change) == "Deployed llama: llama:latest (000000000000) -> latest (111111111111)"


def test_a_revision_of_kserve_follows_its_predecessor(remembering: Start) -> None:
    cluster = Cluster()
    old = cluster.replicaset("chat-predictor-00002-deployment", "abc", lambda t: 1 if t > 15 * MIN else 0)
    new = cluster.replicaset("chat-predictor-00003-deployment", "def", 1, created_ago=20 * MIN)
    cluster.pod("ReplicaSet", old, "a", "registry.example/chat:7", until=15 * MIN, model="llama-70b")
    cluster.pod("ReplicaSet", new, "b", "registry.example/chat:8", since=20 * MIN, model="llama-70b")
    (change,) = cluster.look(remembering).changes
    assert words(change) == "Deployed llama-70b: chat:7 -> 8"
    assert change.workload == "inference/chat-predictor"


def test_of_one_model_what_stands_beside_it_and_below_is_shown_and_nothing_else(remembering: Start) -> None:
    cluster = Cluster()
    deployed(cluster)
    cluster.replicaset("gateway", "g1", lambda t: 2 if t > 30 * MIN else 0)
    cluster.replicaset("gateway", "g2", 2, created_ago=30 * MIN)
    cluster.pod("ReplicaSet", cluster.replicaset("mistral", "m1", 1), "m1", "mistral:1", model="mistral-small")
    cluster.replicaset("mistral", "m2", 1, created_ago=20 * MIN)
    elsewhere = Cluster(cluster.past, "shop")
    elsewhere.replicaset("cart", "c1", lambda t: 2 if t > 10 * MIN else 0)
    elsewhere.replicaset("cart", "c2", 2, created_ago=10 * MIN)
    below = Cluster(cluster.past, "gpu-operator")
    for since, until, tag in ((PAST, 50 * MIN, "4.5"), (49 * MIN, 0.0, "4.6")):
        below.pod("DaemonSet", "nvidia-dcgm-exporter", f"e-{tag}", f"nvcr.io/dcgm-exporter:{tag}", since, until)
    found = cluster.look(remembering).changes
    assert [(one.kind, one.workload) for one in found] == [
        (ChangeKind.DEPLOY, "inference/gateway"),
        (ChangeKind.DEPLOY, "inference/llama-70b"),
        (ChangeKind.INFRA, "gpu-operator/nvidia-dcgm-exporter"),
    ]


def test_what_happened_before_the_window_is_not_asked_about(remembering: Start) -> None:
    cluster = Cluster()
    deployed(cluster, when=130 * MIN)
    assert cluster.look(remembering).changes == ()


def test_a_short_memory_invents_no_roll_out(remembering: Start) -> None:
    """kube-state-metrics came up half an hour ago, in the middle of a slow one: what it sees first was there before."""
    cluster = Cluster()
    for revision in ("r41", "r42"):
        labels = {"namespace": "inference", "replicaset": f"llama-70b-{revision}"}
        owner = {**labels, "owner_kind": "Deployment", "owner_name": "llama-70b"}
        cluster.past.appearing("kube_replicaset_created", labels, cluster.began - 9 * HOUR, 30 * MIN)
        cluster.past.appearing("kube_replicaset_owner", owner, 1, 30 * MIN)
        cluster.past.appearing("kube_replicaset_spec_replicas", labels, 3, 30 * MIN)
    assert cluster.look(remembering, "").changes == ()


def test_a_prometheus_that_is_away_is_said_and_nothing_raised() -> None:
    telemetry = Telemetry(f"http://127.0.0.1:{free_port()}", settings=Settings())
    found = find(telemetry, "llama-70b", datetime.now(UTC), timedelta(hours=2))
    assert found.changes == ()
    assert "cannot be reached" in found.missing
