"""What there is to watch: the engines, exporters and objectives that somebody has. Small, for every start reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bot.health.promql import Settings
from bot.health.rules.engines import BY_ID
from bot.health.slo import STANDARD, Objective

EXPORTERS: Final[Mapping[str, str]] = {
    "dcgm": "NVIDIA's DCGM exporter",
    "ksm": "kube-state-metrics",
    "litellm": "the LiteLLM proxy",
    "drift": "a drift job that keeps our contract",
    "canary": "the bot's own canary prompts",
}
ENGINE_IDS: Final = tuple(BY_ID)


@dataclass(frozen=True, slots=True)
class Scope:
    """What there is to watch. whole_answer: seconds in which a whole answer is promised. pages_url: where people read
    runbooks, "" for nowhere. canary_every: seconds between two rounds of the canary that runs most seldom."""

    engines: tuple[str, ...] = ("vllm",)
    exporters: tuple[str, ...] = ("dcgm", "ksm")
    promised: tuple[Objective, ...] = ()
    health: Settings = field(default_factory=Settings)
    whole_answer: float = 30.0
    pages_url: str = ""
    canary_every: float = 600.0

    @property
    def kept(self) -> tuple[Objective, ...]:
        """The objectives to keep: those promised, else the standard one."""
        return self.promised or (STANDARD,)
