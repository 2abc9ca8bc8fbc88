"""The JSON Schema of a runbook's two kinds of YAML, for editors: made of the very tables that the linter checks by.

It says no to nothing that the linter accepts when it knows no configuration. It cannot say everything: that a parameter
exists, a query can be read, `within` is longer than `for`.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from bot.incident.expect import EXPECT, WANTED
from bot.incident.run import OnFail, Risk
from bot.runbook import keys
from bot.runbook.fields import DURATION
from bot.runbook.keys import Keys
from bot.runbook.kinds import FIELD, KINDS, Arg, KindRule, costlier
from bot.runbook.parse import ALERT, FORMAT, ID, LABEL, MOST_RETRIES
from bot.runbook.template import OPENING, PARAM_NAME, PARAM_TYPES, PLACEHOLDER

Schema = dict[str, Any]

NOT_BLANK: Final = r"\S"
TEMPLATE: Final = rf"^(?:(?!{OPENING.pattern})[\s\S]|{PLACEHOLDER.pattern})*$"
"""Text in which a brace opens nothing but {{ name }}."""


def schema(kinds: Mapping[str, KindRule] = KINDS) -> Schema:
    """For both the front matter and the block of a step, told apart by the key `runbook`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A runbook of FixFirst",
        "description": "The front matter of a runbook, or the block of one of its steps.",
        "type": "object",
        "if": {"required": ["runbook"]},
        "then": {"$ref": "#/$defs/front_matter"},
        "else": {"$ref": "#/$defs/step"},
        "$defs": {"front_matter": _front_matter(), "step": _step(kinds)},
    }


def _front_matter() -> Schema:
    return _mapping(
        keys.FRONT_MATTER,
        runbook={"const": FORMAT},
        id=_text(ID),
        title=_text(NOT_BLANK, not_={"pattern": OPENING.pattern}),
        owner=_text(NOT_BLANK),
        alerts={"type": "array", "items": _text(ALERT)},
        params={"type": "object", "propertyNames": {"pattern": _whole(PARAM_NAME)}, "additionalProperties": _param()},
        lock=_templated(),
    )


def _param() -> Schema:
    fits = [
        _when({"type": {"const": name}}, {"properties": {"default": {"anyOf": [of_type, {"type": "integer"}]}}})
        for name, kind in PARAM_TYPES.items()
        for of_type in [_text(kind.pattern) | {"maxLength": kind.longest}]
    ]
    words = {name: f"{kind.says[0].upper()}{kind.says[1:]}" for name, kind in PARAM_TYPES.items()}
    told = _mapping(
        keys.PARAM,
        type=_one_of(words),
        default={"type": ["string", "integer"]},
        about=_text(NOT_BLANK),
        **{"from": _text(LABEL)},
    )
    return told | {"allOf": fits}


def _step(kinds: Mapping[str, KindRule]) -> Schema:
    told = _mapping(
        keys.STEP,
        id=_text(ID, not_={"const": "auto"}),
        do=_one_of({name: keys.ABOUT_KINDS.get(name, "") for name in kinds}),
        risk=_values(Risk),
        timeout=_duration(),
        retry={"type": "integer", "minimum": 0, "maximum": MOST_RETRIES},
        verify=_verify(),
        undo={"anyOf": [_text(ID), _mapping(keys.UNDO, none=_templated())]},
        lease=_duration(),
        on_fail=_values(OnFail) | {"default": OnFail.STOP.value},
        **{"with": {"type": "object"}},
    )
    no_way_back = {"properties": {"lease": False, "on_fail": {"not": {"const": OnFail.UNDO.value}}}}
    way_back = _when({"undo": {"type": "string"}}, {}) | {"else": no_way_back}
    return told | {"allOf": [*(_kind(name, rule) for name, rule in kinds.items()), way_back]}


