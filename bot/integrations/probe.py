"""Direct probes of inference servers: alive, ready, and one token. A second opinion beside the telemetry.

    [probes.chat]
    server = "vllm"                            # which paths are asked: see SERVERS
    urls = ["http://vllm-0.chat:8000", "http://vllm-1.chat:8000"]
    model = "llama-70b"
    token_env = "CHAT_KEY"                     # optional, the name of an environment variable
    completion = true                          # also ask for one token; it costs one
    kubernetes = { target = "fleet", namespace = "chat", deployment = "llama-70b" }

A server that answers its health page may still serve nobody: vLLM's catches a dead engine and not a hung one, NIM's
live page is answered by the web server before it, Triton's vLLM backend has its check switched off. Hence the token. It
is asked of each replica at most once per report, and of none whose model is known to have requests waiting.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog

from bot.contracts import Permanent, Transient
from bot.health.probe import Answer, Question
from bot.incident.redact import redact
from bot.integrations.wire import connection_to, exchanged
from bot.settings import Secret, Table

log = structlog.get_logger()

PAGE_S: Final = 2.0
"""Seconds for a health page: a probe that takes longer is no answer to somebody in a hurry."""
TOKEN_S: Final = 6.0
"""Seconds for one token, within the ten that a whole report may take."""
QUEUES_S: Final = 2.5
"""Seconds in which Prometheus may say whether requests wait, before a token is asked for without knowing."""
MOST_SERVERS: Final = 64
WORKERS: Final = 128
"""Enough for both pages of as many servers as one table may name, should all of them hang."""
_CANNOT_TELL: Final = frozenset({400, 401, 403, 404, 405, 429})
"""The server is there and will not answer this question: the wrong key, door or moment, and no dead engine."""
_PROMPT: Final = "Say ok."

PodsReady = Callable[[str, str, str], tuple[int, int]]
"""A target, a namespace and a deployment, to pods ready and pods wanted. Raises Transient, Permanent."""


_COMPLETIONS: Final = "/v1/completions"
_CHAT: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Server:
    """What one kind of server is asked. Empty: it has no such page. `{model}` stands for the model's name."""

    live: str
    ready: str
    completion: str = _COMPLETIONS


SERVERS: Final[Mapping[str, Server]] = {
    "vllm": Server("/health", "/v1/models"),
    "sglang": Server("/health", "/v1/models"),
    "trtllm": Server("/health", "/v1/models"),
    "tgi": Server("/health", "/info"),
    "nim": Server("/v1/health/live", "/v1/health/ready", _CHAT),
    "dynamo": Server("/live", "/health", _CHAT),
    "triton": Server("/v2/health/live", "/v2/models/{model}/ready", ""),
    # Its /health asks every model behind it for paid tokens: https://docs.litellm.ai/docs/proxy/health
    "litellm": Server("/health/liveliness", "/health/readiness", _CHAT),
    "openai": Server("", "/v1/models", _CHAT),
}


@dataclass(frozen=True, slots=True)
class Pods:
    """The deployment whose pods are asked after."""

    target: str
    namespace: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One table `[probes.NAME]`."""

    name: str
    server: str
    urls: tuple[str, ...]
    model: str
    token: Secret = field(default_factory=lambda: Secret(""))
    completion: bool = False
    pods: Pods | None = None

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Probe | None, list[str]]":
        """The probe, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        faults: list[str] = []
        top = Table("", table, faults)
        server = top.choice("server", "vllm", tuple(SERVERS))
        urls = tuple(url.rstrip("/") for url in top.texts("urls"))
        model = top.text("model", required=True)
        if not urls:
            top.fault("urls", 'is missing; name the servers, such as ["http://vllm-0.chat:8000"]')
        if len(urls) > MOST_SERVERS:
            top.fault("urls", f"names {len(urls)} servers, but a report asks {MOST_SERVERS} at most")
        for url in urls:
            if not _is_address(url):
                top.fault("urls", f"holds {url[:80]!r}; write http:// or https://, a host, and no password or query")
        completion = top.flag("completion", default=False)
        if completion and not SERVERS[server].completion:
            top.fault("completion", f"{server} has no common way to ask for a token; leave it out")
        probe = cls(
            name=name,
            server=server,
            urls=urls,
            model=model,
            token=top.secret("token_env", secret),
            completion=completion,
            pods=_pods(top, faults),
        )
        top.done()
        return (None if faults else probe), faults


