"""Events and effects to JSON and back, by their type hints; free text goes out apart, so that it can be redacted.

The stored form is what the golden files in `tests/core/golden/` show. Reading is lenient on missing fields that have a
default (an event written before the field existed) and strict on everything else.
"""

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from bot.incident.effects import EFFECT_NAMES, EFFECTS, Effect
from bot.incident.events import EVENTS, FREE_TEXT, NAMES, Event
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.redact import redact, redact_all

Keep = Callable[[str], str]
"""Stores one free text and gives the digest that stands for it."""
Find = Callable[[str], str | None]
"""The text behind a digest; None when it was redacted."""

REDACTED = "[redacted]"


def canonical(data: Any) -> str:
    """JSON with one spelling only: sorted keys, no spaces. What hashes are made of."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def time_out(at: datetime) -> str:
    """UTC, microseconds, `Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_in(text: str) -> datetime:
    """What `time_out` wrote."""
    return datetime.fromisoformat(text)


Shape = tuple[tuple[Field[Any], Any, bool], ...]
_SHAPES: dict[Any, Shape] = {}


def _shape(kind: Any) -> Shape:
    """Per field: the field, its bare type, and whether it is free text."""
    if kind not in _SHAPES:
        _SHAPES[kind] = _read_shape(kind)
    return _SHAPES[kind]


def _read_shape(kind: Any) -> Shape:
    hints = get_type_hints(kind, include_extras=True)
    shape = []
    for item in fields(kind):
        hint = hints[item.name]
        free = get_origin(hint) is Annotated and FREE_TEXT in hint.__metadata__
        shape.append((item, get_args(hint)[0] if get_origin(hint) is Annotated else hint, free))
    return tuple(shape)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_out(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _typed(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _typed(next(arg for arg in get_args(hint) if arg is not type(None)), value)
    if origin is tuple:
        inner = get_args(hint)[0]
        return tuple(_typed(inner, item) for item in value)
    if hint is datetime:
        return time_in(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return value


def event_out(event: Event, keep: Keep) -> tuple[str, dict[str, Any]]:
    """The stored name and body of an event; each free text is redacted, handed to `keep` and replaced by its digest."""
    body: dict[str, Any] = {}
    for item, _, free in _shape(type(event)):
        value = _plain(getattr(event, item.name))
        if free and value:
            value = keep(redact(value) if isinstance(value, str) else canonical(redact_all(value)))
        body[item.name] = value
    return NAMES[type(event)], body


def event_in(name: str, body: Mapping[str, Any], find: Find) -> Event:
    """The event that `event_out` stored. ValueError for a name this version does not know, and for what has no body."""
    kind = EVENTS.get(name)
    if kind is None:
        raise ValueError(f"no event {name} is known")
    if not isinstance(body, Mapping):
        raise ValueError("it has no body")
    values: dict[str, Any] = {}
    for item, hint, free in _shape(kind):
        if item.name not in body:
            if item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"{name} lacks {item.name}")
            continue
        value = body[item.name]
        if free and value:
            text = find(value)
            if hint is str:
                value = REDACTED if text is None else text
            else:
                value = _typed(hint, json.loads(text)) if text is not None else _empty(hint)
            values[item.name] = value
        else:
            values[item.name] = _typed(hint, value)
    return kind(**values)


def digests_in(name: str, body: Mapping[str, Any]) -> list[str]:
    """The digests that stand for free text in a stored body; none in an event that this version does not know."""
    kind = EVENTS.get(name)
    return (
        [] if kind is None else [str(body[item.name]) for item, _, free in _shape(kind) if free and body.get(item.name)]
    )


def _empty(hint: Any) -> Any:
    return () if get_origin(hint) is tuple else {}


def effect_out(effect: Effect) -> tuple[str, dict[str, Any]]:
    """The stored name and body of an effect."""
    return EFFECT_NAMES[type(effect)], {
        item.name: _plain(getattr(effect, item.name)) for item, _, _ in _shape(type(effect))
    }


def effect_in(name: str, body: Mapping[str, Any]) -> Effect:
    """The effect that `effect_out` stored."""
    kind = EFFECTS[name]
    return kind(**{item.name: _typed(hint, body[item.name]) for item, hint, _ in _shape(kind) if item.name in body})


def actor_out(actor: Actor) -> dict[str, Any]:
    """An actor as JSON. Rights are not history and are not stored."""
    return {"kind": actor.kind.value, "id": actor.id, "name": actor.name}


def actor_in(data: Mapping[str, Any]) -> Actor:
    """The actor that `actor_out` stored, without rights."""
    return Actor(ActorKind(data["kind"]), data["id"], data["name"], frozenset[Right]())
