"""Reads what was promised to users: `[[slo]]`, and `[rules]`, which says what there is to watch it by."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.health.promql import Settings
from bot.health.rules.watched import ENGINE_IDS, EXPORTERS, Scope
from bot.health.slo import NAME, SLIS, Objective
from bot.settings import Table, shown

WINDOWS = ("7d", "28d", "30d")
LATENCIES = ("ttft", "e2e")


def objectives(tables: Sequence[Mapping[str, Any]], faults: list[str]) -> tuple[Objective, ...]:
    """The `[[slo]]` tables; every fault is noted with its key."""
    found: dict[str, Objective] = {}
    for number, values in enumerate(tables, 1):
        table = Table(f"slo[{number}]", values, faults)
        one = _objective(table)
        if one.name in found:
            table.fault("name", f"is {one.name}, as another objective's; give each its own")
        found[one.name] = one
        table.done()
    return tuple(found.values())


def _objective(table: Table) -> Objective:
    standard = Objective("")
    name = table.text("name", required=True)
    if name and not NAME.fullmatch(name):
        table.fault("name", f"is {shown(name)}, but must be 1 to 40 small letters, digits and -")
    errors, good, total = (table.text(key) for key in ("errors", "good", "total"))
    sli = table.choice("sli", "own" if total else "availability", SLIS)
    if sli == "own" and (not total or bool(errors) == bool(good)):
        table.fault(
            "total", "must stand beside either errors or good: PromQL of what is counted a second, over 5 minutes"
        )
    if sli != "own":
        for key in ("errors", "good", "total"):
            if table.values.get(key):
                table.fault(key, f'is for an SLI of your own; leave it out, or set sli = "own" instead of "{sli}"')
    for key, query in (("errors", errors), ("good", good), ("total", total)):
        fault = query and unreadable(query)
        if fault:
            table.fault(key, f"is no PromQL: {fault}")
    within = table.number("within_seconds", 0.0, low=0.0, high=7200)
    if sli in LATENCIES and not within:
        table.fault(
            "within_seconds", f"is missing; an objective of {sli} needs it, on an edge of the engine's histogram"
        )
    return Objective(
        name=name,
        sli=sli,  # type: ignore[arg-type]
        target=table.number("target", standard.target, low=0.5, high=0.99999),
        days=int(table.choice("window", f"{standard.days}d", WINDOWS).removesuffix("d")),
        service=table.text("service"),
        model=table.text("model"),
        within=within,
        errors=errors,
        good=good,
        total=total,
        minimum=table.whole("minimum_requests", standard.minimum, low=0, high=1_000_000),
    )


def unreadable(query: str) -> str:
    """What a parser says against it, or ""."""
    import promql_parser

    try:
        promql_parser.parse(query)
    except ValueError as error:
        return str(error).partition("\n")[0][:200]
    return ""


def scope(
    table: Table, promised: tuple[Objective, ...], health: Settings, pages_url: str, pauses: Iterable[float]
) -> Scope:
    """The `[rules]` table: what the alert pack is written for. pauses: seconds between two rounds, of each canary."""
    standard = Scope()
    allowed = {"engines": ENGINE_IDS, "exporters": tuple(EXPORTERS)}
    chosen: dict[str, tuple[str, ...]] = {}
    for key, known in allowed.items():
        named = table.texts(key, getattr(standard, key))
        wrong = [name for name in named if name not in known]
        for name in wrong:
            table.fault(key, f"{shown(name)} is not known; use {', '.join(known)}")
        chosen[key] = tuple(name for name in named if name not in wrong)
    answer = table.number("answer_within_seconds", standard.whole_answer, low=0.1, high=7200)
    table.done()
    return Scope(
        chosen["engines"],
        chosen["exporters"],
        promised,
        health,
        answer,
        pages_url,
        max(pauses, default=standard.canary_every),
    )
