"""Every check of the health report, as data: 18 numbers, some of several parts, and two facts beside them.

Every query yields a number per model, host or GPU also when all is well, because an empty answer must mean "unknown":
a comparison inside the query would make a healthy series and a missing one look alike. Limits come from NVIDIA's AIPerf
metric reference (KV cache, preemption), the SRE workbook and public rule packs (queue), gpud (throttling), NVSentinel
(PCIe replays), and our own judgement where `explain` says so. All but the Xid table's can be set in `[health.limits]`.
"""

from dataclasses import replace

from bot.health.catalogue import engine, hardware, model, users
from bot.health.checks import Check
from bot.health.promql import Settings


def catalogue(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order of the report. To add one, add one entry to one of its rooms."""
    checks = (
        *users.checks(settings),
        *engine.checks(settings),
        *hardware.checks(),
        *model.checks(),
    )
    return tuple(_limited(check, settings) for check in checks)


def limited() -> dict[str, Check]:
    """The checks whose limits can be set, by id."""
    return {check.id: check for check in catalogue(Settings()) if check.warn is not None or check.crit is not None}


def _limited(check: Check, settings: Settings) -> Check:
    limits = settings.limits.get(check.id)
    if limits is None:
        return check
    return replace(
        check,
        warn=check.warn if limits.warn is None else limits.warn,
        crit=check.crit if limits.crit is None else limits.crit,
    )
