"""Looks every other second whether the database is still the one we knew, and tells people what the logbook holds.

What concerns no incident has no card and no lane in the outbox, so it is told from here: in chat, and by the fallback
pagers as long as chat does not take it. At least once: it counts as told when chat has it. One way that fails, by a bug
too, keeps no other from being asked; and what has to follow is tried again without being told anew.
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
    _logged: set[int] = field(default_factory=set)
    _in_chat: set[int] = field(default_factory=set)
    _by_another_way: set[int] = field(default_factory=set)

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
        if record.seq not in self._logged:
            log.warning("logbook", number=record.seq, kind=record.kind.value, text=line(record))
            self._logged.add(record.seq)
        heard = self._heard(record)
        if self._followed(record) and heard:
            self.journal.write(lambda txn: logbook.told(txn.direct, txn.workspace, record.seq)).result()

    def _heard(self, record: Record) -> bool:
        """Whether people have heard of it, tells them otherwise; what a way has taken once it is not given again."""
        number, chat = record.seq, self.chat
        if chat is None and not self.stand_ins:
            return True
        if chat and number not in self._in_chat and self._takes(record, "chat", lambda: chat(record)):
            self._in_chat.add(number)
        if number not in self._in_chat | self._by_another_way:
            notice = Notice(f"{self.journal.workspace}:logbook:{number}", line(record), record.at)
            if any(self._takes(record, voice.label, partial(voice.tell, notice)) for voice in self.stand_ins):
                self._by_another_way.add(number)
        return number in (self._in_chat if chat else self._by_another_way)

    def _followed(self, record: Record) -> bool:
        if self.reconcile is None or record.kind not in (*FREEZES, Kind.CONFIRMED):
            return True
        try:
            self.reconcile(record)
        except Busy:
            raise
        except Exception as bug:
            # As long as it is not told it comes up again, here or on another server.
            log.error("reconcile_bug", number=record.seq, exc_info=bug)
            return False
        return True

    def _takes(self, record: Record, way: str, tell: Callable[[], object]) -> bool:
        try:
            tell()
        except (Transient, Permanent) as failure:
            log.warning("logbook_not_told", number=record.seq, way=way, reason=str(failure))
        except Exception as bug:
            # Tonight the next way may be the only one that works.
            log.error("logbook_not_told", number=record.seq, way=way, exc_info=bug)
        else:
            return True
        return False


def _put_on_record(txn: Txn) -> Glance:
    txn.standing()
    return txn.glance()


def _take(txn: Txn, seq: int) -> bool:
    return logbook.take(txn.direct, txn.workspace, seq, txn.now, txn.now + AGAIN_AFTER)
