"""What keeps the flags that `fixfirst.toml` names for `flag.set`, and every fault in its tables.

[flags.gateway]
file = "/etc/flagd/gateway.json"           # as flagd reads it: https://flagd.dev/reference/flag-definitions/
flags = ["serve-from-cache"]               # only these may be switched

[flags.shop]
kind = "unleash"
url = "https://unleash.internal"           # the path before /api/admin too, where there is one
project = "default"
environment = "production"
token_env = "UNLEASH_TOKEN"                # the name of an environment variable
flags = ["serve-from-cache"]
timeout = "5s"
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bot.contracts import Reversible
from bot.integrations.flags.store import Store
from bot.settings import Secret, Table, call_timeout

FILE, UNLEASH = "file", "unleash"
KINDS: Final = (FILE, UNLEASH)


@dataclass(frozen=True, slots=True)
class Target(Reversible, ABC):
    """One table `[flags.NAME]`."""

    name: str
    flags: tuple[str, ...]

    @property
    @abstractmethod
    def place(self) -> Mapping[str, str]:
        """Where the flags are, as a plan pins it."""

    @property
    @abstractmethod
    def where(self) -> str:
        """How people are told where the flags are."""

    @abstractmethod
    def store(self) -> Store:
        """The flags, for one preview, act, look or undo."""

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A flag that is written out must be one of ours; one that a value fills in is looked at in the preview."""
        flag = str(args.get("flag", ""))
        if "{" not in flag and flag not in self.flags:
            yield "flag", f"'{self.name}' does not let '{flag}' be switched; it lets {', '.join(self.flags)}"

    @staticmethod
    def from_toml(
        name: str, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Target | None, list[str]]":
        """The target, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        faults: list[str] = []
        top = Table("", table, faults)
        kind = top.choice("kind", FILE, KINDS)
        flags = top.texts("flags")
        if not flags:
            top.fault("flags", 'is missing; name what may be switched, such as ["serve-from-cache"]')
        target = _unleash(name, flags, top, secret) if kind == UNLEASH else _file(name, flags, top)
        top.done()
        return (None if faults else target), faults


@dataclass(frozen=True, slots=True)
class File(Target):
    """A file that flagd reads."""

    file: Path

    @property
    def place(self) -> Mapping[str, str]:
        return {"file": str(self.file)}

    @property
    def where(self) -> str:
        return str(self.file)

    def store(self) -> Store:
        from bot.integrations.flags.file import FlagFile

        return FlagFile(self.file)


@dataclass(frozen=True, slots=True)
class Unleash(Target):
    """An Unleash. `timeout` is in seconds and covers a whole preview, act, look or undo."""

    url: str
    project: str
    environment: str
    token: Secret = field(default_factory=lambda: Secret(""))
    timeout: float = 5.0

    @property
    def place(self) -> Mapping[str, str]:
        return {"url": self.url, "project": self.project, "environment": self.environment}

    @property
    def where(self) -> str:
        return f"{self.environment} of {self.project} at {self.name} ({urlsplit(self.url).netloc})"

    def store(self) -> Store:
        from bot.integrations.flags.unleash import UnleashStore

        return UnleashStore(self)


def _file(name: str, flags: tuple[str, ...], top: Table) -> File:
    """A file takes no secret."""
    file = top.text("file", required=True)
    if file and not Path(file).is_absolute():
        top.fault("file", "must be a whole path, from / on")
    return File(name, flags, Path(file))


def _unleash(name: str, flags: tuple[str, ...], top: Table, secret: Callable[[str], str | None]) -> Unleash:
    url = top.url("url", required=True)
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment:
        top.fault("url", "must hold neither a password nor a query; use token_env")
    token = top.secret("token_env", secret)
    if "token_env" not in top.values:
        top.fault("token_env", "is missing; name an environment variable with a token for the admin API")
    return Unleash(
        name=name,
        flags=flags,
        url=url,
        project=top.text("project", "default"),
        environment=top.text("environment", required=True),
        token=token,
        timeout=call_timeout(top),
    )
