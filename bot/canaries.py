"""The canaries of the configuration: each round is done by one server, and what it found is kept for all of them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from bot.journal import Busy, Journal, slots
from bot.quality import exposition
from bot.quality.canary import Canary, Round, figures, spending

log = structlog.get_logger()

LOOK_EVERY_S: Final = 5.0
PREFIX: Final = "canary:"


def last_rounds(journal: Journal) -> list[Round]:
    """The last round of each canary, by name; also of those that are not in the configuration any more. Raises Busy."""
    kept = journal.ask(slots.results)
    return [Round.from_dict(result) for job, result in kept.items() if job.startswith(PREFIX)]


@dataclass(slots=True)
class Canaries:
    """Begins rounds when they are due, each on a thread of its own: a model that hangs holds up no other."""

    journal: Journal
    canaries: Sequence[Canary]
    every_s: float = LOOK_EVERY_S
    _begun: dict[str, datetime] = field(default_factory=dict)
    _flying: dict[str, threading.Thread] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Begins what is due and not begun by another server. A journal that is away is looked at again."""
        now = self.journal.clock()
        for canary in self.canaries:
            at = canary.slot(now)
            flying = self._flying.get(canary.name)
            if self._begun.get(canary.name) == at or (flying is not None and flying.is_alive()):
                continue
            try:
                ours = self._take(canary, at)
            except Busy as busy:
                log.warning("journal_busy", reason=str(busy))
                return
            self._begun[canary.name] = at
            if ours:
                thread = threading.Thread(
                    target=self._fly, args=(canary, at), name=f"canary-{canary.name}", daemon=True
                )
                self._flying[canary.name] = thread
                thread.start()

    def stop(self) -> None:
        """Lets no further prompt be asked; an answer that is under way is given up with its thread."""
        self._stopping.set()

    def text(self) -> str:
        """The last rounds and what canaries cost, as Prometheus reads them. Raises Busy."""
        known = {canary.name for canary in self.canaries}
        rounds = [one for one in last_rounds(self.journal) if one.canary in known]
        return exposition.text([*figures(rounds), *spending(self.canaries, self._spent(self.journal.clock()))])

    def _take(self, canary: Canary, at: datetime) -> bool:
        """Whether the round is ours to do and within the day's bound."""
        spent = self._spent(at).get(canary.name, 0)
        if spent >= canary.tokens_per_day:
            log.warning("canary_rests", canary=canary.name, tokens=spent, tokens_per_day=canary.tokens_per_day)
            return False
        job = PREFIX + canary.name
        return self.journal.write(lambda txn: slots.take(txn.direct, txn.workspace, job, at), urgent=False).result()

    def _spent(self, now: datetime) -> dict[str, int]:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        costs = self.journal.ask(lambda direct, workspace: slots.costs(direct, workspace, midnight))
        return {job.removeprefix(PREFIX): cost for job, cost in costs.items() if job.startswith(PREFIX)}

    def _fly(self, canary: Canary, at: datetime) -> None:
        found = canary.round(self.journal.clock, self._stopping.is_set)
        if found is None:
            return
        for tried in found.tried:
            for fault in tried.faults:
                said = {"canary": canary.name, "prompt": tried.prompt, "expected": fault.expected, "got": fault.got}
                log.warning("canary_failed", **said)
        self._keep(canary, at, found)

    def _keep(self, canary: Canary, at: datetime, found: Round) -> None:
        """A round that cannot be kept is lost, and its metrics grow old: the next one comes."""
        job, told = PREFIX + canary.name, found.to_dict()
        try:
            self.journal.write(
                lambda txn: slots.report(txn.direct, txn.workspace, job, at, cost=found.tokens, result=told),
                urgent=False,
            ).result()
        except Busy as busy:
            log.warning("canary_not_kept", canary=canary.name, reason=str(busy))