def _kind(name: str, rule: KindRule) -> Schema:
    """What a step of this kind must and may say."""
    given = {key: _arg(what) for key, what in {**rule.args, **rule.optional}.items()}
    further = _arg(rule.more) if rule.more else False
    inside = {"type": "object", "properties": given, "required": list(rule.args), "additionalProperties": further}
    raised = [risk.value for risk in Risk if costlier(risk, rule.risk) is risk]
    then: Schema = {"properties": {"with": inside, "risk": {"enum": raised}}}
    proof = {"required": ["verify", "undo"]}
    if rule.may_read:
        # Only its target knows; lint with a configuration asks it.
        return _when({"do": {"const": name}}, then | {"required": ["with"]})
    if rule.args:
        then["required"] = ["with"]
    if rule.risk is Risk.READ:
        raising = {"risk": {"enum": [risk for risk in raised if risk != Risk.READ.value]}}
        then["allOf"] = [
            _when(raising, proof) | {"else": {"properties": dict.fromkeys(("verify", "undo", "lease"), False)}}
        ]
    else:
        then["allOf"] = [proof]
    return _when({"do": {"const": name}}, then)


def _verify() -> Schema:
    return _mapping(
        keys.VERIFY,
        query=_templated(),
        expect=_text(EXPECT),
        within=_duration(),
        **{"for": _duration()},
    )


def _arg(what: Arg) -> Schema:
    return {
        Arg.TEXT: {"anyOf": [{"type": "string", "minLength": 1, "pattern": TEMPLATE}, {"type": "integer"}]},
        Arg.PROMQL: _templated(),
        Arg.EXPECT: _text(EXPECT),
        Arg.FIELD: _text(FIELD),
        Arg.TARGET: {"type": "string", "minLength": 1, "pattern": "^[^{]*$"},
        Arg.PERCENT: {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 100}, _text(PLACEHOLDER)]},
        Arg.SPAN: _duration(),
        Arg.REPLICAS: {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 9999},
                _text(re.compile(rf"[+-]?(?:[0-9]{{1,4}}|{PLACEHOLDER.pattern})")),
            ]
        },
        Arg.WANTED: _text(WANTED),
    }[what]


def _mapping(known: Keys, **properties: Schema) -> Schema:
    """A mapping with exactly these keys, each with its words. KeyError where a key of the table is not described."""
    described = {name: properties.pop(name) | {"description": key.about} for name, key in known.items()}
    assert not properties, f"not in the table: {properties}"
    return {
        "type": "object",
        "properties": described,
        "required": list(keys.required(known)),
        "additionalProperties": False,
    }


def _when(properties: Schema, then: Schema) -> Schema:
    """`then` holds where all these properties are there and as given."""
    return {"if": {"properties": properties, "required": list(properties)}, "then": then}


def _whole(pattern: re.Pattern[str]) -> str:
    return f"^(?:{pattern.pattern})$"


def _text(pattern: re.Pattern[str] | str, *, not_: Schema | None = None) -> Schema:
    """Text that a compiled pattern matches as a whole, or in which a plain one is found."""
    found = pattern if isinstance(pattern, str) else _whole(pattern)
    return {"type": "string", "pattern": found} | ({"not": not_} if not_ else {})


def _templated() -> Schema:
    return {"type": "string", "allOf": [{"pattern": NOT_BLANK}, {"pattern": TEMPLATE}]}


def _duration() -> Schema:
    """As the linter's, but for its upper bound, which no pattern says well."""
    return _text(DURATION, not_={"pattern": "^[0dhms]*$"}) | {"examples": ["30s", "5m", "1h30m"]}


def _values(options: type[StrEnum]) -> Schema:
    return {"enum": [option.value for option in options]}


def _one_of(words: Mapping[str, str]) -> Schema:
    """An enum; `enumDescriptions` is what editors show beside each, and no validator minds it."""
    return {"enum": list(words), "enumDescriptions": list(_sentences(words.values()))}


def _sentences(words: Iterable[str]) -> Iterable[str]:
    return (word if word.endswith(".") else f"{word}." for word in words)
