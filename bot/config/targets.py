"""The tables that name what the bot acts on: targets of steps, programs, pagers to fall back on, and drills."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot.integrations import PAGERS, TARGETS, shell
from bot.integrations.fallback import NAME as PAGER_NAME
from bot.integrations.fallback import Voice
from bot.settings import SecretOf, Table, shown

if TYPE_CHECKING:  # leads to the database, which whoever only checks a runbook does not need
    from bot.drills import Scenario

DRILL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def read_targets(table: str, values: Mapping[str, Any], secret: SecretOf, faults: list[str]) -> Mapping[str, Any]:
    """What steps of runbooks may name, by that name."""
    targets: dict[str, Any] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict):
            faults.append(f"{table}.{name}: must be a table; write [{table}.{name}]")
            continue
        target, more = TARGETS[table](name, inner, secret)
        faults += [f"{table}.{name}.{fault}" for fault in more]
        if target is not None:
            targets[name] = target
    return targets


def read_commands(path: Path, secret: SecretOf, faults: list[str]) -> Mapping[str, Any]:
    """The programs that steps may run, from a file of their own: it has other owners than this one."""
    commands, more = shell.read(path, secret)
    faults += [f"commands: {path} {fault}" for fault in more]
    return commands


def read_fallbacks(pager: Table, secret: SecretOf, faults: list[str]) -> Mapping[str, Voice]:
    """Whom to page by when the pager before has not accepted, in this order."""
    fallbacks: dict[str, Voice] = {}
    for number, values in enumerate(pager.tables("fallback"), 1):
        table = Table(f"pager.fallback[{number}]", values, faults)
        kind = table.choice("kind", "", tuple(PAGERS)) if "kind" in values else table.text("kind", required=True)
        name = table.text("name", kind)
        if kind and not PAGER_NAME.fullmatch(name):
            table.fault("name", f"is {shown(name)}, but must be 1 to 30 small letters, digits and -")
        if name in fallbacks:
            table.fault("name", f"is {name}, as another fallback's; give each its own")
        if kind in PAGERS:
            fallbacks[name] = PAGERS[kind](name, table, secret)
            table.done()
    return fallbacks


def read_drills(values: Mapping[str, Any], secret: SecretOf, base: Path, faults: list[str]) -> "Mapping[str, Scenario]":
    """What can be practised, by name."""
    from bot.drills import Scenario

    drills: dict[str, Scenario] = {}
    for name, inner in values.items():
        if not isinstance(inner, dict) or not DRILL_NAME.fullmatch(name):
            faults.append(f"drills.{name}: must be a table named by small letters, digits and -; write [drills.NAME]")
            continue
        drills[name], more = Scenario.from_toml(name, inner, secret, base)
        faults += [f"drills.{name}.{fault}" for fault in more]
    return drills
