"""The files of flags that `fixfirst.toml` names for `flag.set`, and every fault in their tables.

[flags.gateway]
file = "/etc/flagd/gateway.json"           # as flagd reads it: https://flagd.dev/reference/flag-definitions/
flags = ["serve-from-cache"]               # only these may be switched
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.contracts import Reversible
from bot.settings import Table


@dataclass(frozen=True, slots=True)
class Target(Reversible):
    """One table `[flags.NAME]`."""

    name: str
    file: Path
    flags: tuple[str, ...]

    @property
    def place(self) -> Mapping[str, str]:
        return {"file": str(self.file)}

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A flag that is written out must be one of ours; one that a value fills in is looked at in the preview."""
        flag = str(args.get("flag", ""))
        if "{" not in flag and flag not in self.flags:
            yield "flag", f"'{self.name}' does not let '{flag}' be switched; it lets {', '.join(self.flags)}"

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], _secret: Callable[[str], str | None]
    ) -> "tuple[Target | None, list[str]]":
        """The target, or every fault as "key: what is wrong; what to do". A file takes no secret."""
        faults: list[str] = []
        top = Table("", table, faults)
        file = top.text("file", required=True)
        if file and not Path(file).is_absolute():
            top.fault("file", "must be a whole path, from / on")
        flags = top.texts("flags")
        if not flags:
            top.fault("flags", 'is missing; name what may be switched, such as ["serve-from-cache"]')
        top.done()
        return (None if faults else cls(name, Path(file), flags)), faults
