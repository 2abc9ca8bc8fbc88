"""The configured targets of one table of `fixfirst.toml`: found by the name that a step gives, and known again."""

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from bot.contracts import Permanent


class Pinned(Protocol):
    """A target whose place a plan keeps."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> Mapping[str, str]:
        """Where it is, by the keys of its table: a plan holds only for as long as this stays as it was."""


Target = TypeVar("Target", bound=Pinned)


class Targets(Generic[Target]):
    """`table` is the table's name."""

    def __init__(self, table: str, targets: Mapping[str, Target]) -> None:
        self._table = table
        self._targets = dict(targets)

    def named(self, name: object) -> Target:
        """The target of this name. Raises Permanent with the names there are."""
        target = self._targets.get(str(name))
        if target is None:
            known = ", ".join(sorted(self._targets)) or "none"
            raise Permanent(f"no target '{name}' is configured under [{self._table}]; known: {known}")
        return target

    def planned(self, request: Mapping[str, Any]) -> Target:
        """The target of a plan's request, made with `pin`. Raises Permanent when it is somewhere else by now."""
        target = self.named(request["target"])
        if any(request.get(key) != value for key, value in target.place.items()):
            raise Permanent(f"the target '{target.name}' has moved since the preview; preview again")
        return target


def pin(target: Pinned) -> dict[str, Any]:
    """What a plan's request keeps of its target."""
    return {"target": target.name, **target.place}
