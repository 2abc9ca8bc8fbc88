"""Which errors say that the database is in trouble, and not that it was asked something wrong.

PostgreSQL's words for them are in appendix A of its manual.
"""

from typing import Final

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

READ_ONLY: Final = "25006"
"""It takes no write: a standby, or a database that its provider has closed for want of disk. The driver files it under
errors of its own making."""
_OUT_OF_RESOURCES, _BROKEN_INSIDE = "53", "XX"


def in_trouble(error: BaseException) -> bool:
    """Whether the same may go well later, or elsewhere: whoever asked hears Busy, and it is no bug of ours."""
    if isinstance(error, (OperationalError, InterfaceError, NoConnectionFree)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = _state(error.orig)
    # SQLite says without a kind that its file is damaged, or none of its own.
    is_damaged = type(error) is DatabaseError and not state
    return is_damaged or state == READ_ONLY or state.startswith((_OUT_OF_RESOURCES, _BROKEN_INSIDE))


def takes_no_write(error: BaseException | None) -> bool:
    """Whether the driver's error is that of a PostgreSQL that may only be read."""
    return _state(error) == READ_ONLY


def _state(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""
