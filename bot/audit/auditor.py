"""Audits the bot every minute: findings are logged when they appear and when they go, a clean audit is a heartbeat."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from bot.audit.findings import Check, Facts, Finding, Unpaged, find, takes_no_write, turning, unpaged, unreadable
from bot.audit.heartbeat import Heartbeat
from bot.incident.policy import Policy
from bot.incident.timeline import span
from bot.journal import Busy, Journal
from bot.journal.audit import try_out, waiting
from bot.journal.epoch import standing_on_record

log = structlog.get_logger()

NOTHING: Final = timedelta()
AUDIT_EVERY: Final = timedelta(seconds=60)
LOOK_EVERY_S: Final = 10.0
"""While something is found the next audit comes as soon as this: what is well again must not look ill for a minute."""
AUDIT_WITHIN: Final = timedelta(seconds=150)
"""Two audits left out, and some: then it is the auditor that is late."""
WRITE_WITHIN_S: Final = 5.0
"""A disk that takes longer to keep one row keeps no storm."""
AS_OF_NOW: Final = (Check.ENGINE, Check.PRESSURE)
"""What is told as it is, not as the last audit found it."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit found, and when."""

    at: datetime
    findings: tuple[Finding, ...]


class Auditor:
    """Looks whether what should have happened has. Holds nothing that a restart could lose.

    `turned_at` tells when the engine last completed a turn, `pressure` why alerts are turned away.
    """

    def __init__(
        self,
        journal: Journal,
        policy: Policy,
        turned_at: Callable[[], datetime | None],
        heartbeat: Heartbeat | None = None,
        pressure: Callable[[], Sequence[Finding]] = tuple,
    ) -> None:
        self._journal = journal
        self._policy = policy
        self._turned_at = turned_at
        self._heartbeat = heartbeat
        self._pressure = pressure
        self._began = journal.clock()
        self.last: Audit | None = None

    def look(self) -> None:
        """An audit, when it is time for one; when the last one is still to come, the clock was set back since."""
        last = self.last
        pause = AUDIT_EVERY - timedelta(seconds=LOOK_EVERY_S / 2)
        if last is None or last.findings or not NOTHING <= self._journal.clock() - last.at < pause:
            self.audit()

    def audit(self) -> None:
        """One audit, with the heartbeat when it is clean."""
        now = self._journal.clock()
        before = self.last.findings if self.last else ()
        try:
            findings = (
                *find(self._facts(now), now),
                *unreadable(self._journal.unreadable()),
                *self._pressure(),
                *self._kept(),
            )
        except Exception as error:
            # Whatever keeps the auditor from looking is itself a finding, and what it knew is still to be assumed.
            known = isinstance(error, Busy)  # a database that is away is no bug of ours
            log.error("audit_failed", reason=str(error), exc_info=None if known else error)
            failed = Finding(Check.AUDIT, "", f"The audit could not be made ({type(error).__name__}).")
            findings = (*(finding for finding in before if finding.check is not Check.AUDIT), failed)
        _tell(before, findings)
        self.last = Audit(now, findings)
        if self._heartbeat and not findings:
            self._heartbeat.beat()

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong as far as is known: by the last audit, and by whether engine and audits go on at all."""
        return tuple(self._known(self._journal.clock()))

    def _known(self, now: datetime) -> Iterator[Finding]:
        yield from turning(self._turned_at(), now)
        yield from self._pressure()
        if self.last:
            yield from (finding for finding in self.last.findings if finding.check not in AS_OF_NOW)
        silent = now - (self.last.at if self.last else self._began)
        if -silent > AUDIT_WITHIN:
            yield Finding(Check.AUDIT, "", "The clock was set back, and there has been no audit since.")
        elif silent > AUDIT_WITHIN:
            yield Finding(Check.AUDIT, "", f"There has been no audit for {span(silent)}.")

    def _facts(self, now: datetime) -> Facts:
        frozen_since = self._journal.ask(standing_on_record).frozen_since
        return Facts(self._turned_at(), waiting(self._journal, now), tuple(self._unpaged()), frozen_since)

    def _kept(self) -> Iterator[Finding]:
        """Whether an alert could be kept. On a quiet night nothing else writes, and what only reads stays well."""
        try:
            try_out(self._journal, WRITE_WITHIN_S)
        except Busy as busy:
            yield takes_no_write(str(busy))

    def _unpaged(self) -> Iterator[Unpaged]:
        for incident in self._journal.live():
            found = unpaged(incident, self._policy)
            if found is not None:
                yield found


def _tell(before: Collection[Finding], now: Collection[Finding]) -> None:
    known = {(finding.check, finding.about) for finding in before}
    still = {(finding.check, finding.about) for finding in now}
    for finding in now:
        if (finding.check, finding.about) not in known:
            log.warning("audit_finding", check=finding.check.value, about=finding.about, finding=finding.text)
    for check, about in sorted(known - still):
        log.info("audit_finding_gone", check=check.value, about=about)
