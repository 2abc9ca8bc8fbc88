"""A cluster for each test: a real one with FIXFIRST_KUBERNETES=real, recorded anew with =record, else as recorded."""

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.integrations.kubernetes import Target
from tests.kubernetes.plane import ADMIN, BOT, GUEST, NODES, Plane, plane
from tests.kubernetes.tape import Tape, served

HOW = os.environ.get("FIXFIRST_KUBERNETES", "")
RECORDED = Path(__file__).parent / "recorded"
DOCS = Path(__file__).parents[2] / "docs"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"


@dataclass
class Cluster:
    """What a test does with the world: preparations are made on a real one only, what is asked is on the tape."""

    tape: Tape
    url: str
    namespace: str

    @property
    def real(self) -> Plane | None:
        return self.tape.plane

    def target(self, *, guest: bool = False, **changes: Any) -> Target:
        """As `fixfirst.toml` would have it."""
        table = {"server": self.url, "token_env": "TOKEN", "namespaces": [self.namespace], "timeout": "10s"} | changes
        target, faults = Target.from_toml("lab", table, {"TOKEN": GUEST if guest else BOT}.get)
        assert faults == []
        assert target is not None
        return target

    def read(self, path: str) -> Any:
        """What an administrator sees."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {ADMIN}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def deployment(self, name: str = "chat") -> Any:
        return self.read(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}")

    def pods(self) -> list[Any]:
        """Those that are not ending."""
        pods = self.read(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def make(self, path: str, body: Any) -> None:
        """Adds an object to a group's collection in this test's namespace."""
        if self.real:
            self.real.must("POST", path.format(ns=self.namespace), body)

    def change(self, path: str, body: Any, *, kind: str = MERGE) -> None:
        if self.real:
            self.real.must("PATCH", path.format(ns=self.namespace), body, kind=kind)

    def has_namespace(self, name: str) -> None:
        if self.real and self.real.call("GET", f"/api/v1/namespaces/{name}")[0] == 404:
            self.real.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    def knows(self, kind: str, plural: str) -> None:
        """The kind of object that something of Argo brings along, without what would work on it."""
        if self.real and self.real.call("GET", f"{CRDS}/{plural}.argoproj.io")[0] == 404:
            real = self.real
            real.must("POST", CRDS, custom(kind, plural))
            path = f"/apis/argoproj.io/v1alpha1/namespaces/default/{plural}"
            real.settle(lambda: real.call("GET", path)[0] == 200, "the kind is served")

    def remove(self, path: str) -> None:
        if self.real:
            self.real.must("DELETE", path.format(ns=self.namespace))

    def deploy(self, image: str, replicas: int = 4, **template: Any) -> None:
        """The deployment chat, as it is to be from now on, and when it is so."""
        if not self.real:
            return
        body = deployment(image, replicas, **template)
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        if self.real.call("GET", f"{path}/chat")[0] == 404:
            self.real.must("POST", path, body)
        else:
            self.real.must("PATCH", f"{path}/chat", body, kind=MERGE)
        self.settled()

    def settled(self, name: str = "chat") -> None:
        """Once every pod is new and ready."""
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
        self.until(path, _rolled, "the rollout has ended")

    def until(self, path: str, holds: Callable[[Any], bool], what: str) -> None:
        """Waits on a real cluster until an object is so."""
        if self.real:
            real, where = self.real, path.format(ns=self.namespace)
            real.settle(lambda: holds(real.must("GET", where)), what)


def deployment(image: str, replicas: int, **template: Any) -> Any:
    """Pods that end at once, so that tests do not wait for them."""
    spec = {"containers": [{"name": "llm", "image": image}], "terminationGracePeriodSeconds": 0} | template
    return {
        "metadata": {"name": "chat"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "chat"}},
            "template": {"metadata": {"labels": {"app": "chat"}}, "spec": spec},
        },
    }


def custom(kind: str, plural: str) -> Any:
    """A kind of which the server looks at nothing but the metadata."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    spec = {"group": "argoproj.io", "scope": "Namespaced", "names": names}
    return {
        "metadata": {"name": f"{plural}.argoproj.io"},
        "spec": spec | {"versions": [version | {"subresources": {"status": {}}}]},
    }


def budget(least: int) -> Any:
    """So many pods of chat must stay."""
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "chat"}}}
    return {"metadata": {"name": "chat"}, "spec": spec}


def _rolled(found: Any) -> bool:
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return bool(status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 4)


@pytest.fixture(scope="session")
def real_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane | None]:
    if not HOW:
        yield None
        return
    with plane(tmp_path_factory.mktemp("plane")) as cluster:
        for role in roles():
            cluster.must("POST", f"/apis/rbac.authorization.k8s.io/v1/{role['kind'].lower()}s", role)
        yield cluster


def roles() -> list[Any]:
    """What the documentation says the bot's account needs, and that it has it here."""
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(kind: ClusterRole\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "fixfirst"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fixfirst"},
        "subjects": [{"kind": "User", "name": "fixfirst"}],
    }
    return [*yaml.safe_load_all(block), binding]


@pytest.fixture
def cluster(real_plane: Plane | None, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")
    namespace = name[:50].strip("-")
    file = RECORDED / f"{name}.json"
    if real_plane is None:
        assert file.exists(), f"{file} is not recorded: FIXFIRST_KUBERNETES=record make test-kubernetes"
        tape = Tape.load(file)
    else:
        tape = Tape(real_plane)
        real_plane.must("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    with served(tape) as url:
        yield Cluster(tape, url, namespace)
    assert not tape.wrong, tape.wrong[0]
    if real_plane is None:
        assert tape.played == len(tape.exchanges), f"never asked: {tape.exchanges[tape.played].asked()}"
        return
    if HOW == "record":
        tape.save(file)
    _tidy(real_plane, namespace)


def _tidy(real: Plane, namespace: str) -> None:
    """No pod of one test is on a node of the next, and no node stays cordoned."""
    real.must("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments")
    real.must("DELETE", f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0")
    for node in NODES:
        real.must("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, kind=MERGE)
    real.settle(lambda: not real.must("GET", "/api/v1/pods")["items"], "the pods are gone")
