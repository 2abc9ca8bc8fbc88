"""Turns a query template into PromQL: windows from the settings, label matchers from whatever a person typed."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# `<name>` cannot occur in PromQL: `<` is an operator there and needs an operand on its right that no `>` may follow.
_SLOT = re.compile(r"<([a-z_]+)>")
_MODEL_SLOTS = frozenset({"model_name", "model", "owner_name", "deployment", "service", "job"})
_SERVED_SLOTS = _MODEL_SLOTS - {"owner_name"}
MIRRORED = ".*([Ss]hadow|[Mm]irror).*"
"""What the label of a server says that only gets copies of users' requests; in PromQL's dialect and in Python's."""
DAY = 86_400
_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"')
_BRACES = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAME = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "on", "ignoring", "by", "without", "group_left", "Inf"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a check becomes a warning, and where it is critical; None leaves the standard in place."""

    warn: float | None = None
    crit: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The yardsticks of the report.

    window: seconds a rate looks back; at least two scrape intervals. memory: seconds for which something that has gone
    is still missed, and which are held against now; how long a day is depends on neither. sla_seconds: first token
    expected within; keep it on an edge of the engine's histogram (vLLM, SGLang: 0.5, 0.75, 1, 2.5, 5, 7.5, 10).
    change_seconds: how long a deploy counts as recent, whatever the window. version_labels: what tells two versions of
    a model apart, the first that does. mirror_label: where servers say that they only get mirrored traffic; "" for
    nowhere. limits: by check id, instead of the standard ones.
    """

    window: int = 300
    memory: int = 3600
    sla_seconds: float = 2.5
    change_seconds: int = 1800
    version_labels: tuple[str, ...] = ("model_version", "version", "revision", "variant", "track")
    mirror_label: str = "track"
    limits: Mapping[str, Limits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.window < 1 or self.memory < 1 or self.sla_seconds <= 0 or self.change_seconds < 1:
            raise ValueError("window, memory, sla_seconds and change_seconds must be positive")


def quote(value: str) -> str:
    r"""`value` as a PromQL string literal, whatever is in it.

    PromQL reads Go's escapes, takes no raw newline, and refuses U+FFFD in the raw; everything that is not plain
    printable ASCII is therefore written as an escape. A lone surrogate is no character and can be in no label; it
    becomes U+FFFD, so that the matcher finds nothing instead of breaking the query.
    """
    out = []
    for char in value:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif 0x20 <= code < 0x7F:
            out.append(char)
        elif 0xD800 <= code <= 0xDFFF:
            out.append(r"\ufffd")
        else:
            out.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def edge(seconds: float) -> str:
    """A regular expression for one bucket edge: clients write 5 s as `5` or as `5.0`."""
    text = f"{seconds:g}".replace(".", r"\\.")
    return text if "." in text else rf"{text}(\\.0)?"


def narrows(template: str) -> bool:
    """Whether the template can be asked about one model."""
    return any(slot in _MODEL_SLOTS or slot == "served" for slot in _SLOT.findall(template))


def names(template: str) -> frozenset[str]:
    """The metrics it mentions by name. A selector by a pattern of names has none."""
    text = _BRACES.sub("", _STRINGS.sub('""', template))
    text = _GROUPING.sub("", _SLOT.sub("", text))
    return frozenset(_NAME.findall(text)) - _WORDS


def answerable(sources: Sequence[str], known: Collection[str] | None) -> tuple[str, ...]:
    """Those of the sources that mention a metric that is there; all when nobody knows what is."""
    return tuple(source for source in sources if known is None or not names(source).isdisjoint(known))


def expand(template: str, parts: Mapping[str, str]) -> str:
    """`template` with these slots filled by templates."""
    return _SLOT.sub(lambda match: parts.get(match[1], match[0]), template)


def _durations(settings: Settings) -> Iterator[tuple[str, str]]:
    window = settings.window
    yield "window", f"{window}s"
    yield "memory", f"{settings.memory}s"
    yield "day", f"{DAY}s"
    # Two minutes without a token are a hang; at a scrape every half minute that is four samples.
    yield "short", f"{max(2 * window // 5, 1)}s"
    yield "quarter", f"{3 * window}s"
    yield "quarter_s", f"{3 * window}"
    yield "restarts", f"{3 * window}s"
    yield "slowed", f"{2 * window}s"
    yield "minute", f"{max(window // 5, 1)}s"


def render(template: str, settings: Settings, models: Sequence[str] = ()) -> str:
    """`template` with its slots filled, in one pass: what a person typed is never read as a template again.

    `<window>`, `<memory>`, `<day>` and their like become durations, `<sla>` and `<sla_ms>` a bucket edge;
    `<model_name>`, `<model>`, `<owner_name>`, `<deployment>`, `<service>` and `<job>` become a matcher on that label,
    or nothing without models; all but `<owner_name>` also leave mirrored traffic out. A matcher's slot stands last
    between the braces, where PromQL permits the comma before it.
    """
    values = dict(_durations(settings))
    values |= {"sla": edge(settings.sla_seconds), "sla_ms": edge(1000 * settings.sla_seconds)}

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in _SERVED_SLOTS:
            return ",".join(part for part in (matcher(slot, models), unmirrored(settings)) if part)
        if slot in _MODEL_SLOTS:
            return matcher(slot, models)
        return values[slot]

    return _SLOT.sub(fill, " ".join(template.split()))


def unmirrored(settings: Settings) -> str:
    """A matcher that leaves mirrored traffic out, or nothing. Nobody waits for the answers to it, so it is no part of
    how users are."""
    return f"{settings.mirror_label}!~{quote(MIRRORED)}" if settings.mirror_label else ""


def matcher(label: str, values: Sequence[str]) -> str:
    """A matcher for one of `values`; nothing without any."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{label}={quote(values[0])}"
    return f"{label}=~{quote('|'.join(re.escape(value) for value in values))}"
