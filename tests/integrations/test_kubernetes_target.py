"""The tables `[kubernetes.*]`, and how a cluster is reached or is not."""

import json
import ssl
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube.config.kubeconfig import KubeConfig

from bot.contracts import Permanent, Plan, Transient
from bot.incident.run import Reading, Risk, Sample
from bot.integrations.kubernetes import Cordon, Get, Target, target
from tests.servers import drip, free_port, program, raw_server

SECRETS = {"PROD_TOKEN": "canary-7f3a"}
GOOD: dict[str, Any] = {
    "server": "https://10.0.0.1:6443",
    "ca": "/etc/fixfirst/prod-ca.crt",
    "token_env": "PROD_TOKEN",
    "namespaces": ["inference"],
}
LOOK = {"target": "prod", "resource": "node", "name": "gpu-1", "path": "spec.unschedulable", "expect": "== true"}


def read(changes: dict[str, Any]) -> tuple[Target | None, list[str]]:
    table = {key: value for key, value in (GOOD | changes).items() if value != "absent"}
    return Target.from_toml("prod", table, SECRETS.get)


def test_the_example_in_the_documentation_is_a_good_target() -> None:
    example = (target.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    found, faults = Target.from_toml("prod", tomllib.loads(example)["kubernetes"]["prod"], SECRETS.get)
    assert faults == []
    assert found is not None
    assert (found.where, found.max_load, found.timeout) == ("prod (10.0.0.1:6443)", 0.85, 5.0)
    assert found.load_of("a", "b") == 'sum(rate(busy_seconds_total{namespace="a",app="b"}[5m]))'
    assert "canary" not in repr(found)


ONE_WAY = "server: say how the cluster is reached by exactly one of kubeconfig, server, in_cluster"
INSTEAD = {"server": "absent", "ca": "absent", "token_env": "absent"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"in_cluster": True},
            ONE_WAY,
        ),
        (INSTEAD, ONE_WAY),
        ({"token_env": "absent"}, "token_env: is missing; name the environment variable"),
        ({"ca": "prod.crt"}, "ca: is 'prod.crt', but must be a whole path such as /etc/fixfirst/cluster"),
        ({"context": "prod"}, "context: belongs to kubeconfig"),
        ({"namespaces": ["Inference"]}, "namespaces: holds 'Inference', which is no name of a namespace"),
        ({"load": "x{n='{{ pod }}'}"}, "load: may hold only the placeholders {{ namespace }} and {{ deployment }}"),
        ({"max_load": 2}, "max_load: is 2, but must be from 0.1 to 1"),
        ({"server": "https://me:pw@k"}, "server: must be an address alone; use token_env"),
        (INSTEAD | {"kubeconfig": "/k"}, "context: is missing; name it"),
        (INSTEAD | {"in_cluster": True, "ca": "/ca"}, "ca: belongs to server"),
    ],
)
def test_each_fault_says_what_to_do(changes: dict[str, Any], fault: str) -> None:
    found, faults = read(changes)
    assert found is None
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def look(url: str, **changes: Any) -> Reading:
    found, faults = read({"server": url, "ca": "absent", "timeout": "1s"} | changes)
    assert faults == []
    assert found is not None
    return Get({"prod": found}).check(LOOK)


def test_a_server_that_drips_is_over_by_one_moment() -> None:
    with raw_server(drip) as port, pytest.raises(Transient, match="no answer in 1 s") as slow:
        look(f"http://127.0.0.1:{port}")
    assert not slow.value.ambiguous


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(Transient, match=r"prod \(127.0.0.1:\d+\) cannot be reached: Connection refused"):
        look(f"http://127.0.0.1:{free_port()}")


def said(code: int, message: str = "no") -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": code}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "body", "failure", "words"),
    [
        (401, "application/json", said(401), Permanent, "does not accept the bot's token"),
        (
            403,
            "application/json",
            said(403, "nodes is forbidden"),
            Permanent,
            "not let the bot do this: nodes is forbidden",
        ),
        (429, "application/json", said(429), Transient, "answered 429: no"),
        (500, "application/json", said(500), Transient, "answered 500: no"),
        (503, "text/plain", b"upstream is down", Transient, "answered 503"),
        (302, "text/html", b"", Permanent, "answered 302; is that address really a Kubernetes API?"),
        (200, "text/html", b"<html>Sign in</html>", Permanent, "does not answer like Kubernetes"),
        (200, "application/json", b"[]", Permanent, "does not answer like Kubernetes"),
        (418, "", b"", Permanent, "answered 418"),
    ],
)
def test_what_a_server_refuses_is_a_sentence(
    status: int, kind: str, body: bytes, failure: type[Exception], words: str
) -> None:
    with answering(status, kind, body) as port, pytest.raises(failure) as refused:
        look(f"http://127.0.0.1:{port}")
    assert words in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_write_whose_answer_is_lost_may_have_happened() -> None:
    node = {"kind": "Node", "metadata": {"name": "gpu-1", "uid": "u", "resourceVersion": "1"}, "spec": {}}
    with answering(200, "application/json", json.dumps(node).encode(), hangs_up_on="PATCH") as port:
        found, _ = read({"server": f"http://127.0.0.1:{port}", "ca": "absent", "timeout": "1s"})
        assert found is not None
        act = Cordon({"prod": found})
        address = {"target": "prod", "address": found.address, "node": "gpu-1", "uid": "u", "after": ""}
        plan = Plan((), address, {"cordoned": False}, Risk.REVERSIBLE)
        with pytest.raises(Transient) as lost:
            act.apply(plan, "run:cordon:1")
    assert lost.value.ambiguous


