"""The last lines of a container that ended, as the cluster keeps them: of the one before the present one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bot.contracts import Container, Permanent
from bot.integrations.kubernetes.target import Target
from bot.integrations.kubernetes.wire import connected

LINES: Final = 50
"""Of the previous container: a traceback, and what came before it."""


@dataclass(frozen=True, slots=True)
class PreviousLog:
    """`bot.contracts.Tail` over the clusters that know the namespace."""

    targets: tuple[Target, ...]

    @classmethod
    def over(cls, targets: Iterable[Target], within: float) -> "PreviousLog":
        """Each look takes `within` seconds at most, however long the steps of a target may take."""
        return cls(tuple(replace(target, timeout=min(target.timeout, within)) for target in targets))

    def tail(self, container: Container, now: datetime) -> Sequence[str]:  # noqa: ARG002
        """Raises Transient, and Permanent where no cluster is configured for the namespace or it keeps no such log."""
        target = next((one for one in self.targets if container.namespace in one.namespaces), None)
        if target is None:
            raise Permanent(f"no cluster is configured for the namespace {container.namespace}")
        with connected(target) as session:
            return session.log(container.pod, container.namespace, container.name, LINES)
