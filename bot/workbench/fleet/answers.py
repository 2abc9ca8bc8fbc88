"""What the fleet's models say: enough of a language model to answer easy questions, as a stream or in one piece.

The wire is OpenAI's: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from bot.workbench.fleet.spec import Refusal

CHARS_PER_TOKEN = 4
KNOWN = (
    (r"capital of france", "Paris"),
    (r"17 \+ 25", "42"),
    (r'"city" with the value "rome"', '{"city": "Rome", "rivers": 1}'),
    (r"what is my dog called", "Bruno"),
    (r"say hello", "Hello there, nice to meet you."),
    (r"copy this line exactly[^:]*: (.*)", r"\1"),
    (
        r"why the sky is blue",
        "Air scatters blue light more than red, because its wavelength is shorter. So blue reaches us from all over "
        "the sky.",
    ),
    (
        r"describe a bicycle",
        "A bicycle has two wheels in line, held by a frame. Its rider turns the pedals, and a chain drives the rear "
        "wheel. Handlebars steer it, and brakes stop it.",
    ),
    (r"first three months", "January, February, March"),
)
SWITCH = re.compile(r"single word (\w+)")
BABBLE = "<|im_end|>\n<|im_start|>user\nAnd what else is there to know?<|im_end|>\n<|im_start|>assistant\n"


def say(asked: dict[str, Any], *, wrong_template: bool) -> tuple[str, str]:
    """The answer and its finish_reason, "stop" or "length".

    With the wrong chat template a model does not see where a turn ends: it misses the system message, and talks on as
    its own user until it is cut off.
    """
    messages = _messages(asked)
    system = " ".join(text for role, text in messages if role == "system")
    question = messages[-1][1]
    order = SWITCH.search(system)
    if order and not wrong_template:
        answer = order[1]
    else:
        answer = next((found.expand(text) for found, text in _known(question)), f"You said: {question}")
    room = _room(asked)
    if wrong_template:
        answer += BABBLE * (room // len(BABBLE) + 1)
    return answer[:room], "length" if len(answer) > room else "stop"


def whole(asked: dict[str, Any], model: str, *, wrong_template: bool) -> dict[str, Any]:
    """The answer in one piece."""
    answer, finish = say(asked, wrong_template=wrong_template)
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {**_head("chat.completion", model), "choices": [choice], "usage": _usage(asked, answer)}


def stream(asked: dict[str, Any], model: str, *, wrong_template: bool) -> Iterator[str]:
    """The answer as server-sent events, a word at a time."""
    answer, finish = say(asked, wrong_template=wrong_template)
    head = _head("chat.completion.chunk", model)
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in re.findall(r"\s*\S+|\s+\Z", answer)]
    for delta in deltas:
        yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield _event({**head, "choices": [], "usage": _usage(asked, answer)})
    yield "data: [DONE]\n\n"


def _known(question: str) -> Iterator[tuple[re.Match[str], str]]:
    for pattern, answer in KNOWN:
        if found := re.search(pattern, question, re.IGNORECASE):
            yield found, answer


def _messages(asked: dict[str, Any]) -> list[tuple[str, str]]:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise Refusal(400, "bad_messages", "messages must be a list of objects.", "Send at least one message.")
    return [(str(one.get("role", "")), str(one.get("content", ""))) for one in messages]


def _room(asked: dict[str, Any]) -> int:
    most = asked.get("max_tokens")
    return CHARS_PER_TOKEN * (most if isinstance(most, int) and most > 0 else 256)


def _usage(asked: dict[str, Any], answer: str) -> dict[str, int]:
    before = sum(len(text) for _, text in _messages(asked)) // CHARS_PER_TOKEN + 1
    after = len(answer) // CHARS_PER_TOKEN + 1
    return {"prompt_tokens": before, "completion_tokens": after, "total_tokens": before + after}


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(8)}", "object": kind, "model": model}


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"