@pytest.mark.parametrize(
    ("status", "body", "done"),
    [(200, b"<html>Sign in</html>", True), (200, b"[]", True), (302, b"", True), (403, said(403), False)],
)
def test_a_write_that_is_answered_strangely_may_have_happened_and_a_refused_one_has_not(
    status: int, body: bytes, done: bool
) -> None:
    node = {"kind": "Node", "metadata": {"name": "gpu-1", "uid": "u", "resourceVersion": "1"}, "spec": {}}
    with answering(200, "application/json", json.dumps(node).encode(), patches=(status, body)) as port:
        found, _ = read({"server": f"http://127.0.0.1:{port}", "ca": "absent", "timeout": "1s"})
        assert found is not None
        address = {"target": "prod", "address": found.address, "node": "gpu-1", "uid": "u", "after": ""}
        with pytest.raises(Permanent) as strange:
            Cordon({"prod": found}).apply(Plan((), address, {"cordoned": False}, Risk.REVERSIBLE), "run:cordon:1")
    assert strange.value.ambiguous is done


def test_the_clusters_own_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    key, certificate = certified(tmp_path)
    node = json.dumps({"kind": "Node", "spec": {"unschedulable": True}}).encode()
    with answering(200, "application/json", node, tls=(certificate, key)) as port:
        url = f"https://127.0.0.1:{port}"
        assert look(url, ca=str(certificate)).sample is Sample.HOLDS
        with pytest.raises(Permanent, match="its certificate is not trusted"):
            look(url)


def test_a_kubeconfig_is_read_by_its_named_context_and_runs_no_program(tmp_path: Path) -> None:
    key, certificate = certified(tmp_path)
    node = json.dumps({"kind": "Node", "spec": {"unschedulable": True}}).encode()
    with answering(200, "application/json", node, tls=(certificate, key)) as port:
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": "ca.crt"}
        mark = tmp_path / "ran"
        program = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "touch", "args": [str(mark)]}
        users = [{"name": "bot", "user": {"token": "canary-7f3a"}}, {"name": "sso", "user": {"exec": program}}]
        file = tmp_path / "kubeconfig"
        (tmp_path / "ca.crt").write_bytes(certificate.read_bytes())
        contexts = [{"name": user["name"], "context": {"cluster": "c", "user": user["name"]}} for user in users]
        config = {"clusters": [{"name": "c", "cluster": cluster}], "users": users, "contexts": contexts}
        file.write_text(yaml.safe_dump(config | {"current-context": "sso"}))
        by_file = {"server": "absent", "token_env": "absent", "kubeconfig": str(file)}
        assert look("absent", **by_file, context="bot").sample is Sample.HOLDS
        with pytest.raises(Permanent, match="the context names no user with a token or certificate"):
            look("absent", **by_file, context="sso")
        assert not mark.exists()
        with pytest.raises(Permanent, match="Context 'none' not found"):
            look("absent", **by_file, context="none")


def test_outside_of_a_cluster_there_is_no_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The machine of the tests may itself be a pod, with an account of its own.
    real = KubeConfig.from_service_account
    monkeypatch.setattr(KubeConfig, "from_service_account", lambda: real(tmp_path))
    with pytest.raises(Permanent, match=f"prod is not set up well: .*{tmp_path}/token"):
        look("absent", token_env="absent", in_cluster=True)


def certified(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for the loopback, which is its own authority."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=k"]
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([program("openssl", "openssl"), "req", *made, *where], check=True, capture_output=True)
    return key, certificate


@contextmanager
def answering(
    status: int,
    kind: str,
    body: bytes,
    *,
    hangs_up_on: str = "",
    tls: tuple[Path, Path] | None = None,
    patches: tuple[int, bytes] | None = None,
) -> Iterator[int]:
    """Something on the loopback that always says the same, but to what changes something (`patches`)."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == hangs_up_on:
                self.close_connection = True
                return
            code, said = patches if patches and self.command == "PATCH" else (status, body)
            self.send_response(code)
            if kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PATCH = _any

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_client_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, bot.app; sys.exit('lightkube' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
