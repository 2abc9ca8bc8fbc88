"""The servers that `fixfirst.toml` names for `redis.set`, and every fault in their tables.

[redis.answer-cache]
url = "rediss://cache.internal:6380/0"
user = "fixfirst"
password_env = "CACHE_PASSWORD"            # the name of an environment variable
prefixes = ["fallback:"]                   # only keys that begin so may be set
timeout = "5s"
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bot.contracts import Reversible
from bot.settings import Secret, Table, call_timeout, duration, shown


@dataclass(frozen=True, slots=True)
class Target(Reversible):
    """One table `[redis.NAME]`. `timeout` is in seconds and covers a whole preview, act, look or undo."""

    name: str
    url: str
    prefixes: tuple[str, ...]
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    timeout: float = 5.0

    @property
    def place(self) -> Mapping[str, str]:
        return {"url": self.url}

    @property
    def where(self) -> str:
        """How people are told which server it is."""
        return f"{self.name} ({urlsplit(self.url).netloc})"

    def takes(self, key: str) -> bool:
        """Whether this key may be set: it begins with one of the prefixes, and goes on."""
        return any(key.startswith(prefix) and key != prefix for prefix in self.prefixes)

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A value may fill the rest of a key, never its prefix."""
        fixed, brace, _ = str(args.get("key", "")).partition("{")
        if not any(fixed.startswith(prefix) and (brace or fixed != prefix) for prefix in self.prefixes):
            yield "key", f"'{self.name}' takes only keys that begin with {' or '.join(self.prefixes)}"

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Target | None, list[str]]":
        """The target, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        faults: list[str] = []
        top = Table("", table, faults)
        url = top.text("url", required=True)
        if url and (wrong := _wrong_url(url)):
            top.fault("url", wrong)
        prefixes = top.texts("prefixes")
        if not prefixes:
            top.fault("prefixes", 'is missing; name what may be set, such as ["fallback:"]')
        for prefix in prefixes:
            if not prefix.strip() or not prefix.isprintable() or "{" in prefix:
                top.fault("prefixes", f"holds {shown(prefix)}, which is no beginning of a key")
        target = cls(
            name=name,
            url=url,
            prefixes=prefixes,
            user=top.text("user"),
            password=top.secret("password_env", secret, blanks=True),
            timeout=call_timeout(top),
        )
        top.done()
        return (None if faults else target), faults


def ttl_ms(args: Mapping[str, Any]) -> int | None:
    """The step's `ttl` in milliseconds; None where it states none."""
    span = duration(str(args["ttl"])) if "ttl" in args else None
    return int(span.total_seconds() * 1000) if span else None


def _wrong_url(url: str) -> str:
    """Why this cannot be a server's address; empty when it can."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is not a URL; write redis://host:6379/0"
    if parts.username is not None or parts.password is not None:
        return "must not hold a password; use user and password_env"
    if parts.scheme not in ("redis", "rediss") or not has_host:
        return "must begin with redis:// or rediss:// and a host"
    number = parts.path.removeprefix("/")
    if parts.query or parts.fragment or not (number == "" or (number.isascii() and number.isdecimal())):
        return "may end only in the number of a database, as in redis://host:6379/0"
    return ""
