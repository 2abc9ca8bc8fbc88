"""Asks an OpenAI-compatible endpoint one prompt, as a stream, so that the first token can be timed.

vLLM, SGLang, TensorRT-LLM, TGI, NIM, Dynamo and LiteLLM all speak it: https://platform.openai.com/docs/api-reference/chat
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot.contracts import Permanent, Transient
from bot.incident.redact import redact
from bot.quality.judge import Answer
from bot.quality.prompts import CHARS_PER_TOKEN, Prompt
from bot.settings import Secret

if TYPE_CHECKING:
    import httpx2

CHAT, COMPLETIONS = "chat", "completions"
LARGEST_ANSWER: Final = 1024 * 1024


class Unfinished(Transient):
    """No answer in time, or half of one: the model may have worked for it all the same."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is asked. `url` ends in /v1, as clients of OpenAI want it; `timeout` is seconds for one answer."""

    url: str
    model: str
    api: str = CHAT
    token: Secret = field(default_factory=lambda: Secret(""))
    timeout: float = 30.0

    def connected(self) -> "httpx2.Client":
        """A client for the prompts of a round, to be closed: to make one takes longer than many an answer."""
        import httpx2

        headers = {"User-Agent": "FixFirst", "Accept": "text/event-stream, application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        return httpx2.Client(timeout=self.timeout, headers=headers, trust_env=False)

    def ask(self, client: "httpx2.Client", prompt: Prompt) -> Answer:
        """One answer. Raises Transient, also as Unfinished, and Permanent."""
        import httpx2

        path = "/chat/completions" if self.api == CHAT else "/completions"
        url = f"{self.url.rstrip('/')}{path}"
        began = time.monotonic()
        try:
            with client.stream("POST", url, json=self._asking(prompt)) as response:
                return self._answer(prompt, response, began)
        except httpx2.ConnectTimeout as error:
            raise Transient(f"no connection in {self.timeout:g} s") from error
        except httpx2.TimeoutException as error:
            raise self._late() from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Transient(f"no answer: {redact(str(error)) or type(error).__name__}") from error

    def _asking(self, prompt: Prompt) -> dict[str, Any]:
        asking: dict[str, Any] = {
            "model": self.model,
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if prompt.seed is not None:
            asking["seed"] = prompt.seed
        if self.api == CHAT:
            return {**asking, "messages": [{"role": role, "content": text} for role, text in prompt.messages]}
        return {**asking, "prompt": prompt.text}

    def _answer(self, prompt: Prompt, response: "httpx2.Response", began: float) -> Answer:
        if not response.is_success:
            body = b"".join(self._pieces(response, began))[:4_096].decode("utf-8", "replace")
            words = self._repeated(body)
            said = f"it answered {response.status_code}" + (f": {words}" if words else "")
            raise Transient(said) if response.status_code in (408, 429) or response.is_server_error else Permanent(said)
        heard = _Heard()
        if response.headers.get("content-type", "").startswith("application/json"):
            heard.take(b"".join(self._pieces(response, began)), None)
        else:
            for data in self._events(response, began):
                if data == b"[DONE]":
                    break
                heard.take(data, time.monotonic() - began)
        if not heard.choices:
            raise Permanent("it answered without a choice: is this an OpenAI-compatible endpoint?")
        text = "".join(heard.texts)
        guess = (len(prompt.text) + len(text)) // CHARS_PER_TOKEN + 1
        whole = time.monotonic() - began
        return Answer(text, heard.finish_reason, heard.first_token_s, whole, heard.tokens or guess)

    def _events(self, response: "httpx2.Response", began: float) -> Iterator[bytes]:
        """The data of each server-sent event: one line each, as these servers write them."""
        rest = b""
        for piece in self._pieces(response, began):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line[5:].strip() for line in lines if line.startswith(b"data:"))
        if rest.startswith(b"data:"):
            yield rest[5:].strip()

    def _pieces(self, response: "httpx2.Response", began: float) -> Iterator[bytes]:
        """The body as it comes in. The client's own timeout is for each piece, so a slow drip is ended here."""
        size = 0
        for piece in response.iter_bytes():
            size += len(piece)
            if time.monotonic() - began > self.timeout:
                raise self._late()
            if size > LARGEST_ANSWER:
                raise Permanent(f"it answered with more than {LARGEST_ANSWER // 1024} KiB")
            yield piece

    def _repeated(self, text: str) -> str:
        """What the other side said, in brief and without secrets, ours above all: some echo the token they refuse."""
        line = " ".join(text.split())
        return redact(line.replace(self.token.reveal(), "***") if self.token else line)[:200]

    def _late(self) -> Unfinished:
        return Unfinished(f"no answer in {self.timeout:g} s")


@dataclass(slots=True)
class _Heard:
    """What has come in of an answer."""

    texts: list[str] = field(default_factory=list)
    finish_reason: str = ""
    first_token_s: float | None = None
    tokens: int = 0
    choices: int = 0

    def take(self, data: bytes, at: float | None) -> None:
        """One chunk, or the whole; `at` is seconds since the request, None for a whole. Raises Transient, Permanent."""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Permanent(f"it answered with something else than JSON: {redact(repr(data))[:80]}") from error
        if not isinstance(chunk, dict):
            raise Permanent("it answered with something else than a JSON object")
        if broken := chunk.get("error"):  # after the first byte the status is 200 for good, so vLLM says it here
            said = broken.get("message") if isinstance(broken, dict) else broken
            raise Unfinished(f"the answer broke off: {redact(str(said))[:200]}")
        usage, choices = chunk.get("usage"), chunk.get("choices")
        if isinstance(usage, dict) and isinstance(usage.get("total_tokens"), int):
            self.tokens = usage["total_tokens"]
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._choice(choices[0], at)

    def _choice(self, choice: dict[str, Any], at: float | None) -> None:
        self.choices += 1
        part = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
        part = part if isinstance(part, dict) else {}
        text = part.get("content")
        if isinstance(text, str):
            self.texts.append(text)
        thought = part.get("reasoning_content") or part.get("reasoning")
        if self.first_token_s is None and (text or thought):
            self.first_token_s = at
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
