"""Leaves for the engines of all servers what is to be done next, inside the transaction that made it necessary."""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

import structlog

from bot.journal.direct import Direct
from bot.journal.errands import DRAIN, Errand

log = structlog.get_logger()

PRIORITIES: Final = {"pager": 2, "": 1}
"""A page goes before news, and news before all else."""

_LEAVE: Final = "SELECT fixfirst_leave_v1(%(queue)s, %(errands)s::jsonb)"


def queue_of(workspace: str) -> str:
    """The queue of a workspace, whose name may be long: PostgreSQL takes at most 63 bytes for what is listened to."""
    return f"fixfirst-{hashlib.sha256(workspace.encode()).hexdigest()[:12]}"


class Leaving:
    """Leaves errands as jobs inside the caller's transaction: rolled back with it, and told of when it commits.

    One round trip, whatever the number. A queue that is broken must not keep a journal from being written, so its
    trouble is logged, once until it is over, and the sweeps do the work.
    """

    def __init__(self, workspace: str) -> None:
        self._queue = queue_of(workspace)
        self._broken = False

    def __call__(self, direct: Direct, errands: Sequence[Errand]) -> None:
        jobs = [
            {
                "nth": nth,
                "task": errand.what,
                "priority": PRIORITIES.get(errand.courier, 0),
                "lane": errand.lane,
                # News of a group need one job however many there are; an effect has one of its own.
                "once": errand.lane if errand.what == DRAIN else errand.row,
                "args": {"row": errand.row},
            }
            for nth, errand in enumerate(errands)
        ]
        trouble = direct.raw(_LEAVE, {"queue": self._queue, "errands": json.dumps(jobs)})
        if trouble and not self._broken:
            log.error("queue_broken", reason=trouble)
        self._broken = bool(trouble)
