"""Turns a query template into PromQL: windows from the settings, label matchers from whatever a person typed."""

import re
from dataclasses import dataclass

# `<name>` cannot occur in PromQL: `<` is an operator there and needs an operand on its right that no `>` may follow.
_SLOT = re.compile(r"<([a-z_]+)>")
_MODEL_SLOTS = frozenset({"model_name", "model", "owner_name"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The yardsticks of the report.

    window: seconds a rate looks back; at least two scrape intervals. sla_seconds: first token expected within; keep it
    on an edge of the engine's histogram (vLLM, SGLang: 0.5, 0.75, 1, 2.5, 5, 7.5, 10). change_seconds: how long a
    deploy counts as recent, whatever the window. version_labels: what tells two versions of a model apart, the first
    that does.
    """

    window: int = 300
    sla_seconds: float = 2.5
    change_seconds: int = 1800
    version_labels: tuple[str, ...] = ("model_version", "version", "revision", "variant", "track")

    def __post_init__(self) -> None:
        if self.window < 1 or self.sla_seconds <= 0 or self.change_seconds < 1:
            raise ValueError("window, sla_seconds and change_seconds must be positive")

    @property
    def memory(self) -> int:
        """Seconds for which something that has gone is still missed: an hour at the default window."""
        return 12 * self.window


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
    return any(slot in _MODEL_SLOTS for slot in _SLOT.findall(template))


def render(template: str, settings: Settings, model: str | None) -> str:
    """`template` with its slots filled, in one pass: what a person typed is never read as a template again.

    `<window>`, `<memory>` and `<day>` become durations, `<sla>` a bucket edge; `<model_name>`, `<model>` and
    `<owner_name>` become a matcher on that label, or nothing without a model. A matcher's slot stands last between
    the braces, where PromQL permits the comma before it.
    """
    values = {
        "window": f"{settings.window}s",
        "memory": f"{settings.memory}s",
        "day": f"{24 * settings.memory}s",
        "sla": edge(settings.sla_seconds),
    }

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in _MODEL_SLOTS:
            return "" if model is None else f"{slot}={quote(model)}"
        return values[slot]

    return _SLOT.sub(fill, " ".join(template.split()))
