"""The tables about what the bot looks at: health, probes, the proof that it is over, and links to where people look."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bot import health
from bot.health import proof
from bot.incident.links import MOST as MOST_LINKS
from bot.incident.links import Links
from bot.incident.links import faults as link_faults
from bot.integrations.probe import Probe
from bot.settings import SecretOf, Table, shown

SHORTEST_WINDOW: Final = timedelta(seconds=10)
"""A shorter look at the telemetry would fall between two scrapes."""
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def read_health(values: Mapping[str, Any], faults: list[str]) -> health.Settings:
    table = Table("health", values, faults)
    standard = health.Settings()
    settings = health.Settings(
        window=_look_back(table, "window", standard.window),
        memory=_look_back(table, "memory", standard.memory),
        sla_seconds=table.number("first_token_within_seconds", standard.sla_seconds, low=0.001, high=3600),
        change_seconds=_look_back(table, "change", standard.change_seconds),
        version_labels=_labels(table, "version_labels", standard.version_labels),
        mirror_label=_label(table, "mirror_label", standard.mirror_label),
        limits=_limits(table.mapping("limits"), faults),
    )
    if settings.memory < settings.window:
        table.fault("memory", f"must be at least as long as window, {settings.window}s")
    table.done()
    return settings


def _limits(values: Mapping[str, Any], faults: list[str]) -> dict[str, health.Limits]:
    """`U1 = {warn = 0.01, crit = 0.10}`: instead of the standard limits, in the unit of the check."""
    checks = health.limited()
    limits: dict[str, health.Limits] = {}
    for name, value in values.items():
        check = checks.get(name)
        if check is None:
            faults.append(f"health.limits.{shown(name)}: is no check with limits; there are {', '.join(checks)}")
        elif not isinstance(value, dict):
            faults.append(f"health.limits.{name}: is {shown(value)}, but must be a table such as {{warn = 1}}")
        else:
            limits[name] = _limit(Table(f"health.limits.{name}", value, faults), check)
    return limits


def _limit(table: Table, check: health.Check) -> health.Limits:
    found = {
        key: table.number(key, standard, low=0, high=1e9)
        for key, standard in (("warn", check.warn), ("crit", check.crit))
        if standard is not None
    }
    table.done()
    warn, crit = found.get("warn"), found.get("crit")
    if warn is not None and crit is not None and (warn < crit if check.direction == "below" else warn > crit):
        table.fault("warn", f"is {warn:g}, which lies past crit, {crit:g}; a warning comes first")
    return health.Limits(warn, crit)


def _label(table: Table, key: str, default: str) -> str:
    """The name of a label, or nothing."""
    name = table.text(key, default)
    if name and not LABEL.fullmatch(name):
        table.fault(key, f"{shown(name)} is no name of a label; letters, digits and _ make one")
        return default
    return name


def _labels(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Names of labels, which become part of queries."""
    labels = table.texts(key, default)
    for name in labels:
        if not LABEL.fullmatch(name):
            table.fault(key, f"{shown(name)} is no name of a label; letters, digits and _ make one")
            return default
    return labels


def _look_back(table: Table, key: str, default: int) -> int:
    """How far back to look, in seconds."""
    length = table.span(key, timedelta(seconds=default))
    if length < SHORTEST_WINDOW:
        table.fault(key, f"must be at least {SHORTEST_WINDOW.seconds}s, longer than two scrapes")
        return default
    return int(length.total_seconds())


def read_probes(
    values: Mapping[str, Any], clusters: Mapping[str, Any], secret: SecretOf, faults: list[str]
) -> Mapping[str, Probe]:
    """Which servers are asked directly, by the name of their table."""
    probes: dict[str, Probe] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict):
            faults.append(f"probes.{name}: must be a table; write [probes.{name}]")
            continue
        probe, more = Probe.from_toml(name, inner, secret)
        faults += [f"probes.{name}.{fault}" for fault in more]
        if probe and probe.pods and probe.pods.target not in clusters:
            known = ", ".join(clusters) or "none"
            faults.append(f"probes.{name}.kubernetes.target: no [kubernetes.{probe.pods.target}]; known: {known}")
        if probe:
            probes[name] = probe
    return probes


def read_proof(values: Mapping[str, Any], faults: list[str]) -> proof.Settings:
    table = Table("proof", values, faults)
    standard = proof.Settings()
    settings = proof.Settings(
        required=table.flag("required", default=standard.required),
        quiet=_look_back(table, "quiet", standard.quiet),
        worse=table.number("worse", standard.worse, low=1, high=100),
    )
    table.done()
    return settings


def read_links(values: Mapping[str, Any], faults: list[str]) -> Links:
    """Where else people look, by the name they read."""
    table = Table("links", values, faults)
    templates = {name: table.text(name, required=True) for name in values}
    for name, template in templates.items():
        for fault in link_faults(name, template) if template else ():
            table.fault(name, fault)
    if len(templates) > MOST_LINKS:
        faults.append(f"links: has {len(templates)} links, but people find their way among {MOST_LINKS} at most")
    return templates
