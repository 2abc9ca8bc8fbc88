"""Values put into the places that an endpoint leaves open: parts of a URL, and JSON."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from bot.contracts import Permanent
from bot.integrations.http.endpoint import PLACEHOLDER


def fill(value: Any, values: Mapping[str, Any]) -> Any:
    """JSON with its placeholders filled; a string that is one placeholder becomes the value itself, type and all."""
    if isinstance(value, Mapping):
        return {name: fill(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    if whole := PLACEHOLDER.fullmatch(value):
        return values[whole[1]]
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), value)


def fill_url(template: str, values: Mapping[str, Any]) -> str:
    """The URL, each value percent-encoded: as one segment of the path, or as one value of the query."""
    url = PLACEHOLDER.sub(lambda found: _part(found[1], str(values[found[1]])), template)
    was, now = urlsplit(template), urlsplit(url)
    # Cannot happen while _part encodes everything; it is the promise on which the token's safety rests.
    if (*was[:2], was.path.count("/"), was.query.count("&")) != (*now[:2], now.path.count("/"), now.query.count("&")):
        raise Permanent(f"the values would change the address to {url[:100]!r}")
    return url


def _part(name: str, value: str) -> str:
    # Servers and proxies that decode %2F before they resolve dots would walk up from "a/../b".
    if not value or not value.isprintable() or {".", ".."} & set(re.split(r"[/\\]", value)):
        raise Permanent(f"{name} cannot be {value[:40]!r} in a URL")
    return quote(value, safe="")


def listed(names: Iterable[str]) -> str:
    """Names for people, in order."""
    return ", ".join(sorted(names)) or "nothing"
