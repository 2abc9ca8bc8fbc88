"""Step kind `http.get`: asks a named endpoint, and holds one field of its answer against what is expected of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from bot.contracts import Permanent
from bot.incident.redact import redact_all
from bot.incident.run import Reading, Sample
from bot.integrations.expectation import judged
from bot.integrations.http.endpoint import STEP_KEYS, Endpoint
from bot.integrations.http.fill import fill_url, listed
from bot.integrations.wire import Call

LONGEST_SHOWN: Final = 500
"""Characters of an answer that people are shown."""
_MISSING: Final = object()


class Get:
    """`bot.contracts.Check` over the named endpoints that only read."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = {name: endpoint for name, endpoint in endpoints.items() if endpoint.reads}

    def check(self, args: Mapping[str, Any]) -> Reading:
        """Asks once. Without an expectation any JSON object will do; a field that is not there is INCONCLUSIVE."""
        name = str(args.get("endpoint"))
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise Permanent(f"no endpoint '{name}' that only reads is configured; known: {listed(self._endpoints)}")
        given = {key: value for key, value in args.items() if key not in STEP_KEYS}
        if given.keys() != endpoint.needs:
            raise Permanent(f"the endpoint '{name}' takes {listed(endpoint.needs)}, the step gives {listed(given)}")
        if ("path" in args) != ("expect" in args):
            raise Permanent("path and expect belong together: name both, or neither")
        answer = Call(endpoint).look(fill_url(endpoint.url, given))
        if "path" not in args:
            return Reading(Sample.HOLDS, f"answered {_shown(redact_all(answer))}")
        path, expect = str(args["path"]), str(args["expect"])
        value = _field(answer, path)
        if value is _MISSING:
            return Reading(Sample.INCONCLUSIVE, f"answered without the field {path} (want {expect})")
        told = _shown(redact_all({path.rpartition(".")[2]: value}).popitem()[1])
        return Reading(judged(value, expect), f"{path} is {told} (want {expect})")


def _field(answer: Any, path: str) -> Any:
    """The value at a dotted path of names, and of numbers from 0 on into lists."""
    for part in path.split("."):
        if isinstance(answer, list) and part.isascii() and part.isdecimal() and int(part) < len(answer):
            answer = answer[int(part)]
        elif isinstance(answer, Mapping) and part in answer:
            answer = answer[part]
        else:
            return _MISSING
    return answer


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
