"""Whether a deployment's pods are ready, asked of the cluster: a second opinion on what kube-state-metrics says."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.contracts import Permanent
from bot.integrations.kubernetes import facts, wire
from bot.integrations.kubernetes.wire import Missing, connected


def pods_ready(targets: Mapping[str, Any]) -> Callable[[str, str, str], tuple[int, int]]:
    """A function from target, namespace and deployment to pods ready and wanted. It raises Transient, Permanent."""

    def ask(target: str, namespace: str, name: str) -> tuple[int, int]:
        if target not in targets:
            raise Permanent(f"no cluster '{target}' is configured; known: {', '.join(sorted(targets)) or 'none'}")
        with connected(targets[target]) as session:
            try:
                raw = session.get(wire.DEPLOYMENTS, name, namespace)
            except Missing as missing:
                raise Permanent(str(missing)) from missing
            (found,) = wire.read([raw], facts.deployment, targets[target])
        return found.ready, found.replicas

    return ask
