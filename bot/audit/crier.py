"""Looks every other second whether the database is still the one we knew, and tells people what the logbook holds.

What concerns no incident has no card and no lane in the outbox, so it is told from here: in chat, and by the fallback
pagers as long as chat does not take it. At least once: it counts as told when chat has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from bot.contracts import Permanent, Transient
from bot.incident.logbook import FREEZES, Kind, Record, line
from bot.integrations.fallback import Notice, Voice
from bot.journal import Busy, Journal, Txn, logbook
from bot.journal.epoch import Glance

log = structlog.get_logger()

LOOK_EVERY_S: Final = 2.0
"""A fail-over is noticed within this, and at once by whatever would act on it."""
AGAIN_AFTER: Final = timedelta(seconds=30)
"""What could not be told is tried again, by whichever server looks first."""

Say = Callable[[Record], object]
"""Puts a record into the intake channel. Raises Transient, Permanent."""
Reconcile = Callable[[Record], None]
"""What follows a fail-over, once it is noticed and once it is confirmed."""


@dataclass(slots=True)
class Crier:
    """`chat` is None where Slack is not connected. Several servers on one database share the work."""

    journal: Journal
    chat: Say | None = None
    stand_ins: Sequence[Voice] = ()
    reconcile: Reconcile | None = None
    _stood_in: set[int] = field(default_factory=set)

    def look(self) -> None:
        """One look. A journal that is away is looked at again."""
        try:
            self._look()
        except Busy as busy:
            log.warning("journal_busy", reason=str(busy))

    def _look(self) -> None:
        epoch = self.journal.epoch
        glance = self.journal.ask(lambda direct, workspace: epoch.glance(direct, workspace, self.journal.clock()))
        if not epoch.knows(glance):
            glance = self.journal.write(_put_on_record).result()
            epoch.remember(glance)
        if glance.untold:
            self._tell()

    def _tell(self) -> None:
        now = self.journal.clock()
        for record in self.journal.ask(lambda direct, workspace: logbook.untold(direct, workspace, now)):
            if self.journal.write(partial(_take, seq=record.seq)).result():
                self._tell_one(record)

    def _tell_one(self, record: Record) -> None:
        if record.seq not in self._stood_in:
            log.warning("logbook", number=record.seq, kind=record.kind.value, text=line(record))
        heard = self._in_chat(record)
        if not heard and record.seq not in self._stood_in:
            by_another_way = self._by_another_way(record)
            heard = by_another_way and self.chat is None
            self._stood_in.add(record.seq)
        if self.reconcile and record.kind in (*FREEZES, Kind.CONFIRMED):
            self.reconcile(record)
        if heard or (self.chat is None and not self.stand_ins):
            self.journal.write(lambda txn: logbook.told(txn.direct, txn.workspace, record.seq)).result()

    def _in_chat(self, record: Record) -> bool:
        if self.chat is None:
            return False
        try:
            self.chat(record)
        except (Transient, Permanent) as failure:
            log.warning("logbook_not_told", number=record.seq, way="chat", reason=str(failure))
            return False
        return True

    def _by_another_way(self, record: Record) -> bool:
        """Whether one of the fallbacks took it, asked in their order."""
        notice = Notice(f"{self.journal.workspace}:logbook:{record.seq}", line(record), record.at)
        for voice in self.stand_ins:
            try:
                voice.tell(notice)
            except (Transient, Permanent) as failure:
                log.warning("logbook_not_told", number=record.seq, way=voice.label, reason=str(failure))
            else:
                return True
        return False


def _put_on_record(txn: Txn) -> Glance:
    txn.standing()
    return txn.glance()


def _take(txn: Txn, seq: int) -> bool:
    return logbook.take(txn.direct, txn.workspace, seq, txn.now, txn.now + AGAIN_AFTER)
