"""Asks Prometheus the questions of the catalogue: a few at a time, within one budget, and always with an answer."""

import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from bot.health import queries as q
from bot.health.checks import NO_METRIC, Check, catalogue
from bot.health.observation import ASKED, Observation, Sample, observe, unknown
from bot.health.promql import Settings, narrows, render
from bot.health.scope import Gpu, Inventory, Scope

WORKERS = 6


@dataclass(frozen=True, slots=True)
class _Question:
    check: Check
    query: str
    scope: Literal["model", "fleet"]
    model: str | None


@dataclass
class _Round:
    """One survey: once Prometheus could not be reached, the questions still in the queue need not wait for it too."""

    client: Any
    timeout: float
    reason: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def give_up(self, reason: str) -> str:
        """Remember the first reason, so that all unknowns say the same."""
        with self.lock:
            self.reason = self.reason or reason
            return self.reason


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
        model = (scope.model if scope else "") or None
        asked = catalogue(self.settings) if checks is None else checks
        questions = [self._question(check, model) for check in asked]
        client = self._client()
        round_ = _Round(client, self._timeout)
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="health")
        try:
            futures = [pool.submit(self._ask, round_, question) for question in questions]
            wait(futures, timeout=self._budget)
            return tuple(self._answer(question, future) for question, future in zip(questions, futures, strict=True))
        finally:
            # A query still on its way ends by its own time-out; nobody waits for it here.
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()

    def scope(self, word: str) -> Scope:
        """What a person means by `word`, read against what Prometheus knows; no word is the fleet, without a query."""
        return Scope.parse(word, self.inventory()) if word.strip() else Scope()

    def inventory(self) -> Inventory:
        """What Prometheus knows by name; empty when it does not answer."""
        client = self._client()
        round_ = _Round(client, self._timeout)
        try:
            samples = [sample for query in q.NAMES for sample in self._fetch(round_, query)]
        except (_Unreachable, _Useless):
            return Inventory()
        finally:
            client.close()
        labels = [sample.labels for sample in samples]
        gpus = {
            Gpu(one.get("host", ""), one["gpu"], one.get("UUID") or one.get("uuid", ""))
            for one in labels
            if one.get("gpu")
        }
        models = {one.get("model_name", "") for one in labels} - {""}
        nodes = {one.get("host", "") for one in labels} - {""}
        return Inventory(tuple(sorted(models)), tuple(sorted(nodes)), tuple(sorted(gpus)))

    def _client(self) -> Any:
        # The client imports requests, which a bot that only takes alerts should not pay for at its start.
        from prometheus_api_client import PrometheusConnect
        from urllib3.util.retry import Retry

        return PrometheusConnect(
            url=self._url, headers=self._headers, timeout=self._timeout, retry=Retry(total=0, read=False)
        )

    def ask(self, queries: Mapping[str, str]) -> Mapping[str, tuple[Sample, ...] | str]:
        """The answers by the names of the queries, asked side by side; a text says why there is none. Never raises."""
        client = self._client()
        round_ = _Round(client, self._timeout)
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="health")
        try:
            futures = {name: pool.submit(self._told, round_, query) for name, query in queries.items()}
            wait(futures.values(), timeout=self._budget)
            late = f"Prometheus at {self._name} gave no answer within {self._budget:g} s"
            return {
                name: future.result() if future.done() and not future.cancelled() else late
                for name, future in futures.items()
            }
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()

    def _told(self, round_: _Round, query: str) -> tuple[Sample, ...] | str:
        if round_.reason:
            return round_.reason
        try:
            return tuple(self._fetch(round_, query))
        except _Unreachable as error:
            return round_.give_up(str(error))
        except _Useless as error:
            return str(error)

    def _question(self, check: Check, model: str | None) -> _Question:
        sources = check.sources
        if model is not None and check.group != "hardware":
            sources = tuple(source for source in sources if narrows(source))
        union = " or ".join(f"({render(source, self.settings, model)})" for source in sources)
        limit = "bottomk" if check.rule == "below" else "topk"
        query = union if check.rule == "xid" else f"{limit}({ASKED}, {union})"
        scope: Literal["model", "fleet"] = "fleet" if model and not any(map(narrows, sources)) else "model"
        return _Question(check, query if sources else "", scope, model)

    def _answer(self, question: _Question, future: "Future[Observation]") -> Observation:
        if not future.done() or future.cancelled():
            reason = f"Prometheus at {self._name} gave no answer within {self._budget:g} s"
            return unknown(question.check, question.query, reason, question.scope)
        return future.result()

    def _ask(self, round_: _Round, question: _Question) -> Observation:
        def no(reason: str) -> Observation:
            return unknown(question.check, question.query, reason, question.scope)

        if not question.query:
            return no("cannot be told for one model")
        if round_.reason:
            return no(round_.reason)
        try:
            samples = self._fetch(round_, question.query)
        except _Unreachable as error:
            return no(round_.give_up(str(error)))
        except _Useless as error:
            return no(str(error))
        if question.scope == "fleet":
            # A GPU that is known to serve another model is not this one's trouble.
            samples = [
                sample for sample in samples if sample.labels.get("model_name", question.model) == question.model
            ]
        if not samples:
            nothing = question.check.missing
            return no(f"{nothing} of this model" if question.model and nothing == NO_METRIC else nothing)
        return observe(question.check, question.query, samples, self.settings.window, question.scope)

    def _fetch(self, round_: _Round, query: str) -> list[Sample]:
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests import exceptions

        # What requests and the client say holds the address, hence perhaps a password: never pass their words on.
        try:
            result = round_.client.custom_query(query, params={"timeout": f"{round_.timeout:g}"})
            return [_sample(series) for series in result]
        except exceptions.Timeout:
            raise _Unreachable(f"Prometheus at {self._name} did not answer within {round_.timeout:g} s") from None
        except exceptions.SSLError:
            raise _Unreachable(f"Prometheus at {self._name} shows a certificate we do not trust") from None
        except exceptions.ConnectionError:
            raise _Unreachable(f"Prometheus at {self._name} cannot be reached") from None
        except PrometheusApiClientException as error:
            status = re.match(r"HTTP Status Code (\d{3})", str(error))
            code = f"HTTP {status[1]}" if status else "an error"
            raise _Useless(f"Prometheus at {self._name} refused the query with {code}") from None
        except (exceptions.RequestException, LookupError, TypeError, ValueError, AttributeError):
            raise _Useless(f"what answers at {self._name} does not speak Prometheus' API") from None


class _Unreachable(Exception):
    """Nobody there: true for every question of the round."""


class _Useless(Exception):
    """Somebody there, but no answer to this question."""


def _sample(series: dict[str, Any]) -> Sample:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    return Sample(labels, float(series["value"][1]))
