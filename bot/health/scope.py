"""What a health report is about: the fleet, one model, one node or one GPU; and how a person's word for it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UUID_DIGITS = 4
"""So many characters after `GPU-` make a UUID's beginning: fewer are a typing error more often than a GPU."""


@dataclass(frozen=True, slots=True, order=True)
class Gpu:
    """One GPU as the exporter names it. index: its number on the node. pod: `namespace/pod` that holds it, or ""."""

    node: str
    index: str
    uuid: str
    pod: str = ""

    @property
    def name(self) -> str:
        """`node-7:3`, which is also how a person asks for it."""
        return f"{self.node}:{self.index}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What Prometheus knows by name, each sorted; all empty when it could not be asked."""

    models: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """At most one of the three is set; none means the fleet. gpu: a UUID, or `node:index` where no UUID is known."""

    model: str = ""
    node: str = ""
    gpu: str = ""

    @classmethod
    def parse(cls, text: str, known: Inventory) -> "Scope":
        """A model, a node, `node:index` or the beginning of a GPU's UUID, whichever Prometheus knows.

        A word it does not know is taken as a model: its report then says that there is no such metric, which is a
        better answer than a refusal while Prometheus does not answer.
        """
        word = text.strip()
        if not word or word in known.models:
            return cls(model=word)
        if word in known.nodes:
            return cls(node=word)
        node, colon, index = word.rpartition(":")
        if colon and node in known.nodes and index.isdigit():
            return cls(gpu=next((gpu.uuid for gpu in known.gpus if gpu.name == word and gpu.uuid), word))
        digits = word.upper().removeprefix("GPU-").removeprefix("MIG-")
        if len(digits) >= UUID_DIGITS:
            found = {gpu.uuid for gpu in known.gpus if gpu.uuid.upper().partition("-")[2].startswith(digits)}
            if len(found) == 1:
                return cls(gpu=found.pop())
        folded = [name for name in (*known.models, *known.nodes) if name.casefold() == word.casefold()]
        if folded:
            return cls(model=folded[0]) if folded[0] in known.models else cls(node=folded[0])
        return cls(model=word)

    @property
    def name(self) -> str:
        """As a headline has it: `llama-70b`, `node-7`, `GPU-5fd4`, or `fleet`."""
        return self.model or self.node or self.gpu or "fleet"

    @property
    def whole(self) -> bool:
        """Whether it is the fleet."""
        return not (self.model or self.node or self.gpu)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"model": self.model, "node": self.node, "gpu": self.gpu}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scope":
        """What `to_dict` wrote."""
        return cls(**data)


FLEET = Scope()
