"""Whether answers are what a prompt's properties ask for. Pure."""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.incident.plain import one_line
from bot.incident.redact import redact
from bot.quality.prompts import Prompt

LONGEST_SHOWN: Final = 160
_THOUGHTS: Final = re.compile(r"\A\s*<think>.*?(</think>|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. Times are seconds since the request; `first_token_s` is None when it came in one piece."""

    text: str
    finish_reason: str
    first_token_s: float | None
    whole_s: float
    tokens: int

    @property
    def said(self) -> str:
        """Without what a reasoning model thinks aloud before."""
        return _THOUGHTS.sub("", self.text).strip()


@dataclass(frozen=True, slots=True)
class Fault:
    """What was expected of an answer and what came instead, in brief and without secrets."""

    expected: str
    got: str


def judge(prompt: Prompt, answer: Answer) -> list[Fault]:
    """Everything that is not as expected about one answer."""
    return [Fault(expected, got) for expected, got in _wrong(prompt, answer)]


def differing(prompt: Prompt, answers: Sequence[Answer]) -> list[Fault]:
    """Where `same` is asked for and the answers are not."""
    texts = list(dict.fromkeys(answer.said for answer in answers))
    if not prompt.same or len(texts) < 2:
        return []
    return [Fault(f"the same answer each time, as {shown(texts[0])}", shown(texts[1]))]


def shown(text: str) -> str:
    """A text as people are shown it: one line, in brief, and without what looks like a secret."""
    line = redact(one_line(text))
    return f'"{line[: LONGEST_SHOWN - 1]}…"' if len(line) > LONGEST_SHOWN else f'"{line}"'


def _wrong(prompt: Prompt, answer: Answer) -> Iterator[tuple[str, str]]:
    said = answer.said
    folded, got = said.casefold(), shown(said)
    for part in prompt.contains:
        if part.casefold() not in folded:
            yield f"contains {shown(part)}", got
    if prompt.any_of and not any(part.casefold() in folded for part in prompt.any_of):
        yield f"contains one of {', '.join(map(shown, prompt.any_of))}", got
    for part in prompt.not_contains:
        if part.casefold() in folded:
            yield f"does not contain {shown(part)}", got
    if prompt.regex and not prompt.regex.search(said):
        yield f"matches {prompt.regex.pattern}", got
    if prompt.json or prompt.json_keys:
        yield from ((expected, got) for expected in _no_json(prompt, said))
    if not prompt.min_chars <= len(said) <= prompt.max_chars:
        yield f"{prompt.min_chars} to {prompt.max_chars} characters", f"{len(said)}: {got}"
    if foreign := _foreign(said, prompt.letters):
        yield f"{prompt.letters.lower()} letters only", f"{foreign} in {got}"
    wanted = prompt.finish_reason or ("stop",)
    if answer.finish_reason not in wanted and (answer.finish_reason or prompt.finish_reason):
        yield f"ends with {' or '.join(wanted)}", answer.finish_reason or "no finish_reason"
    first = answer.whole_s if answer.first_token_s is None else answer.first_token_s
    if prompt.first_token_within is not None and first > prompt.first_token_within:
        yield f"first token within {prompt.first_token_within:g} s", f"{first:.2f} s"
    if prompt.answer_within is not None and answer.whole_s > prompt.answer_within:
        yield f"answered within {prompt.answer_within:g} s", f"{answer.whole_s:.2f} s"


def _no_json(prompt: Prompt, said: str) -> Iterator[str]:
    """Why it is not the JSON that was asked for. A fence of Markdown around it is forgiven: chat models like them."""
    fenced = _FENCE.match(said)
    try:
        value: Any = json.loads(fenced[1] if fenced else said)
    except (ValueError, RecursionError):
        yield "valid JSON"
        return
    for key in prompt.json_keys:
        if not isinstance(value, dict) or key not in value:
            yield f"a JSON object with {key}"


def _foreign(text: str, script: str) -> str:
    """The first letters that are not of the script, up to five; empty when all are, or no script is asked for."""
    if not script:
        return ""
    letters = (char for char in text if char.isalpha())
    return "".join([char for char in letters if not unicodedata.name(char, "").startswith(script)][:5])
