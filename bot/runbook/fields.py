"""Typed values out of one YAML mapping; each wrong one is a fault with its line, and reading goes on."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from bot.runbook.model import did_you_mean
from bot.runbook.strict_yaml import Block

Choice = TypeVar("Choice", bound=StrEnum)
Report = Callable[[int, str], None]

LONGEST = timedelta(days=7)
DURATION = re.compile(r"(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})s)?")


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping at dotted path `path` inside a block; `line` is where the block begins."""

    values: Mapping[str, Any]
    path: str
    line: int
    lines: Mapping[str, int]
    report: Report

    @classmethod
    def of(cls, block: Block, line: int, report: Report) -> "Fields | None":
        """The whole block, its YAML faults reported; None when it is no mapping."""
        for fault_line, message in block.faults:
            report(fault_line, message)
        if not isinstance(block.value, dict):
            if not block.faults:
                report(line, "expected 'key: value' lines here")
            return None
        return cls(block.value, "", line, block.lines, report)

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def fault(self, key: str, message: str) -> None:
        """Reports against the line of `key`; of this mapping when the key was not written."""
        path = self.at(key)
        self.report(self.lines.get(path, self.lines.get(self.path, self.line)), message)

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def required(self, *keys: str) -> None:
        for key in keys:
            if key not in self.values:
                self.fault(key, f"'{self.at(key)}' is missing")

    def nothing_else(self, known: Mapping[str, object]) -> None:
        """Every key is known, and none is left empty: `verify:` with nothing after it proves nothing."""
        for key, value in self.values.items():
            if value is None and key in known:
                self.fault(key, f"'{self.at(key)}' is empty: give it a value, or take the line out")
            elif key not in known:
                self.fault(key, f"unknown key '{self.at(key)}'; {did_you_mean(key, known)}")

    def text(self, key: str, pattern: re.Pattern[str] | None = None, wanted: str = "") -> str:
        """Non-empty text on one or more lines; "" when absent or wrong."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.fault(key, f"'{self.at(key)}' must be text; put it in quotes")
            return ""
        if pattern and not pattern.fullmatch(value):
            self.fault(key, f"'{self.at(key)}' must be {wanted}, not '{value[:40]}'")
            return ""
        return value.strip()

    def text_or_whole(self, key: str) -> str:
        """Text, or a whole number as its digits."""
        value = self.values.get(key)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(key)

    def texts(self, key: str, pattern: re.Pattern[str], wanted: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.fault(key, f"'{self.at(key)}' must be a list: [One, Two]")
            return ()
        good = []
        for index, item in enumerate(value):
            if isinstance(item, str) and pattern.fullmatch(item):
                good.append(item)
            else:
                self.fault(f"{key}.{index}", f"'{str(item)[:40]}' is not {wanted}")
        return tuple(good)

    def whole(self, key: str, least: int, most: int, default: int = 0) -> int:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.fault(key, f"'{self.at(key)}' must be a whole number from {least} to {most}")
        return default

    def choice(self, key: str, options: type[Choice]) -> Choice | None:
        value = self.text(key)
        if not value:
            return None
        known = {option.value: option for option in options}
        if value not in known:
            self.fault(key, f"'{self.at(key)}' cannot be '{value[:40]}'; {did_you_mean(value, known)}")
        return known.get(value)

    def duration(self, key: str) -> timedelta | None:
        """`90s`, `5m`, `1h30m`: longer than nothing, at most 7 days."""
        value = self.values.get(key)
        if value is None:
            return None
        found = DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if found:
            days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
            span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            if timedelta(0) < span <= LONGEST:
                return span
        self.fault(key, f"'{self.at(key)}' must be a time such as 30s, 5m or 1h30m, not '{str(value)[:40]}'")
        return None

    def part(self, key: str) -> "Fields | None":
        """A mapping inside this one."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault(key, f"'{self.at(key)}' must hold 'key: value' lines")
            return None
        return Fields(value, self.at(key), self.line, self.lines, self.report)

    def parts(self, key: str) -> Iterator[tuple[str, "Fields"]]:
        """The mappings inside the mapping `key`, by name."""
        outer = self.part(key)
        for name in outer.values if outer else ():
            assert outer is not None
            inner = outer.part(name)
            if inner is None:
                if outer.values[name] is None:
                    outer.fault(name, f"'{outer.at(name)}' must hold 'key: value' lines")
                continue
            yield name, inner
