"""Drills on record: begun, ended, and those under way."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.incident.drill import ABOUT, Drill, under_way
from bot.incident.logbook import Kind
from bot.incident.people import Actor, Refused
from bot.journal import logbook
from bot.journal.direct import Direct
from bot.journal.txn import Txn


def drills_on_record(direct: Direct, workspace: str) -> list[Drill]:
    """Those under way, the oldest first."""
    return under_way(logbook.records(direct, workspace, ABOUT))


def begin(
    txn: Txn, by: Actor, scenario: str, *, until: datetime, alerts: Sequence[str], labels: Mapping[str, str]
) -> Drill:
    """Puts a new drill on record; from now on its incidents are marked. Raises Refused when such a one goes on."""
    logbook.alone(txn.direct, txn.workspace)
    going = next((one for one in txn.drills() if one.scenario == scenario), None)
    if going is not None:
        raise Refused(f"The drill {scenario} goes on already, since {going.started_at:%H:%M} UTC; stop it first.")
    drill = f"{scenario}-{secrets.token_hex(3)}"
    body = {
        "drill": drill,
        "scenario": scenario,
        "until": until.isoformat(),
        "alerts": list(alerts),
        "labels": dict(labels),
    }
    record = logbook.append(txn.direct, txn.workspace, Kind.DRILL_STARTED, by=by, body=body, now=txn.now)
    return under_way([record])[0]


def end(txn: Txn, by: Actor, drill: Drill) -> bool:
    """Puts its end on record; False when it has ended already."""
    if drill.id not in {one.id for one in txn.drills()}:
        return False
    body = {"drill": drill.id, "scenario": drill.scenario}
    logbook.append(txn.direct, txn.workspace, Kind.DRILL_ENDED, by=by, body=body, now=txn.now)
    return True