def _is_address(url: str) -> bool:
    """Whether a connection can be made by it: a port in range, and a host that can be looked up."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:  # UnicodeError is one
        return False
    return parts.scheme in ("http", "https") and bool(host) and not parts.username and not parts.query


def _pods(top: Table, faults: list[str]) -> Pods | None:
    if "kubernetes" not in top.values:
        return None
    inner = Table("kubernetes", top.mapping("kubernetes"), faults)
    pods = Pods(*(inner.text(key, required=True) for key in ("target", "namespace", "deployment")))
    inner.done()
    return pods


class Round:
    """One report's probes, begun: all of them are on their way while Prometheus is still being asked."""

    def __init__(self, probes: Sequence[Probe], pods_ready: PodsReady | None, budget: float) -> None:
        self._over = time.monotonic() + budget
        self._probes = probes
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="probe")
        self._asked: list[tuple[Answer, Future[Answer]]] = []
        self._queues: Mapping[str, float] = {}
        self._told = threading.Event()
        for probe in probes:
            server = SERVERS[probe.server]
            pages = [(Question.ALIVE, server.live), (Question.READY, server.ready)]
            for url in probe.urls:
                for question, path in pages:
                    if path:
                        at = f"{url}{path.format(model=quote(probe.model, safe=''))}"
                        self._ask(question, _who(url), _page, question, probe, at)
            if probe.pods and pods_ready:
                self._ask(Question.PODS, probe.pods.deployment, _ready_pods, pods_ready, probe.pods)
        for probe in probes:
            for url in probe.urls if probe.completion else ():
                self._ask(Question.TOKEN, _who(url), self._token_of, probe, url)

    def finish(self, waiting: Mapping[str, float]) -> tuple[Answer, ...]:
        """Every answer; what has not come yet is unknown. `waiting`: requests in the queue by model, as far as known.

        A server with a queue is not asked for a token, which would stand in it: that it waits is known already. Where
        nobody says so within QUEUES_S it is asked all the same: blind, one token is worth more than a short queue.
        """
        self._queues = waiting
        self._told.set()
        wait([future for _, future in self._asked], timeout=max(0.0, self._over - time.monotonic()))
        said = [future.result() if future.done() else late for late, future in self._asked]
        # What is still on its way ends by its own time-out; nobody waits for it here.
        self._pool.shutdown(wait=False, cancel_futures=True)
        tokens = sum(answer.question is Question.TOKEN and answer.good is True for answer in said)
        if tokens:
            log.info("probes_spent", tokens=tokens, models=sorted({probe.model for probe in self._probes}))
        return tuple(said)

    def _ask(self, question: Question, who: str, ask: Callable[..., Answer], *args: Any) -> None:
        # Each question ends by a time-out of its own: what is late here was asked late, and says nothing of the server.
        late = Answer(question, who, None, f"{who} was not asked in time")
        self._asked.append((late, self._pool.submit(ask, *args)))

    def _token_of(self, probe: Probe, url: str) -> Answer:
        self._told.wait(QUEUES_S)
        queued = self._queues.get(probe.model, 0)
        if queued > 0:
            words = f"{queued:.0f} requests wait for {probe.model}, one more would not help"
            return Answer(Question.TOKEN, _who(url), None, words)
        return _token(probe, url)


