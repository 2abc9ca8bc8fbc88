"""The alert pack: rules for the engines, exporters and objectives that somebody has, and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bot.health.promql import Settings, unmirrored
from bot.health.rules import signals as s
from bot.health.rules.cluster import cluster
from bot.health.rules.engines import BY_ID, ENGINES
from bot.health.rules.gpus import gpus
from bot.health.rules.limits import Limits
from bot.health.rules.lost import lost
from bot.health.rules.objectives import objectives, thresholds
from bot.health.rules.quality import canaries, drift, quality, spend
from bot.health.rules.rule import Group
from bot.health.rules.silence import silence
from bot.health.rules.users import engine, users
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


EVERYTHING: Final = Scope(engines=ENGINE_IDS, exporters=tuple(EXPORTERS))


def pack(scope: Scope) -> tuple[Group, ...]:
    """The groups, in the order in which they should be evaluated; without an objective, the standard one is kept."""
    only = unmirrored(scope.health)
    engines = [replace(one, only=only) for one in ENGINES if one.id in scope.engines]
    limits = Limits(scope.health, scope.whole_answer)
    promised = scope.kept
    groups: list[Group] = []
    if engines:
        first = [limits.first_token, *thresholds(promised, "ttft")]
        whole = [limits.whole_answer, *thresholds(promised, "e2e")]
        groups += [s.signals(engines, first, whole), users(engines, limits), engine(engines, limits)]
        groups += [*objectives(promised, engines), quality(engines, limits)]
    if "ksm" in scope.exporters:
        groups.append(cluster(limits))
    if "dcgm" in scope.exporters:
        kubernetes = "ksm" in scope.exporters
        groups += [lost(kubernetes), gpus(kubernetes)]
    if "drift" in scope.exporters:
        groups.append(drift(limits))
    if "canary" in scope.exporters:
        groups.append(canaries(scope.canary_every))
    if "litellm" in scope.exporters:
        groups.append(spend(limits))
    groups.append(silence(engines, dcgm="dcgm" in scope.exporters, kubernetes="ksm" in scope.exporters))
    return tuple(group for group in groups if group.rules)


def catalogue(groups: Sequence[Group]) -> str:
    """The alerts as a Markdown table: each name once, in the order of the pack."""
    rows: dict[str, str] = {}
    for group in groups:
        for alert in group.alerts:
            runbook = f"`{alert.runbook}`" if alert.runbook else "none of ours"
            wait = "at once" if alert.wait == "0s" else alert.wait
            rows.setdefault(
                alert.name, f"| `{alert.name}` | {alert.severity} | {wait} | {alert.description} | {runbook} |"
            )
    head = "| Alert | Severity | After | What it means | Runbook |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows.values()) + "\n"
