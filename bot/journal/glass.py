"""Break-glass keys: made, kept as hashes in the logbook, recognised, and taken back."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final

from bot.incident.glass import LASTS, Glass, broken, reason_of
from bot.incident.logbook import Kind
from bot.incident.people import Actor, Refused
from bot.incident.redact import redact
from bot.journal import logbook
from bot.journal.direct import Direct
from bot.journal.txn import Txn

KEY: Final = "ffglass_"
"""What a key begins with, so that people and scanners know one."""
_KINDS: Final = (Kind.GLASS_BROKEN, Kind.GLASS_SHUT)


class WrongKey(Refused):
    """The key opens nothing, or nothing any more."""


def break_glass(txn: Txn, by: Actor, name: str, reason: str, key: str = "") -> Glass:
    """Breaks the glass for an hour, on record; the owner will be told. Raises Refused without a reason.

    Of the key, when there is one, only a hash is kept: it has 160 random bits, so nobody can try them all.
    """
    body = {
        "glass": secrets.token_hex(4),
        "name": redact(" ".join(name.split()))[:80],
        "reason": redact(reason_of(reason)),
        "until": (txn.now + LASTS).isoformat(),
        "digest": _digest(key) if key else "",
    }
    record = logbook.append(txn.direct, txn.workspace, Kind.GLASS_BROKEN, by=by, body=body, now=txn.now)
    return broken([record])[0]


def new_key() -> str:
    """A key to show once."""
    return KEY + secrets.token_hex(20)


def glass_of_key(direct: Direct, workspace: str, key: str, now: datetime) -> Glass:
    """The broken glass that the key belongs to. Raises WrongKey, also for a key that is over or taken back.

    Every key there ever was is compared, each in constant time.
    """
    digest = _digest(key)
    fitting = [glass for glass in _broken(direct, workspace) if hmac.compare_digest(glass.digest, digest)]
    if not fitting:
        raise WrongKey("That is no break-glass key of this server; `fixfirst break-glass` on its host makes one.")
    try:
        fitting[0].require_open(now)
    except Refused as over:
        raise WrongKey(str(over)) from over
    return fitting[0]


def open_glass_of(direct: Direct, workspace: str, opener: str, now: datetime) -> Glass | None:
    """The glass that this person broke on this host and that is still open."""
    own = (glass for glass in _broken(direct, workspace) if glass.opener == opener and not glass.digest)
    return next((glass for glass in own if now < glass.until and not glass.shut_by), None)


def is_for(glass: Glass, reason: str) -> bool:
    """Whether it was broken for this reason, as reasons are kept."""
    return glass.reason == redact(reason_of(reason))


def shut(txn: Txn, by: Actor, glass_id: str) -> Glass:
    """Takes a key back. Raises Refused when there is none of that name to take back."""
    glass = next((one for one in _broken(txn.direct, txn.workspace) if one.id == glass_id), None)
    if glass is None:
        raise Refused(f"There is no break-glass key {glass_id}; the logbook names those there are.")
    glass.require_open(txn.now)
    logbook.append(txn.direct, txn.workspace, Kind.GLASS_SHUT, by=by, body={"glass": glass.id}, now=txn.now)
    return glass


def _broken(direct: Direct, workspace: str) -> list[Glass]:
    return broken(logbook.records(direct, workspace, _KINDS))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