class Probes:
    """All that `fixfirst.toml` names. `pods_ready` asks a cluster; None where none is configured."""

    def __init__(self, probes: Mapping[str, Probe], pods_ready: PodsReady | None = None) -> None:
        self._probes = probes
        self._pods_ready = pods_ready

    def begin(self, model: str | None, budget: float) -> Round | None:
        """Asks after one model, or all; None when no probe is about it. `budget`: seconds until `finish` gives up."""
        meant = [probe for probe in self._probes.values() if model is None or probe.model == model]
        return Round(meant, self._pods_ready, budget) if meant else None


def _who(url: str) -> str:
    return urlsplit(url).netloc


def _page(question: Question, probe: Probe, url: str) -> Answer:
    status, _, said, took = _exchange(probe, "GET", url, None, PAGE_S)
    good = 200 <= status < 300
    who = _who(url)
    if good and question is Question.READY and urlsplit(url).path == "/v1/models":
        served = list(_models(said))
        good = probe.model in served
        missing = f"{who} serves {', '.join(served)[:120] or 'no model'}, and not {probe.model}"
        return Answer(question, who, good, f"{who} serves {probe.model}" if good else missing, took)
    return Answer(question, who, good, f"{who} answers {status}" if status else f"{who} {said}", took)


def _token(probe: Probe, url: str) -> Answer:
    path = SERVERS[probe.server].completion
    said_how = {"messages": [{"role": "user", "content": _PROMPT}]} if path == _CHAT else {"prompt": _PROMPT}
    body = {"model": probe.model, **said_how, "max_tokens": 1, "temperature": 0}
    status, parsed, said, took = _exchange(probe, "POST", f"{url}{path}", body, TOKEN_S)
    who = _who(url)
    if not status:
        return Answer(Question.TOKEN, who, False, f"{who} {said}", took)
    if not 200 <= status < 300:
        good = None if status in _CANNOT_TELL else False
        return Answer(Question.TOKEN, who, good, f"{who} answers {status} when asked for a token", took)
    choices = parsed.get("choices") if isinstance(parsed, dict) else None
    good = isinstance(choices, list) and bool(choices)
    words = f"{who} answers with a token" if good else f"{who} answers {status} without a token"
    return Answer(Question.TOKEN, who, good, words, took)


def _ready_pods(pods_ready: PodsReady, pods: Pods) -> Answer:
    who = f"{pods.namespace}/{pods.deployment}"
    try:
        ready, wanted = pods_ready(pods.target, pods.namespace, pods.deployment)
    except (Transient, Permanent) as failure:
        return Answer(Question.PODS, who, None, str(failure))
    return Answer(Question.PODS, who, ready >= wanted, f"{ready} of {wanted} pods of {who} are ready")


def _models(said: str) -> Iterator[str]:
    """The ids of an OpenAI list of models."""
    try:
        listed = json.loads(said).get("data", [])
        yield from (str(one["id"]) for one in listed)
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        return


def _exchange(
    probe: Probe, method: str, url: str, body: Mapping[str, Any] | None, limit: float
) -> tuple[int, Any, str, float]:
    """Status, parsed JSON, text and seconds; status 0 with the reason as text when there was no answer."""
    headers = {"Accept": "application/json", "User-Agent": "FixFirst", "Connection": "close"}
    payload = None if body is None else json.dumps(body).encode()
    if payload is not None:
        headers["Content-Type"] = "application/json"
    if probe.token:
        headers["Authorization"] = f"Bearer {probe.token.reveal()}"
    began = time.monotonic()
    connection = connection_to(url, began + limit)
    try:
        connection.connect()
        response, answer = exchanged(connection, method, url, payload, headers, deadline=began + limit)
    except TimeoutError:
        return 0, None, f"gave no answer within {limit:g} s", time.monotonic() - began
    except (OSError, HTTPException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        return 0, None, f"cannot be reached: {redact(reason)[:120]}", time.monotonic() - began
    finally:
        connection.close()
    took, text = time.monotonic() - began, answer.decode("utf-8", "replace")
    try:
        return response.status, json.loads(text), text, took
    except (ValueError, RecursionError):
        return response.status, None, text, took
