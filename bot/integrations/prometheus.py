"""Step kind `promql.assert`, and the measurement that proves a step helped: one PromQL query against one expectation.

No data is never success: an empty answer, NaN and a query that Prometheus cannot evaluate are INCONCLUSIVE.

    [prometheus]
    url = "http://prometheus.monitoring:9090"
    token_env = "PROMETHEUS_TOKEN"             # optional, the name of an environment variable
    timeout = "5s"
"""

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bot.contracts import Permanent, Transient
from bot.incident.run import Reading, Sample
from bot.integrations.expectation import comparison
from bot.settings import Secret, Table, call_timeout

if TYPE_CHECKING:
    from requests import PreparedRequest

_STATUS = re.compile(r"HTTP Status Code ([0-9]{3}) \((.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[prometheus]`. `timeout` is in seconds."""

    url: str
    timeout: float = 5.0
    token: Secret = field(default_factory=lambda: Secret(""))

    @property
    def headers(self) -> dict[str, str] | None:
        """What goes with every request; None without a token."""
        return {"Authorization": f"Bearer {self.token.reveal()}"} if self.token else None

    @classmethod
    def from_toml(
        cls, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Settings | None, list[str]]":
        """The settings, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        faults: list[str] = []
        top = Table("", table, faults)
        url = top.url("url", required=True).rstrip("/")
        if urlsplit(url).username is not None or urlsplit(url).query:
            top.fault("url", "must hold neither a password nor a query; use token_env")
        timeout = call_timeout(top)
        name = top.text("token_env")
        token = Secret((secret(name) or "").strip() if name else "")
        if name and not token:
            top.fault("token_env", "names an environment variable that is not set; set it, or leave the key out")
        top.done()
        return (None if faults else cls(url, timeout, token)), faults


class Prometheus:
    """`bot.contracts.Check` by prometheus-api-client. Each call has a connection of its own: use from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, args: Mapping[str, Any]) -> Reading:
        """Measures the step's `query` against its `expect`."""
        return self.measure(str(args["query"]), str(args["expect"]))

    def measure(self, query: str, expect: str) -> Reading:
        """One measurement. On a vector every sample must hold; the text has the worst one and the threshold.

        Raises Transient when Prometheus cannot answer now, Permanent when it refuses the query or us.
        """
        comparison(expect)
        answer = self._query(query)
        if isinstance(answer, str):
            return Reading(Sample.INCONCLUSIVE, _text(answer, expect))
        return judge(answer, expect)

    def value(self, query: str) -> float | None:
        """A query's one number; None when there is none, or more than one. Raises as `measure` does."""
        answer = self._query(query)
        values = None if isinstance(answer, str) else _values(answer)
        return values[0] if values and len(values) == 1 and not math.isnan(values[0]) else None

    def _query(self, query: str) -> Any:
        """The result as Prometheus gives it, or a sentence when it could not be evaluated."""
        # Both take a tenth of a second to import, and the bot must accept its first webhook within two.
        import requests
        from prometheus_api_client import PrometheusConnect
        from prometheus_api_client.exceptions import PrometheusApiClientException

        from bot.punctual import Punctual

        settings = self._settings
        session = Punctual()
        session.max_redirects = 0
        session.headers["User-Agent"] = "FixFirst"
        if settings.token:
            # Not a plain header: requests lets an entry in ~/.netrc overwrite that.
            session.auth = partial(_authorise, settings.token)
        try:
            with PrometheusConnect(settings.url, session=session, timeout=settings.timeout) as client:
                return client.custom_query(query, params={"timeout": f"{settings.timeout:g}s"})
        except PrometheusApiClientException as error:
            return self._refused(error)
        except requests.exceptions.Timeout as error:
            raise Transient(f"{self._name} did not answer in {settings.timeout:g} s") from error
        except requests.exceptions.JSONDecodeError as error:
            raise Permanent(f"{self._name} did not answer with JSON; is that address really Prometheus?") from error
        except requests.exceptions.TooManyRedirects as error:
            raise Permanent(f"{self._name} redirects elsewhere; configure the final address") from error
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Transient(f"{self._name} cannot be reached") from error
        except (requests.exceptions.RequestException, KeyError, TypeError) as error:
            raise Permanent(f"{self._name} does not answer like Prometheus ({type(error).__name__})") from error

    @property
    def _name(self) -> str:
        return f"Prometheus ({urlsplit(self._settings.url).netloc})"

    def _refused(self, error: Exception) -> str:
        """The reason when the query could not be evaluated (422); raises for every other status.

        https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
        """
        found = _STATUS.match(str(error))
        status, said = (int(found[1]), _words(found[2])) if found else (0, "")
        if status == 422:
            return said or "the query cannot be evaluated"
        text = f"{self._name} answered {status}{f': {said}' if said else ''}"
        if status in (408, 429) or status >= 500:
            raise Transient(text) from error
        raise Permanent(text) from error


def _authorise(token: Secret, request: "PreparedRequest") -> "PreparedRequest":
    request.headers["Authorization"] = f"Bearer {token.reveal()}"
    return request


def judge(answer: Any, expect: str) -> Reading:
    """What a query's result (Prometheus' JSON: a vector or a scalar) says about an expectation."""
    wanted = comparison(expect)
    values = _values(answer)
    if values is None:
        return Reading(Sample.INCONCLUSIVE, _text("not one number for each series", expect))
    if wanted is None:
        return Reading(_presence(len(values), expect), _text(f"{len(values)} series", expect))
    if not values:
        return Reading(Sample.INCONCLUSIVE, _text("no data", expect))
    threshold = wanted.threshold
    failing = [value for value in values if not math.isnan(value) and not wanted.holds(value)]
    unknown = [value for value in values if math.isnan(value)]
    if failing:
        sample, worst = Sample.FAILS, max(failing, key=lambda value: abs(value - threshold))
    elif unknown:
        sample, worst = Sample.INCONCLUSIVE, math.nan
    else:
        sample, worst = Sample.HOLDS, min(values, key=lambda value: abs(value - threshold))
    shown = "NaN" if math.isnan(worst) else f"{worst:.4g}"
    if len(values) > 1:
        shown += f", the worst of {len(values)}"
    return Reading(sample, _text(shown, expect))


def _presence(count: int, expect: str) -> Sample:
    if expect == "empty":
        return Sample.FAILS if count else Sample.HOLDS
    return Sample.HOLDS if count else Sample.INCONCLUSIVE


def _values(answer: Any) -> list[float] | None:
    """One number for each series; None when the answer has another shape (a range, a histogram, text)."""
    try:
        if len(answer) == 2 and not isinstance(answer[0], Mapping):
            return [float(answer[1])]
        return [float(series["value"][1]) for series in answer]
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _text(shown: str, expect: str) -> str:
    return f"{shown} (want {expect})"


def _words(literal: str) -> str:
    """Prometheus' own reason. The client's exception holds the body only as the text of a Python bytes literal."""
    try:
        said = json.loads(ast.literal_eval(literal))
    except (ValueError, SyntaxError, TypeError):
        return ""
    error = said.get("error") if isinstance(said, dict) else None
    return " ".join(str(error).split())[:200] if error else ""
