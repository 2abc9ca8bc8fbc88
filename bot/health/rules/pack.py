"""The alert pack: rules for the engines, exporters and objectives that somebody has, and no others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bot.health.promql import unmirrored
from bot.health.rules import signals as s
from bot.health.rules.cluster import cluster
from bot.health.rules.engines import ENGINES
from bot.health.rules.gpus import gpus
from bot.health.rules.limits import Limits
from bot.health.rules.lost import lost
from bot.health.rules.objectives import objectives, thresholds
from bot.health.rules.quality import canaries, drift, quality, spend
from bot.health.rules.rule import Group
from bot.health.rules.silence import silence
from bot.health.rules.users import engine, users
from bot.health.rules.watched import ENGINE_IDS, EXPORTERS, Scope

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
