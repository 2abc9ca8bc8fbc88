"""Asks Prometheus the questions of the catalogue: a few at a time, within one budget, and always with an answer.

A survey takes three rounds: one call that tells which metrics there are, so that only what can answer is asked; all
checks and what is known of replicas and GPUs; and, for what is bad, since when.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from bot.health import onset
from bot.health.capacity import Replica
from bot.health.catalogue import catalogue
from bot.health.checks import NO_METRIC, Check
from bot.health.client import Conversation, Unreachable, Useless
from bot.health.engines import ENGINES
from bot.health.observation import ASKED, Observation, Sample, observe, unknown, uuid_of
from bot.health.promql import Settings, answerable, expand, names, narrows, quote, render
from bot.health.queries import gpus, kubernetes, serving
from bot.health.scope import FLEET, Inventory, Scope
from bot.health.situation import Facts, Situation, gpus_of, of_model, replicas_of, told_apart, with_model

WORKERS = 6
DISCOVERY_S = 2.0
"""The first call may take so long: without its answer everything is asked, which must still fit into the budget."""
KNOWN = (
    "vllm:.+|ray_vllm_.+|sglang:.+|trtllm_.+|tgi_.+|nv_.+|ray_serve_.+|dynamo_.+|num_requests_.+|request_.+_total|"
    "(time_to_first_token_seconds|e2e_request_latency_seconds)_.+|(prompt|generation)_tokens_total|gpu_cache_usage_perc|"
    "http_requests_total|up|kube_.+|DCGM_.+|model_.+|gateway_.+|litellm_.+"
)
"""The names that any of our queries may hold."""

SCOPED = 200  # series asked for of a check that looks at everything, where only some of them are the scope's
FACTS: dict[str, tuple[str, ...]] = {
    **serving.REPLICAS,
    "held": (gpus.HELD,),
    "placed": (kubernetes.PLACED,),
    "not_ready": (kubernetes.NOT_READY,),
}


@dataclass(frozen=True, slots=True)
class _Question:
    """sources: those that can answer. query: "" when none can be asked. models: asked about, none for all."""

    check: Check
    sources: tuple[str, ...]
    query: str
    scope: Literal["model", "fleet"]
    models: tuple[str, ...]


class Telemetry:
    """Prometheus, as the health report sees it. Holds no connection between surveys; may be used from any thread.

    url: base address of the query API; credentials in it are used and never shown. timeout: seconds for one query, also
    told to Prometheus so that it stops too. budget: seconds for a whole survey; what is late is unknown.
    headers: for example an Authorization header.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        budget: float = 10.0,
        headers: dict[str, str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the Prometheus URL must start with http:// or https:// and name a host")
        self._url = url.rstrip("/")
        self._name = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        self._timeout = timeout
        self._budget = budget
        self._headers = headers
        self.settings = settings or Settings()

    def survey(self, scope: Scope | None = None, checks: Sequence[Check] | None = None) -> tuple[Observation, ...]:
        """One observation per check, in the order of `checks` (default: the catalogue); without a scope, of the fleet.

        Never raises for what the other side does: no answer, a refusal or nonsense is an unknown that says so.
        """
        with self._round() as round_:
            return round_.situation(scope or FLEET, catalogue(self.settings) if checks is None else checks).observations

    def look(self, scope: Scope, now: datetime) -> Situation:
        """All checks, what is bad with since when, and the replicas and GPUs they are about. Never raises, as above."""
        with self._round() as round_:
            found = round_.situation(scope, catalogue(self.settings))
            return replace(found, observations=round_.dated(found.observations, now))

    @property
    def budget(self) -> float:
        """Seconds for a whole round of questions."""
        return self._budget

    def scope(self, word: str) -> Scope:
        """What a person means by `word`, read against what Prometheus knows; no word is the fleet, without a query."""
        return Scope.parse(word, self.inventory()) if word.strip() else FLEET

    def inventory(self) -> Inventory:
        """What Prometheus knows by name; empty when it does not answer."""
        with self._round() as round_:
            return round_.inventory()

    def ask(self, queries: Mapping[str, str], within: float | None = None) -> Mapping[str, tuple[Sample, ...] | str]:
        """The answers by the names of the queries, asked side by side; a text says why there is none. Never raises.

        Takes at most the budget, and at most `within` seconds.
        """
        with self._round(within) as round_:
            return round_.told(queries)

    def _round(self, within: float | None = None) -> "_Round":
        conversation = Conversation(self._url, self._name, timeout=self._timeout, headers=self._headers)
        budget = self._budget if within is None else min(within, self._budget)
        return _Round(conversation, self._name, budget, self.settings)


class _Round:
    """One survey: its conversation, its threads, and the moment at which it has to be over."""

    def __init__(self, conversation: Conversation, name: str, budget: float, settings: Settings) -> None:
        self._conversation = conversation
        self._name = name
        self._budget = budget
        self._settings = settings
        self._over = time.monotonic() + budget
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="health")
        self._known: frozenset[str] | None = None
        self._slots: dict[str, str] = {}
        self._questions: dict[str, _Question] = {}

    def __enter__(self) -> "_Round":
        return self

    def __exit__(self, *_: object) -> None:
        # A query still on its way ends by its own time-out; nobody waits for it here.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._conversation.close()

    def situation(self, scope: Scope, checks: Sequence[Check]) -> Situation:
        """The observations, and the replicas and GPUs that the whole of Prometheus knows."""
        self._discover()
        if scope.node or scope.gpu:
            facts = self._facts(())
            host = scope.node or _host_of(scope.gpu, facts)
            replicas = replicas_of(facts)
            models = tuple(sorted(_models_on(scope, host, facts)))
            questions = [self._question(check, models, host, scope.gpu) for check in checks]
            answers = self._all([partial(self._ask, question) for question in questions])
        else:
            models = (scope.model,) if scope.model else ()
            questions = [self._question(check, models, "", "") for check in checks]
            parts = [part for part, sources in FACTS.items() if answerable(sources, self._known)]
            asked: list[Callable[[], object]] = [partial(self._ask, question) for question in questions]
            asked += [partial(self._fact, part, models) for part in parts]
            answers = self._all(asked)
            fetched = zip(parts, answers[len(questions) :], strict=True)
            facts = {part: samples for part, samples in fetched if isinstance(samples, list)}
            replicas = replicas_of(facts)
        self._questions = {question.check.id: question for question in questions}
        told = answers[: len(questions)]
        observations = [
            self._observed(question, samples, scope, replicas)
            for question, samples in zip(questions, told, strict=True)
        ]
        return Situation(tuple(observations), replicas, gpus_of(facts.get("held", ())))

    def dated(self, observations: Sequence[Observation], now: datetime) -> tuple[Observation, ...]:
        """The observations; those that are bad with the moment since when, as far as it can still be asked."""
        bad = [seen for seen in observations if seen.bad and seen.check in self._questions]
        answers = self._all([partial(self._since, seen, now) for seen in bad])
        since = {seen.check: at for seen, at in zip(bad, answers, strict=True) if isinstance(at, datetime)}
        return tuple(replace(seen, since=since.get(seen.check)) for seen in observations)

    def inventory(self) -> Inventory:
        """What has a name."""
        self._discover()
        queries = [kubernetes.SERVED, gpus.HELD, gpus.NODES_NAMED]
        answers = self._all([partial(self._fetch, (query,), ()) for query in queries])
        served, held, nodes = (answer if isinstance(answer, list) else [] for answer in answers)
        known = gpus_of(held)
        return Inventory(
            models=tuple(sorted({sample.labels.get("model_name", "") for sample in served} - {""})),
            nodes=tuple(sorted({sample.labels.get("host", "") for sample in (*held, *nodes)} - {""})),
            gpus=tuple(sorted({replace(gpu, pod="") for gpu in known})),
        )

    def told(self, queries: Mapping[str, str]) -> Mapping[str, tuple[Sample, ...] | str]:
        """The answers by the names of the queries; a text says why there is none."""
        answers = self._all([partial(self._query, query) for query in queries.values()])
        late = f"Prometheus at {self._name} gave no answer within {self._budget:.3g} s"
        return {name: _in_words(answer, late) for name, answer in zip(queries, answers, strict=True)}

    # --- asking ---

    def _discover(self) -> None:
        memory = self._settings.memory + self._settings.window
        answer = self._all([partial(self._conversation.names, KNOWN, memory)], min(DISCOVERY_S, self._budget / 5))[0]
        if isinstance(answer, Unreachable):
            self._conversation.give_up(str(answer))
        # An empty list is no reason to ask nothing: a proxy may not know this call.
        self._known = answer if isinstance(answer, frozenset) and answer else None
        there = [engine for engine in ENGINES if engine.presence and self._there(names(engine.presence))]
        self._slots = kubernetes.served(there)

    def _there(self, metrics: Collection[str]) -> bool:
        return self._known is None or not self._known.isdisjoint(metrics)

    def _all(self, asks: Sequence[Callable[[], object]], seconds: float = math.inf) -> list[object]:
        """The answer to each, or the failure; None for one that was not there in time."""
        futures: list[Future[object]] = [self._pool.submit(_caught, ask) for ask in asks]
        wait(futures, timeout=max(0.0, min(seconds, self._over - time.monotonic())))
        return [future.result() if future.done() and not future.cancelled() else None for future in futures]

    def _rendered(self, sources: Sequence[str], models: Sequence[str], join: str = "or") -> str:
        texts = [render(expand(source, self._slots), self._settings, models) for source in sources]
        return f" {join} ".join(f"({text})" for text in texts)

    def _fetch(self, sources: Sequence[str], models: Sequence[str]) -> list[Sample]:
        return self._query(self._rendered(sources, models))

    def _query(self, query: str) -> list[Sample]:
        if self._conversation.reason:
            raise Unreachable(self._conversation.reason)
        try:
            return self._conversation.query(query)
        except Unreachable as error:
            raise Unreachable(self._conversation.give_up(str(error))) from None

    def _fact(self, part: str, models: Sequence[str]) -> list[Sample]:
        return self._fetch(answerable(FACTS[part], self._known), models)

    def _facts(self, models: Sequence[str]) -> Facts:
        parts = [part for part, sources in FACTS.items() if answerable(sources, self._known)]
        answers = self._all([partial(self._fact, part, models) for part in parts])
        return {part: samples for part, samples in zip(parts, answers, strict=True) if isinstance(samples, list)}

    def _question(self, check: Check, models: tuple[str, ...], host: str, gpu: str) -> _Question:
        sources = check.sources
        scoped = bool(models or host or gpu)
        if scoped and not check.whole:
            sources = tuple(s for s in sources if narrows(s)) if models else ()
        known = tuple(s for s in sources if self._there(names(expand(s, self._slots))))
        union = self._rendered(known or sources, models, check.join)
        if check.whole and host:
            union = f'({union}) and on (host) label_replace(vector(1), "host", {_replacement(host)}, "", "")'
        if check.rule != "xid" and union:
            most = SCOPED if check.whole and scoped else ASKED
            union = f"{'bottomk' if check.rule == 'below' else 'topk'}({most}, {union})"
        scope: Literal["model", "fleet"] = "fleet" if models and check.whole else "model"
        return _Question(check, known or sources, union if sources else "", scope, models)

    def _ask(self, question: _Question) -> list[Sample]:
        if not question.query:
            raise Useless("cannot be told for one model" if question.models else "no model is known to run there")
        if self._conversation.reason:
            raise Unreachable(self._conversation.reason)
        if self._known is not None and not any(self._there(names(expand(s, self._slots))) for s in question.sources):
            return []
        return self._query(question.query)

    def _observed(self, question: _Question, answer: object, scope: Scope, replicas: Sequence[Replica]) -> Observation:
        check, query = question.check, question.query
        if answer is None:
            reason = f"Prometheus at {self._name} gave no answer within {self._budget:g} s"
            return unknown(check, query, reason, question.scope, gone=True)
        if isinstance(answer, (Unreachable, Useless)):
            return unknown(check, query, str(answer), question.scope, gone=bool(query))
        samples = [sample for sample in answer if isinstance(sample, Sample)] if isinstance(answer, list) else []
        if check.whole:
            samples = [sample for sample in samples if _concerns(sample, scope, replicas)]
        samples = [with_model(sample, replicas) if sample.labels.get("gpu") else sample for sample in samples]
        if samples:
            return told_apart(observe(check, query, samples, self._settings.window, question.scope), replicas)
        gone = scope.whole and check.missing == NO_METRIC and self._known is not None and self._was_there(question)
        if gone:
            return unknown(check, query, "no longer reports, and did within the hour", question.scope, gone=True)
        nothing = check.missing
        suffix = f" of this {'model' if scope.model else 'node'}" if not scope.whole and nothing == NO_METRIC else ""
        return unknown(check, query, f"{nothing}{suffix}", question.scope)

    def _was_there(self, question: _Question) -> bool:
        return any(self._known and not self._known.isdisjoint(names(source)) for source in question.sources)

    def _since(self, seen: Observation, now: datetime) -> datetime | None:
        question = self._questions[seen.check]
        worst = seen.series[0]
        model = worst.labels.get("model_name", "")
        models = (model,) if model and not question.check.whole else question.models
        union = self._rendered(question.sources, models, question.check.join)
        told = onset.question(question.check, seen, union)
        if told is None or self._conversation.reason:
            return None
        step = max(self._settings.window // 5, 1)
        began = told.began(self._conversation.past(told.query, self._settings.memory, step))
        return None if began is None else now - timedelta(seconds=max(0.0, time.time() - began))


def _caught(ask: Callable[[], object]) -> object:
    """The answer, or the failure as a value: a thread has nobody to raise to."""
    try:
        return ask()
    except (Unreachable, Useless) as error:
        return error


def _in_words(answer: object, late: str) -> tuple[Sample, ...] | str:
    if isinstance(answer, (Unreachable, Useless)):
        return str(answer)
    return tuple(one for one in answer if isinstance(one, Sample)) if isinstance(answer, list) else late


def _replacement(host: str) -> str:
    """A literal for `label_replace`, which reads a dollar sign as a group."""
    return quote(host.replace("$", "$$"))


def _host_of(gpu: str, facts: Facts) -> str:
    """The node of a GPU, by its UUID or its `node:index`."""
    for known in gpus_of(facts.get("held", ())):
        if gpu in {known.uuid, known.name}:
            return known.node
    return gpu.rpartition(":")[0]


def _models_on(scope: Scope, host: str, facts: Facts) -> set[str]:
    """The models that the node's, or only this GPU's, pods serve."""
    held = gpus_of(facts.get("held", ()))
    pods = {gpu.pod for gpu in held if scope.gpu in {gpu.uuid, gpu.name} and gpu.pod}
    return {
        replica.model
        for replica in replicas_of(facts)
        if (replica.name in pods if scope.gpu and pods else replica.node == host)
    }


def _concerns(sample: Sample, scope: Scope, replicas: Sequence[Replica]) -> bool:
    """Whether a series of a check over everything is about the scope: what is known to be another's is not."""
    if scope.model:
        return of_model(sample, replicas) in {"", scope.model}
    if scope.gpu and sample.labels.get("gpu"):
        name = f"{sample.labels.get('host', '')}:{sample.labels['gpu']}"
        return scope.gpu in {uuid_of(sample.labels), name}
    return True
