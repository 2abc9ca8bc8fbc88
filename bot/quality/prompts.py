"""A set of prompts with what their answers must be like: TOML (`[[prompt]]`) or JSON lines, an object a line.

[[prompt]]
name = "capital"
prompt = "What is the capital of France? Answer with one word."
contains = ["Paris"]
max_chars = 60
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bot.settings import Table, shown

SHIPPED: Final = Path(__file__).parent / "sets" / "general.toml"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MOST: Final = 200
LARGEST: Final = 1024 * 1024
ROLES: Final = ("system", "user", "assistant")
CHARS_PER_TOKEN: Final = 4
"""For what no server tells the usage of: a token of English is about four characters."""
LONGEST_ANSWER: Final = 4_096
"""Tokens; a canary asks often, and what it asks is short."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, and what the answer must be like. Texts are compared without regard to case.

    `messages` are (role, text). `max_tokens` bounds the answer. `letters` is a script, as in Unicode's names ("latin"):
    every letter must be of it. `first_token_within` and `answer_within` are seconds, None for no limit. With `same` all
    samples of the prompt must have the same answer. Without `finish_reason` it must be "stop", where one is given.
    """

    name: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int | None = None
    contains: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    json: bool = False
    json_keys: tuple[str, ...] = ()
    letters: str = ""
    min_chars: int = 1
    max_chars: int = 20_000
    finish_reason: tuple[str, ...] = ()
    first_token_within: float | None = None
    answer_within: float | None = None
    same: bool = False

    @property
    def text(self) -> str:
        """The messages as one text, for models that complete and do not chat."""
        return "\n\n".join(text for _, text in self.messages)

    @property
    def most_tokens(self) -> int:
        """What asking it once can cost, as near as its length tells."""
        return len(self.text) // CHARS_PER_TOKEN + 1 + self.max_tokens


def read(path: Path) -> tuple[tuple[Prompt, ...], list[str]]:
    """The prompts of the file, and every fault as a sentence that says where."""
    try:
        if path.stat().st_size > LARGEST:
            return (), [f"is larger than {LARGEST // 1024} KiB"]
        told = list(_objects(path))
    except OSError as error:
        return (), [f"cannot be read ({error.strerror})"]
    except (ValueError, RecursionError) as error:
        return (), [f"is neither TOML with [[prompt]] nor JSON lines: {error}"]
    faults: list[str] = []
    prompts: list[Prompt] = []
    for number, values in enumerate(told, 1):
        prompt = _prompt(Table(f"prompt[{number}]", values, faults))
        if prompt.name in {one.name for one in prompts}:
            faults.append(f"prompt[{number}].name: is {prompt.name}, as another's; give each its own")
        prompts.append(prompt)
    if not told or len(told) > MOST:
        faults.append(f"holds {len(told)} prompts, but must hold 1 to {MOST}")
    return tuple(prompts), faults


def _objects(path: Path) -> Iterator[Mapping[str, Any]]:
    """Raises OSError, ValueError."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        told = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        values = tomllib.loads(text)
        told = values.pop("prompt", [])
        if values:
            raise ValueError(f"{', '.join(values)} stands beside [[prompt]]")
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise ValueError("each prompt must be a table")
    yield from told


def _prompt(table: Table) -> Prompt:
    name = table.text("name", required=True)
    if name and not NAME.fullmatch(name):
        table.fault("name", f"is {shown(name)}, but must be 1 to 40 small letters, digits and -")
    prompt = Prompt(
        name=name,
        messages=_messages(table),
        max_tokens=table.whole("max_tokens", 128, low=1, high=LONGEST_ANSWER),
        temperature=table.number("temperature", 0.0, low=0, high=2),
        seed=table.whole("seed", 0, low=0, high=2**31 - 1) if "seed" in table.values else None,
        contains=table.texts("contains"),
        any_of=table.texts("any_of"),
        not_contains=table.texts("not_contains"),
        regex=_regex(table),
        json=table.flag("json", default=False),
        json_keys=table.texts("json_keys"),
        letters=table.text("letters").upper(),
        min_chars=table.whole("min_chars", 1, low=0, high=20_000),
        max_chars=table.whole("max_chars", 20_000, low=1, high=20_000),
        finish_reason=table.texts("finish_reason"),
        first_token_within=_seconds(table, "first_token_within"),
        answer_within=_seconds(table, "answer_within"),
        same=table.flag("same", default=False),
    )
    table.done()
    return prompt


def _messages(table: Table) -> tuple[tuple[str, str], ...]:
    if "messages" not in table.values:
        asked = table.text("prompt", required=True)
        before = table.text("system")
        return ((("system", before),) if before else ()) + (("user", asked),)
    found = []
    for one in table.tables("messages"):
        message = Table(f"{table.name}.messages", one, table.faults)
        found.append((message.choice("role", "user", ROLES), message.text("content", required=True)))
        message.done()
    return tuple(found)


def _regex(table: Table) -> re.Pattern[str] | None:
    pattern = table.text("regex")
    try:
        return re.compile(pattern, re.IGNORECASE) if pattern else None
    except re.error as error:
        table.fault("regex", f"is {shown(pattern)}, which is no regular expression: {error}")
        return None


def _seconds(table: Table, key: str) -> float | None:
    return table.span(key, timedelta(0)).total_seconds() or None
