"""A real Kubernetes on the loopback: control plane and nodes without containers, from what build.sh builds."""

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.error import HTTPError

from tests.servers import free_ports, program, running

ADMIN, BOT, GUEST = "admin-0f3a", "bot-5c1e", "guest-9d7b"
"""Tokens, good for this server alone."""
NODES = ("gpu-1", "gpu-2")
SETTLES_WITHIN_S = 120.0
_BUILD = Path(__file__).with_name("build.sh")


@dataclass(frozen=True)
class Plane:
    """Where the API is; `ca` is the file with its certificate."""

    url: str
    ca: Path

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> tuple[int, Any]:
        """One request as an administrator: status, and the JSON of the answer."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.tls()) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def must(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """The same, where it has to work."""
        status, answer = self.call(method, path, body, kind=kind)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def settle(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until controllers and nodes have done their work."""
        limit, pause = monotonic() + SETTLES_WITHIN_S, Event()
        while not holds():
            assert monotonic() < limit, f"never happened: {what}"
            pause.wait(0.2)


@contextmanager
def plane(folder: Path) -> Iterator[Plane]:
    """Builds the programs where they are not there yet, starts them, and ends each by its own id."""
    etcd = program("etcd", "etcd-server")
    built = subprocess.run([str(_BUILD)], stdout=subprocess.PIPE, text=True, check=True)
    programs = Path(built.stdout.strip().splitlines()[-1])
    store, peers, api = free_ports(3)
    _tokens(folder)
    with ExitStack() as stack:

        def start(name: str, command: list[str], port: int) -> None:
            stack.enter_context(running([str(part) for part in command], port, folder / f"{name}.log"))

        at = f"http://127.0.0.1:{store}"
        start("etcd", [etcd, "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync", "--listen-client-urls", at,
                       "--advertise-client-urls", at, "--listen-peer-urls", f"http://127.0.0.1:{peers}"],
              store)  # fmt: skip
        url = f"https://127.0.0.1:{api}"
        start("api", [f"{programs}/kube-apiserver", "--etcd-servers", at, "--secure-port", f"{api}", "--bind-address",
                      "127.0.0.1", "--cert-dir", f"{folder}/certs", "--token-auth-file", f"{folder}/tokens.csv",
                      "--authorization-mode", "RBAC", "--service-account-issuer", url, "--service-account-key-file",
                      f"{folder}/sa.key", "--service-account-signing-key-file", f"{folder}/sa.key",
                      "--disable-admission-plugins", "ServiceAccount", "--service-cluster-ip-range", "10.0.0.0/24",
                      "--enable-priority-and-fairness=false", "--allow-privileged"], api)  # fmt: skip
        cluster = Plane(url, folder / "certs" / "apiserver.crt")
        cluster.settle(lambda: cluster.call("GET", "/api/v1/namespaces/default")[0] == 200, "the API answers")
        config = _kubeconfig(folder, cluster)
        managing, scheduling = free_ports(2)
        common = ["--kubeconfig", config, "--leader-elect=false", "--port=0", "--bind-address=127.0.0.1"]
        start("manager", [f"{programs}/kube-controller-manager", *common, f"--secure-port={managing}",
                          f"--cert-dir={folder}/certs-manager", "--horizontal-pod-autoscaler-sync-period=1s",
                          "--controllers=*,-ttl,-bootstrapsigner,-tokencleaner"], managing)  # fmt: skip
        start("scheduler", [f"{programs}/kube-scheduler", *common, f"--secure-port={scheduling}",
                            f"--cert-dir={folder}/certs-scheduler"], scheduling)  # fmt: skip
        for name in NODES:
            ports = free_ports(2)
            start(name, [f"{programs}/kubemark", "--morph=kubelet", f"--name={name}", f"--kubeconfig={config}",
                         f"--kubelet-port={ports[0]}", f"--kubelet-read-only-port={ports[1]}"], ports[0])  # fmt: skip
        cluster.settle(lambda: _ready(cluster) == len(NODES), "the nodes are ready")
        yield cluster


def _ready(cluster: Plane) -> int:
    nodes = cluster.must("GET", "/api/v1/nodes")["items"]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"]) for n in nodes)


def _tokens(folder: Path) -> None:
    (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{BOT},fixfirst,2\n{GUEST},guest,3\n')
    openssl = program("openssl", "openssl")
    subprocess.run([openssl, "genrsa", "-out", f"{folder}/sa.key", "2048"], check=True, capture_output=True)


def _kubeconfig(folder: Path, cluster: Plane) -> str:
    """For the other programs, which are administrators here."""
    where = {"server": cluster.url, "certificate-authority": str(cluster.ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "admin",
        "clusters": [{"name": "c", "cluster": where}],
        "users": [{"name": "admin", "user": {"token": ADMIN}}],
        "contexts": [{"name": "admin", "context": {"cluster": "c", "user": "admin"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)
