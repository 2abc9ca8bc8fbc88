"""The outbox: carries effects out, at least once and harmlessly twice, and brings back what happened as events."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from bot.contracts import Again, Attempt, Courier, Delivered, Permanent, TakenOver, Transient
from bot.desk import Desk
from bot.incident.commands import RecordReceipt
from bot.incident.effects import EFFECT_NAMES, CallSecond, Effect, Page, PageEffect, StopPaging
from bot.incident.events import STILL_TRYING, DeliveryFailed, DeliverySettled, Event, PageAccepted
from bot.incident.people import BOT
from bot.incident.state import Incident, Status
from bot.journal import Busy, Job, Txn, Unreadable
from bot.journal.clock import elapsed
from bot.journal.servers import LEASE

log = structlog.get_logger()

DELIVERED, POSTPONED, FAILED, NOT_CONNECTED = RESULTS = ("delivered", "postponed", "failed", "not_connected")
"""What may come of one attempt. For what is not connected there is nothing to do, and nothing is told outside."""
SURE_FOR_S: Final = 4.0
"""For so long after a claim nobody can have taken it over: two seconds less than it is fresh (servers.py), for what the
clocks of servers may differ."""
WORRY_AFTER: Final = timedelta(seconds=60)
"""A page not accepted by now is shown on the card as trouble, while we go on trying."""
GIVE_UP_AFTER: Final = timedelta(hours=24)
"""An effect older than this helps nobody any more."""
LONGEST_PAUSE_S: Final = 60.0
LONGEST_WISH_S: Final = 600.0
"""Whoever asks to be left alone for longer is asked again all the same; nobody notices a lane that rests for a day."""
LONGEST_REST: Final = timedelta(seconds=LONGEST_WISH_S + 1)
"""Nothing is put off for longer: such a wish with its jitter. All that couriers ask for with `Again` is shorter."""
LONGEST_PAUSE_OF_A_PAGE_S: Final = 10.0
"""Once the pager answers again, nobody should sleep on for a minute."""

READ_AGAIN_AFTER: Final = timedelta(seconds=5)
"""How soon an effect of an incident that this version cannot read is looked at again: another server may be newer."""
AGAIN_AFTER: Final = timedelta(seconds=1)
"""How soon it is tried again what the journal's own trouble kept from being tried."""
DROPPED: Final = "the journal did not answer"


def pause(attempts: int, retry_after: float | None, jitter: float, longest: float = LONGEST_PAUSE_S) -> timedelta:
    """How long to wait after that many attempts: what the other side asked for, else 1, 2, 4 ... `longest` s, up to a
    quarter more by `jitter` (0 to 1) so that many jobs do not come back in step."""
    if retry_after is not None:
        return timedelta(seconds=min(retry_after, LONGEST_WISH_S) + jitter)
    return timedelta(seconds=min(longest, 2.0 ** min(attempts - 1, 10)) * (1 + jitter / 4))


@dataclass
class _Try:
    """How far one delivery came."""

    claimed: bool = False
    asked: bool = False
    """Whether its courier was asked, so that it may have acted."""


