"""`POST /hooks/change`: what a pipeline, or whoever changes something, tells of it. The format is our own.

docs/changes.md shows it with the lines for GitHub Actions, GitLab CI and Argo CD.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from bot.contracts import Malformed
from bot.incident.change import Change, ChangeKind, Setting
from bot.incident.redact import BLANK, redact, redact_named
from bot.incident.redact_config import leaves, redact_config
from bot.intake.body import read_json

SOURCE: Final = "change"
_LONGEST: Final[Mapping[str, int]] = {
    "id": 200,
    "title": 300,
    "service": 200,
    "model": 200,
    "environment": 80,
    "workload": 300,
    "revision": 200,
    "previous": 200,
    "image": 500,
    "previous_image": 500,
    "by": 120,
    "url": 1_000,
}
"""Characters of each text; what is longer is refused, so that nobody finds half a revision on a card."""
_KNOWN: Final = (*_LONGEST, "kind", "at", "config")
MOST_SETTINGS: Final = 200
LONGEST_KEY: Final = 200
LONGEST_VALUE: Final = 500
LONGEST_DIFF: Final = 20_000
"""Longer values and texts are cut: the beginning tells what it is about, and the pipeline has the rest."""
DEEPEST: Final = 8
AHEAD: Final = timedelta(minutes=5)
"""How far the clock of a pipeline may go before ours."""
REPEATED_WITHIN_S: Final = 600
"""Words without an id and a time are the same change when they come again in the same ten minutes."""


def parse(body: bytes, now: datetime) -> Change:
    """The change, its texts redacted. Raises Malformed with the field that is wrong. `now` is when it came in."""
    data = read_json(body)
    if not isinstance(data, dict):
        raise Malformed("the body must be a JSON object")
    unknown = [name for name in data if name not in _KNOWN]
    if unknown:
        raise Malformed(f"{redact(repr(unknown[0]))[:80]} is not a field; known are {', '.join(_KNOWN)}")
    texts: dict[str, Any] = {name: _text(data, name) for name in _LONGEST}
    kind = _kind(data.get("kind", ChangeKind.DEPLOY.value))
    if kind is not ChangeKind.INFRA and not (texts["service"] or texts["model"]):
        raise Malformed("service and model are both missing: one of them says whom the change concerns")
    if texts["url"] and not _is_web(texts["url"]):
        raise Malformed("url must be an address that begins with https:// or http://")
    at = _time(data.get("at"), now)
    settings, diff = _config(data.get("config"))
    identity = texts.pop("id") or _digest(data, now)
    return Change(identity, SOURCE, at, kind, **texts, settings=settings, diff=diff)


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:  # brackets that hold no address
        return False


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name} must be a text")
    text = redact_named(name, value.strip())
    if len(text) > _LONGEST[name]:
        raise Malformed(f"{name} has {len(text)} characters; at most {_LONGEST[name]} are accepted")
    return text


def _kind(value: Any) -> ChangeKind:
    if value not in tuple(ChangeKind):
        raise Malformed(f"kind must be one of {', '.join(ChangeKind)}")
    return ChangeKind(value)


def _time(value: Any, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed("at must be a time such as 2026-11-21T03:04:05Z") from error
    if at > now + AHEAD:
        raise Malformed(f"at is {at:%Y-%m-%dT%H:%M:%SZ}, which is still to come; is it in UTC?")
    return at


def _config(value: Any) -> tuple[tuple[Setting, ...], str]:
    """The keys that differ, or the text of a diff."""
    if value is None:
        return (), ""
    if isinstance(value, str):
        return (), redact_config(value[: 2 * LONGEST_DIFF])[:LONGEST_DIFF]
    if not isinstance(value, dict) or set(value) - {"before", "after"}:
        raise Malformed('config must be the text of a diff, or {"before": {...}, "after": {...}}')
    before, after = (_flat(value.get(side) or {}, f"config.{side}") for side in ("before", "after"))
    keys = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if len(keys) > MOST_SETTINGS:
        raise Malformed(f"config differs in {len(keys)} keys; at most {MOST_SETTINGS} are accepted")
    return tuple(Setting(redact(key), *(_value(side.get(key)) for side in (before, after))) for key in keys), ""


def _flat(value: Any, where: str) -> dict[str, tuple[Any, bool]]:
    """Nested tables and lists by their path: `engine.max_num_seqs`; with each value, whether it is a secret."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} must be an object")
    if _is_deeper(value, DEEPEST):
        raise Malformed(f"{where} is nested more than {DEEPEST} deep")
    flat: dict[str, tuple[Any, bool]] = {}
    for path, inner, secret in leaves(value):
        if not path:
            continue  # an empty table
        if len(path) > LONGEST_KEY:
            raise Malformed(f"{where} has a key of {len(path)} characters; at most {LONGEST_KEY} are accepted")
        flat[path] = (inner, secret)
    return flat


def _is_deeper(value: dict[str, Any] | list[Any], most: int) -> bool:
    """Whether more than so many tables and lists stand in each other below this one."""
    inner = value.values() if isinstance(value, dict) else value
    return any(most == 0 or _is_deeper(one, most - 1) for one in inner if isinstance(one, dict | list) and one)


def _value(known: tuple[Any, bool] | None) -> str:
    """As people write it; a secret is known by what it looks like, and by every name on the way to it."""
    value, secret = known or (None, False)
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return BLANK if secret else redact_config(text[: 8 * LONGEST_VALUE])[:LONGEST_VALUE]


def _digest(data: Mapping[str, Any], now: datetime) -> str:
    """A name for what has none; where no time is given either, one that holds for a while."""
    said = dict(data)
    said.setdefault("at", int(now.timestamp()) // REPEATED_WITHIN_S)
    plain = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(plain.encode('utf-8', 'replace')).hexdigest()[:40]}"
