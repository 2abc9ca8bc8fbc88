"""Says the journal's head every hour, in the log and in chat, where nobody who rewrites the database can change it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from bot.contracts import Permanent, Transient
from bot.journal import Busy, Journal
from bot.journal.heads import Head, publish

log = structlog.get_logger()

LOOK_EVERY_S: Final = 60.0
AFTER: Final = timedelta(minutes=1)
"""What is about to be recorded before the full hour is committed by then; what is not, is recorded as after it."""


class Herald:
    """Publishes each hour's head once for a database, whatever the number of servers; an hour without news has none.

    `tell` posts a line in chat, and is tried once: the next hour's head covers this one too.
    """

    def __init__(self, journal: Journal, tell: Callable[[str], object] | None = None) -> None:
        self._journal = journal
        self._tell = tell
        self._looked: datetime | None = None

    def publish(self) -> None:
        """Publishes the head of the last full hour, if nobody has."""
        at = (self._journal.clock() - AFTER).replace(minute=0, second=0, microsecond=0)
        if at == self._looked:
            return
        try:
            head = self._journal.write(lambda txn: publish(txn, at), urgent=False).result()
        except Busy as busy:
            log.warning("journal_busy", reason=str(busy))
            return
        self._looked = at
        if head is not None:
            self._say(head)

    def _say(self, head: Head) -> None:
        log.info("journal_head", at=head.at.isoformat(), entries=head.entries, hash=head.hash)
        if self._tell is None:
            return
        try:
            self._tell(str(head))
        except (Transient, Permanent) as failure:
            log.warning("journal_head_not_told", reason=str(failure))
