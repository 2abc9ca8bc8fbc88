"""Says the journal's head every hour, in the log and in chat, where nobody who rewrites the database can change it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from bot.contracts import Permanent, Transient
from bot.journal import Busy, Journal
from bot.journal.heads import Head, publish, said, take, unsaid

log = structlog.get_logger()

LOOK_EVERY_S: Final = 60.0
AFTER: Final = timedelta(minutes=1)
"""What is about to be recorded before the full hour is committed by then; what is not, is recorded as after it."""
AGAIN_AFTER: Final = timedelta(seconds=LOOK_EVERY_S / 2)
"""Less than the next look, more than chat takes to answer or not."""


class Herald:
    """Publishes each hour's head for a database, whatever the number of servers; an hour without news has none.

    `tell` posts a line in chat. Until that has succeeded once, the latest head is said again with each look, by
    whichever server is there: a head that was made and never said would prove nothing.
    """

    def __init__(self, journal: Journal, tell: Callable[[str], object] | None = None) -> None:
        self._journal = journal
        self._tell = tell
        self._looked: datetime | None = None
        self._logged: Head | None = None
        self._failed: Head | None = None

    def publish(self) -> None:
        """Makes the head of the last full hour, if nobody has, and says the latest that was not said yet."""
        try:
            self._make()
            self._say()
        except Busy as busy:
            log.warning("journal_busy", reason=str(busy))

    def _make(self) -> None:
        at = (self._journal.clock() - AFTER).replace(minute=0, second=0, microsecond=0)
        if at != self._looked:
            self._journal.write(lambda txn: publish(txn, at), urgent=False).result()
            self._looked = at

    def _say(self) -> None:
        head = self._journal.ask(partial(unsaid, now=self._journal.clock()))
        if head is None:
            return
        if not self._journal.write(lambda txn: take(txn, head, txn.now + AGAIN_AFTER), urgent=False).result():
            return
        if head != self._logged:
            log.info("journal_head", at=head.at.isoformat(), entries=head.entries, hash=head.hash)
            self._logged = head
        try:
            if self._tell is not None:
                self._tell(str(head))
        except (Transient, Permanent) as failure:
            if head != self._failed:
                log.warning("journal_head_not_told", reason=str(failure))
                self._failed = head
        else:
            self._journal.write(lambda txn: said(txn, head), urgent=False).result()
