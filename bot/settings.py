"""Reads one table of `fixfirst.toml`, and remembers every fault as a sentence that names the key and the fix."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from bot.incident.redact import redact

SecretOf = Callable[[str], str | None]
"""Gives the secret of a name, None when there is none."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_SHOWN: Final = 80
LONGEST_CALL: Final = timedelta(seconds=10)
"""No courier call may last longer."""
_DURATION: Final = re.compile(r"(\d+)([smhd])")
_SECRET_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A secret that does not print itself; `reveal()` at the moment of use."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(…)" if self._value else "Secret()"


def duration(text: str) -> timedelta | None:
    """`90s`, `5m`, `1h30m`, `7d`; None when it is not one."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        return None
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def shown(value: Any) -> str:
    """A faulty value as a fault repeats it: in brief, and without what looks like a secret."""
    return redact(repr(value))[:LONGEST_SHOWN]


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(slots=True)
class Table:
    """One table being read. Ask for every key it may have, then call `done`, which reports the keys nobody asked for.

    A reader gives the value, or the default after noting a fault, so that all faults come out at once.
    """

    name: str
    values: Mapping[str, Any]
    faults: list[str]
    _asked: set[str] = field(default_factory=set)

    def fault(self, key: str, what: str) -> None:
        """Notes one fault: the key, what is wrong, what to do."""
        self.faults.append(f"{self.name}.{key}: {what}" if self.name else f"{key}: {what}")

    def _get(self, key: str) -> Any:
        self._asked.add(key)
        return self.values.get(key)

    def _typed(self, key: str, kind: type | tuple[type, ...], words: str) -> Any:
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fault(key, f"is {shown(value)}, but must be {words}")
            return None
        return value

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        """A string."""
        value = self._typed(key, str, "a text in quotes")
        if value is None:
            if required and key not in self.values:
                self.fault(key, "is missing; set it")
            return default
        if required and not value.strip():
            self.fault(key, "is empty; set it")
        return str(value)

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in allowed:
            self.fault(key, f"is {shown(value)}, but must be one of {', '.join(allowed)}")
            return default
        return value

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        """A whole number in a range."""
        value = self._typed(key, int, f"a whole number from {low} to {high}")
        if value is None:
            return default
        if not low <= value <= high:
            self.fault(key, f"is {value}, but must be from {low} to {high}")
            return default
        return int(value)

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        """A number in a range."""
        value = self._typed(key, (int, float), f"a number from {low:g} to {high:g}")
        if value is None:
            return default
        if not low <= value <= high:
            self.fault(key, f"is {value}, but must be from {low:g} to {high:g}")
            return default
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._typed(key, bool, "true or false")
        return default if value is None else bool(value)

    def span(self, key: str, default: timedelta) -> timedelta:
        """A duration such as `5m`."""
        value = self._typed(key, str, 'a duration such as "30s", "5m" or "1h30m"')
        if value is None:
            return default
        length = duration(value)
        if length is None:
            self.fault(key, f'is {shown(value)}, but must be a duration such as "30s", "5m" or "1h30m"')
            return default
        return length

    def time(self, key: str) -> datetime | None:
        """A moment with its zone, as TOML writes it or in quotes; None after noting a fault, also when it is absent."""
        value = self._typed(key, (datetime, str), "a time such as 2026-01-05T09:00:00Z")
        if value is None:
            if key not in self.values:
                self.fault(key, "is missing; set a time such as 2026-01-05T09:00:00Z")
            return None
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fault(key, f"is {shown(value)}, but must be a time such as 2026-01-05T09:00:00Z")
            return None
        if time.tzinfo is None:
            self.fault(key, "has no time zone; add Z or an offset such as +01:00")
            return None
        return time

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings."""
        value = self._typed(key, list, "a list of texts in quotes")
        if value is None:
            return default
        if not all(isinstance(item, str) for item in value):
            self.fault(key, "must hold texts in quotes only")
            return default
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A table inside this one."""
        value = self._typed(key, dict, "a table")
        return {} if value is None else dict(value)

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        """The tables of a list of tables."""
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fault(key, f"must be a list of tables; write [[{f'{self.name}.{key}' if self.name else key}]]")
            return []
        return value

    def url(self, key: str, default: str = "", *, required: bool = False) -> str:
        """An http or https address."""
        value = self.text(key, default, required=required)
        if value and not _is_address(value):
            self.fault(key, f"is {shown(value)}, but must be an address such as https://example.com")
            return default
        return value

    def secret(self, key: str, secret: Callable[[str], str | None], *, blanks: bool = False) -> Secret:
        """The secret whose name in the environment stands here; empty without a name. `secret` gives it by that.

        With `blanks` it may hold some: a password is not sent in a header, as a token is.
        """
        name = self.text(key)
        if not name:
            return Secret("")
        if not _SECRET_NAME.fullmatch(name):
            # The text may be the secret itself, so it is not repeated.
            self.fault(key, "must be the name of an environment variable, such as DEPLOY_TOKEN")
            return Secret("")
        value = secret(name) or ""
        if not value:
            self.fault(key, f"names {name}, which is not set in the environment")
        elif not value.isascii() or not value.isprintable() or (" " in value and not blanks):
            self.fault(key, f"names {name}, which holds a character that cannot be sent; look for a line break")
        return Secret(value)

    def done(self) -> None:
        """Reports every key that nobody asked for, with the likeliest meant one."""
        for key in self.values:
            if key not in self._asked:
                close = [known for known in self._asked if known.lower() == key.lower()]
                close = close or difflib.get_close_matches(key, self._asked, 1)
                known = ", ".join(sorted(self._asked)) or "none"
                hint = f"did you mean {close[0]}?" if close else f"known keys: {known}"
                self.fault(key, f"is not a setting; {hint}")


def call_timeout(table: Table) -> float:
    """The `timeout` of calls to something outside, in seconds; 5 where it is not given."""
    span = table.span("timeout", timedelta(seconds=5))
    if not timedelta(0) < span <= LONGEST_CALL:
        table.fault("timeout", f"must be longer than nothing and at most {LONGEST_CALL.seconds}s")
    return span.total_seconds()
