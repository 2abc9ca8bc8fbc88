"""What keeps flags, as `flag.set` sees it: one flag at a time, by the names of its variants."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as it is: the variant that holds, and those it has. `asleep` says why none holds, where none does."""

    now: str
    variants: tuple[str, ...]
    asleep: str = ""
    warnings: tuple[str, ...] = ()


class Store(Protocol):
    """Where flags are kept, during one preview, act, look or undo. Raises Transient, Permanent."""

    def look(self, flag: str) -> Flag:
        """The flag as it is now."""

    def switch(self, flag: str, variant: str) -> None:
        """Gives the flag another variant, and makes sure that it holds."""