class _Dropped:
    """Jobs of which the journal's own trouble ended the last delivery, so that our claim may still stand with nobody at
    them; each with whether a courier was asked meanwhile. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._at: Counter[str] = Counter()
        self._asked: dict[str, bool] = {}

    @contextmanager
    def trying(self, job: str) -> Iterator[_Try]:
        """One delivery of the job."""
        one = _Try()
        with self._guard:
            self._at[job] += 1
        try:
            yield one
        except Busy:
            with self._guard:
                self._asked[job] = one.asked or self._asked.get(job, False)
            raise
        else:
            if one.claimed:
                with self._guard:
                    self._asked.pop(job, None)
        finally:
            with self._guard:
                self._at[job] -= 1
                if not self._at[job]:
                    del self._at[job]

    def jobs(self) -> list[str]:
        """Their ids."""
        with self._guard:
            return list(self._asked)

    def take(self, job: str) -> bool | None:
        """Takes it off the list; None when it is not on it, or somebody is at it again."""
        with self._guard:
            return None if job in self._at else self._asked.pop(job, None)

    def put_back(self, job: str, *, asked: bool) -> None:
        """It could not be given back yet."""
        with self._guard:
            self._asked[job] = asked or self._asked.get(job, False)


class Outbox:
    """Delivers the journal's outbox through couriers. Thread-safe: one job is only ever in one pair of hands."""

    def __init__(self, desk: Desk, couriers: Mapping[str, Courier], counter: Callable[[], float] = elapsed) -> None:
        self._desk = desk
        self._counter = counter
        self._journal = desk.journal
        self._couriers = couriers
        self._counting = threading.Lock()
        self._results: Counter[tuple[str, str]] = Counter()
        self._dropped = _Dropped()

    def results(self) -> Mapping[tuple[str, str], int]:
        """How often each courier delivered, postponed, failed, and was not there, since the start."""
        with self._counting:
            return dict(self._results)

    def _count(self, job: Job, result: str) -> None:
        with self._counting:
            self._results[job.effect.courier, result] += 1

    def ready(self) -> list[Job]:
        """What could be delivered now, most urgent first."""
        return self._journal.ready_jobs(self._journal.clock())

    def ready_in_lane_of(self, job_id: str) -> Job | None:
        """What could be delivered now in the lane of this job, or None."""
        return self._journal.ready_in_lane_of(job_id, self._journal.clock())

    def deliver(self, job_id: str) -> None:
        """Claims the job and tries it once; whatever comes of it is on disk when this returns. Raises Busy."""
        with self._dropped.trying(job_id) as one:
            self._deliver(job_id, one)

    def give_back(self) -> None:
        """Gives back what is ours by the journal while nobody is at it, so that it need not rest for LEASE.

        So it is when the answer to a commit was lost, or the journal could not be read or written after it. Whether
        anybody is at it is asked after the claim was read: so what was read is over, and its token keeps a newer claim
        from being given back. Raises Busy.
        """
        for job_id in self._dropped.jobs():
            job = self._journal.in_hand(job_id)
            asked = self._dropped.take(job_id)
            if job is None or asked is None:
                continue
            try:
                self._journal.write(partial(self._let_go, job=job, asked=asked)).result()
            except Busy:
                self._dropped.put_back(job_id, asked=asked)
                raise
            log.info("given_back", effect=_name(job.effect), incident=job.incident, asked=asked)

    @staticmethod
    def _let_go(txn: Txn, job: Job, *, asked: bool) -> None:
        """Without its courier having been asked it was no attempt, and nobody needs to look what came of it."""
        if asked:
            txn.postpone(job, txn.now + _pause_of(job, None), DROPPED, warned=False)
        else:
            txn.put_back(job, txn.now + AGAIN_AFTER, DROPPED)

    def _deliver(self, job_id: str, one: _Try) -> None:
        began = self._counter()
        job = self._journal.write(lambda txn: txn.claim(job_id, txn.now + LEASE)).result()
        if job is None:
            return
        one.claimed = True
        try:
            incident = self._journal.incident(job.incident)
        except Unreadable as unreadable:
            self._journal.write(partial(_leave, job=job, why=str(unreadable))).result()
            return
        if incident is None:
            raise LookupError(f"outbox job {job.id} belongs to no incident")
        courier = self._couriers.get(job.effect.carrier())
        if courier is None:
            self._drop(job, incident)
            return
        now = self._journal.clock()
        attempt = Attempt(job.id, job.attempts, now, job.progress, job.created_at, self._holding(job, began))
        try:
            attempt.still_ours()
            one.asked = True
            result = courier.deliver(job.effect, incident, attempt)
        except Busy:
            raise  # the journal's trouble, not the courier's; nothing can be written down about it now
        except TakenOver:
            log.warning("taken_over", effect=_name(job.effect), incident=job.incident)
        except Transient as failure:
            self._postpone(job, failure, now)
        except Permanent as failure:
            self._bury(job, str(failure))
        except Exception as bug:
            # A bug of ours, or an answer nobody foresaw: told on the card like any other trouble, and tried again.
            log.exception("courier_bug", effect=_name(job.effect), incident=job.incident)
            unforeseen = f"something broke on our side ({type(bug).__name__}); the log has the details"
            self._postpone(job, Transient(unforeseen, ambiguous=True), now)
        else:
            self._settle(job, result)

    def _holding(self, job: Job, began: float) -> Callable[[], None]:
        """Tells a courier whether the job is still ours: by the counter at once, after a standstill by the journal.

        A process can be stopped between this and the call itself; what that does twice, the couriers make harmless.
        """
        sure_until = began + SURE_FOR_S

        def still_ours() -> None:
            nonlocal sure_until
            asked = self._counter()
            if asked < sure_until:
                return
            if not self._journal.write(lambda txn: txn.hold(job, txn.now + LEASE)).result():
                raise TakenOver
            sure_until = asked + SURE_FOR_S

        return still_ours

    def _drop(self, job: Job, incident: Incident) -> None:
        """Nobody is connected who could carry it out. A page that is still wanted is trouble all the same where a pager
        was asked, or should have been, and has been taken out of the configuration since."""
        page = job.effect if isinstance(job.effect, Page) and incident.status is Status.OPEN else None
        if page and page.generation == incident.generation and (page.pager or job.attempts > 1):
            self._bury(job, "it is not connected any more")
            return
        self._finish(job, ())
        self._count(job, NOT_CONNECTED)
        log.debug("not_connected", effect=_name(job.effect), incident=job.incident)

    def _settle(self, job: Job, result: Delivered) -> None:
        if isinstance(result, Again):
            self._journal.write(partial(self._put_off, job=job, again=result)).result()
            return
        self._finish(job, tuple(result))
        self._count(job, DELIVERED)
        log.debug("delivered", effect=_name(job.effect), incident=job.incident, attempts=job.attempts)

    def _put_off(self, txn: Txn, job: Job, again: Again) -> None:
        if not txn.come_back(job, again.at, dict(again.progress)):
            self._end_anew(txn, job)
        elif again.events:
            self._desk.execute(txn, self._receipt(job, tuple(again.events), txn.now, f":{again.at.isoformat()}"))

    def _finish(self, job: Job, happened: tuple[Event, ...]) -> None:
        """Ends the job and records what came of it. Raises Busy, and then the job is tried again later.

        What the core will not take is left out and said to be missing: the act has happened, and to carry it out once
        more would not make its report any better. A database that fails fails the bare end too, so it is no such case.
        What was told as trouble is taken back with it; that somebody accepted the page says so already.
        """
        if job.warned and not any(isinstance(event, PageAccepted) for event in happened):
            happened = (*happened, DeliverySettled(job.effect.carrier(), _name(job.effect)))
        for events, suffix in ((happened, ""), ((_unrecorded(job),), ":unrecorded"), ((), "")):
            try:
                self._journal.write(partial(self._end, job=job, events=events, suffix=suffix)).result()
            except Busy:
                raise
            except Exception:
                kinds = [type(event).__name__ for event in events]
                log.exception("receipt_bug", effect=_name(job.effect), incident=job.incident, events=kinds)
                if not events:
                    raise
            else:
                return

    def _end(self, txn: Txn, job: Job, events: tuple[Event, ...], suffix: str) -> None:
        ours = txn.finish(job)
        if ours and events:
            self._desk.execute(txn, self._receipt(job, events, txn.now, suffix))
        if not ours or (isinstance(job.effect, CallSecond) and job.effect.queue() == CallSecond.lane):
            self._end_anew(txn, job)

    @staticmethod
    def _end_anew(txn: Txn, job: Job) -> None:
        """A round that was over when its page or call got out may have been brought up again by it, and nobody would
        end that: another has had the job meanwhile, or it is a call, for which the end does not wait."""
        incident, effect = txn.incident(job.incident), job.effect
        if incident is None or not isinstance(effect, Page | CallSecond):
            return
        if not incident.is_live or incident.generation != effect.generation:
            txn.enqueue(incident.id, [StopPaging(effect.generation, pager=effect.pager)])

    def _receipt(self, job: Job, events: tuple[Event, ...], now: datetime, suffix: str = "") -> RecordReceipt:
        return RecordReceipt(
            incident=job.incident,
            by=BOT,
            at=now,
            key=f"outbox:{job.id}{suffix}",
            source="courier",
            source_id=job.effect.carrier(),
            events=events,
        )

    def _postpone(self, job: Job, failure: Transient, now: datetime) -> None:
        if now - job.created_at > GIVE_UP_AFTER:
            self._bury(job, f"gave up after a day of trying: {failure}")
            return
        until = now + _pause_of(job, failure.retry_after)
        worry = _pages(job) and not job.warned and now - job.created_at > WORRY_AFTER
        trouble = DeliveryFailed(job.effect.carrier(), _name(job.effect), f"{failure}{STILL_TRYING}", trying=True)

        def write(txn: Txn) -> None:
            if not txn.postpone(job, until, str(failure), warned=worry):
                if failure.ambiguous:
                    self._end_anew(txn, job)
            elif worry:
                self._desk.execute(txn, self._receipt(job, (trouble,), txn.now, ":worry"))

        self._journal.write(write).result()
        self._count(job, POSTPONED)
        log.warning(
            "delivery_postponed", effect=_name(job.effect), incident=job.incident, reason=str(failure), until=str(until)
        )

    def _bury(self, job: Job, reason: str) -> None:
        trouble = DeliveryFailed(job.effect.carrier(), _name(job.effect), reason)

        def write(txn: Txn) -> None:
            if txn.bury(job, reason) and not self._told_already(txn, job, trouble):
                self._desk.execute(txn, self._receipt(job, (trouble,), txn.now))

        self._journal.write(write).result()
        self._count(job, FAILED)
        log.error("delivery_failed", effect=_name(job.effect), incident=job.incident, reason=reason)

    @staticmethod
    def _told_already(txn: Txn, job: Job, trouble: DeliveryFailed) -> bool:
        """What shows the incident as it is fails each time in the same way, and is told once."""
        incident = txn.incident(job.incident)
        return job.effect.latest_wins and incident is not None and trouble in incident.troubles


def _leave(txn: Txn, job: Job, why: str) -> None:
    txn.put_back(job, txn.now + READ_AGAIN_AFTER, why)


def _pages(job: Job) -> bool:
    return job.effect.courier == PageEffect.courier


def _pause_of(job: Job, retry_after: float | None) -> timedelta:
    longest = LONGEST_PAUSE_OF_A_PAGE_S if _pages(job) else LONGEST_PAUSE_S
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    return pause(job.attempts, retry_after, jitter, longest)


def _unrecorded(job: Job) -> DeliveryFailed:
    reason = "it was carried out, but what came of it could not be recorded; the log has the details"
    return DeliveryFailed(job.effect.carrier(), _name(job.effect), reason)


def _name(effect: Effect) -> str:
    return EFFECT_NAMES[type(effect)]
