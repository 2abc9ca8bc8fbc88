"""`{{ name }}`, and nothing else: the whole template language of a runbook, and the types a value must fit first.

No expression is ever evaluated and nothing is rendered twice, so a label value cannot become a template. The syntax is
a strict subset of Jinja's.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

OPENING = re.compile(r"\{[{%#]")
PLACEHOLDER = re.compile(r"\{\{[ ]*([a-z][a-z0-9_]{0,39})[ ]*\}\}")
PARAM_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class ParamType:
    """What a value must look like from its first character to its last; `says` completes "is not ..."."""

    pattern: re.Pattern[str]
    longest: int
    says: str


_PART = r"[A-Za-z0-9][A-Za-z0-9._:@+-]*"
_DNS = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"

# The limits of k8s_name and label_value are those of Kubernetes:
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
PARAM_TYPES: Mapping[str, ParamType] = {
    "int": ParamType(re.compile(r"-?(?:0|[1-9][0-9]*)"), 18, "a whole number"),
    "k8s_name": ParamType(
        re.compile(rf"{_DNS}(?:\.{_DNS})*"), 253, "a Kubernetes name (lower-case letters, digits, - and .; at most 253)"
    ),
    "label_value": ParamType(
        re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
        63,
        "a label value (letters, digits, - _ . inside; at most 63)",
    ),
    # As Hugging Face and vLLM name models: parts joined by /, none of which can be "." or "..".
    "model_name": ParamType(
        re.compile(rf"{_PART}(?:/{_PART})*"), 200, "a model name (letters, digits, . _ : @ + - and /; at most 200)"
    ),
}


def refusal(type_name: str, value: str) -> str | None:
    """Why `value` does not fit the type, as "... is not ..."; None when it fits. KeyError for an unknown type."""
    wanted = PARAM_TYPES[type_name]
    if len(value) <= wanted.longest and wanted.pattern.fullmatch(value):
        return None
    shown = value if len(value) <= 40 else value[:39] + "…"
    return f"{shown!r} is not {wanted.says}"


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """Splits a template into ("text", ...), ("name", parameter) and ("wrong", what stands there), in order."""
    position = 0
    while opening := OPENING.search(text, position):
        if opening.start() > position:
            yield "text", text[position : opening.start()]
        if placeholder := PLACEHOLDER.match(text, opening.start()):
            yield "name", placeholder[1]
            position = placeholder.end()
        else:
            excerpt = text[opening.start() : opening.start() + 20].partition("\n")[0]
            yield "wrong", excerpt
            position = opening.end()
    if position < len(text):
        yield "text", text[position:]


def render(text: str, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """Fills the placeholders, each value through `escape`. KeyError for a name without a value.

    ValueError when the text is not within the grammar: lint is there to say so earlier, with a line.
    """
    out: list[str] = []
    for sort, content in pieces(text):
        if sort == "wrong":
            raise ValueError(f"only {{{{ name }}}} is allowed, found {content!r}")
        out.append(escape(values[content]) if sort == "name" else content)
    return "".join(out)
