"""The clusters that `fixfirst.toml` names for steps of Kubernetes, and every fault in their tables.

[kubernetes.prod]
server = "https://10.0.0.1:6443"
ca = "/etc/fixfirst/prod-ca.crt"
token_env = "PROD_TOKEN"                   # the name of an environment variable
namespaces = ["inference"]                 # steps touch no other
load = 'sum(rate(busy_seconds_total{namespace="{{ namespace }}",app="{{ deployment }}"}[5m]))'
max_load = 0.85
timeout = "5s"

Instead of server, ca and token_env: kubeconfig and context, or in_cluster = true.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bot.incident.run import Risk
from bot.settings import Secret, Table, call_timeout, shown

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names"""
_PLACEHOLDER: Final = re.compile(r"\{\{ (namespace|deployment) \}\}")
_WAYS: Final = ("kubeconfig", "server", "in_cluster")


@dataclass(frozen=True, slots=True)
class Target:
    """One table `[kubernetes.NAME]`. `timeout` is in seconds and covers a whole preview, act, look or undo.

    `load` is a PromQL query for the used share, 0 to 1, of what a deployment's present replicas can take; empty: none.
    """

    name: str
    server: str = ""
    ca: str = ""
    token: Secret = field(default_factory=lambda: Secret(""))
    kubeconfig: str = ""
    context: str = ""
    in_cluster: bool = False
    namespaces: tuple[str, ...] = ()
    load: str = ""
    max_load: float = 0.85
    timeout: float = 5.0

    @property
    def address(self) -> str:
        """What tells this cluster from another that came to bear its name."""
        if self.in_cluster:
            return "in-cluster"
        return self.server or f"{self.kubeconfig}#{self.context}"

    @property
    def where(self) -> str:
        """How people are told which cluster it is."""
        place = "its own cluster" if self.in_cluster else self.context or urlsplit(self.server).netloc
        return f"{self.name} ({place})"

    @property
    def risk(self) -> Risk | None:
        """What is done to a cluster decides, not which cluster it is."""
        return None

    @property
    def undoable(self) -> bool:
        """Where there is no way back, the kind of step says so."""
        return True

    @property
    def needs(self) -> frozenset[str]:
        """No kind takes further keys."""
        return frozenset()

    def load_of(self, namespace: str, deployment: str) -> str:
        """The query of `load` for one deployment. Both are names, which need no escaping in PromQL."""
        values = {"namespace": namespace, "deployment": deployment}
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self.load)

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A namespace that is written out must be an allowed one; one that a value fills in is looked at later."""
        namespace = args.get("namespace")
        if isinstance(namespace, str) and "{" not in namespace and namespace not in self.namespaces:
            known = ", ".join(self.namespaces) or "none"
            yield "namespace", f"'{self.name}' takes steps only in these namespaces: {known}"

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Target | None, list[str]]":
        """The target, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        faults: list[str] = []
        top = Table("", table, faults)
        target = cls(
            name=name,
            server=top.url("server").rstrip("/"),
            ca=_path(top, "ca"),
            token=top.secret("token_env", secret),
            kubeconfig=_path(top, "kubeconfig"),
            context=top.text("context"),
            in_cluster=top.flag("in_cluster", default=False),
            namespaces=top.texts("namespaces"),
            load=top.text("load"),
            max_load=top.number("max_load", 0.85, low=0.1, high=1),
            timeout=call_timeout(top),
        )
        _one_way(top, target)
        for namespace in target.namespaces:
            if not NAME.fullmatch(namespace):
                top.fault("namespaces", f"holds {shown(namespace)}, which is no name of a namespace")
        if "{{" in _PLACEHOLDER.sub("", target.load):
            top.fault("load", "may hold only the placeholders {{ namespace }} and {{ deployment }}")
        top.done()
        return (None if faults else target), faults


def _one_way(top: Table, target: Target) -> None:
    given = [key for key in _WAYS if top.values.get(key)]
    if len(given) != 1:
        top.fault("server", f"say how the cluster is reached by exactly one of {', '.join(_WAYS)}")
    parts = urlsplit(target.server)
    if parts.username is not None or parts.query or parts.fragment:
        top.fault("server", "must be an address alone; use token_env")
    if target.server and "token_env" not in top.values:
        top.fault("token_env", "is missing; name the environment variable that holds the service account's token")
    for key in ("token_env", "ca"):
        if key in top.values and not target.server:
            top.fault(key, "belongs to server")
    if target.kubeconfig and not target.context:
        top.fault("context", "is missing; name it, since whoever switches the file's own would turn the bot elsewhere")
    if target.context and not target.kubeconfig:
        top.fault("context", "belongs to kubeconfig")


def _path(top: Table, key: str) -> str:
    value = top.text(key)
    if value and not Path(value).is_absolute():
        top.fault(key, f"is {shown(value)}, but must be a whole path such as /etc/fixfirst/cluster")
    return value
