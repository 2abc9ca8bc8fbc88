"""The incident in the plainest words: what a person would expect who has read the documents and not the code.

It knows nothing of the bot. What happens is a list of words, the names under which events are stored for ever; who is
paged is a list of (what, generation, pager). The bot is held to both, word for word.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from tests.model.plain_run import PlainRun, PlainStep

PAGES = ("SEV1", "SEV2", "SEV3")
SELF_RESOLVING = ("SEV3", "SEV4")
UPDATE_EVERY = {"SEV1": timedelta(minutes=30), "SEV2": timedelta(minutes=60)}
ACK_WITHIN = timedelta(minutes=5)
ESCALATIONS = 3
ACCEPT_WITHIN = timedelta(seconds=60)
SNOOZE = REOPEN_WITHIN = timedelta(minutes=30)
QUIET = timedelta(minutes=10)
PROOF_LASTS = timedelta(minutes=2)
PROOF_WITHIN = timedelta(seconds=20)
OVERTAKEN_WITHIN = timedelta(minutes=5)
CHANGES_WITHIN = timedelta(hours=2)
FALLBACK = "sms"
LIVE = ("open", "acknowledged", "mitigated")

Words = list[str]
Passing = Callable[[datetime], Words]
"""What happens when a deadline has passed, at the moment in which somebody looks."""


class No(Exception):
    """A person is told that this cannot be done."""


@dataclass
class Handover:
    generation: int
    at: datetime
    pager: str
    accepted: bool = False


@dataclass
class Order:
    """One thing that a pager is told."""

    what: str
    generation: int
    pager: str
    at: datetime
    waits: bool = True
    worried: bool = False


@dataclass
class Wish:
    """Somebody wants it resolved, and the telemetry is asked first."""

    at: datetime
    despite_firing: bool
    waits: bool = True


@dataclass
class Plain:
    """One incident."""

    number: int
    group: str
    severity: str
    opened_at: datetime
    alerts_are_elsewhere: Callable[[], bool]
    by_pager: bool = False
    proves: bool = False
    wish: Wish | None = None
    proven_at: datetime | None = None
    doubts: int = 0
    status: str = "open"
    generation: int = 1
    firing: int = 0
    recovered: int = 0
    changed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    ended_at: datetime | None = None
    snoozed_until: datetime | None = None
    level: int = 0
    level_at: datetime | None = None
    told_at: datetime | None = None
    reminded_at: datetime | None = None
    impact: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    severities: list[tuple[datetime, str]] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    handovers: list[Handover] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    worries: set[tuple[str, str]] = field(default_factory=set)
    runs: dict[str, PlainRun] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)
    thumbs: dict[tuple[str, str], tuple[bool, str]] = field(default_factory=dict)
    changes: set[int] = field(default_factory=set)
    story: Words = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.status in LIVE

    def tell(self, at: datetime, what: str, *, first_knows: bool = False) -> None:
        """Every pager that was asked in this round hears of it; the first not, if it told us."""
        others = [one.pager for one in self.handovers if one.generation == self.generation and one.pager]
        for pager in others if first_knows else ["", *others]:
            self.orders.append(Order(what, self.generation, pager, at))

    def page(self, at: datetime, pager: str = "") -> None:
        self.orders.append(Order("page", self.generation, pager, at))

    def open(self, at: datetime) -> Words:
        self.severities = [(at, self.severity)]
        if self.severity in PAGES and not self.by_pager:
            self.page(at)
        return ["incident.opened"]

    # What alerts do

    def hears_of_alerts(self, at: datetime, firing: int, recovered: int, new: int, worst: str) -> Words:
        was_live, was_ended, snoozed = self.live, self.ended_at, self.snoozed_until
        anew, worse = firing > 0 and new > 0, worst < self.severity
        self.firing, self.recovered, self.changed_at = firing, recovered, at
        words = ["incident.alerts_reported"]
        if anew and self.status == "mitigated":
            self.status, self.mitigated_at = "acknowledged", None
            words.append("incident.relapsed")
        if not anew:
            return words
        if was_live:
            return words + (self.severity_becomes(at, worst) if worse else [])
        held_off = snoozed is not None and at < snoozed
        raised = self.severity_becomes(at, worst) if worse else []
        soon = was_ended is not None and at - was_ended <= REOPEN_WITHIN
        if (worse or not held_off) and (soon or (snoozed is not None and firing > 0)):
            return [*words, *raised, *self.returns(at, new_page=True)]
        return words + raised

    def keeps_alerts(self, at: datetime) -> bool:
        """Whether alerts that fire now are this incident's, rather than a new one's."""
        if self.live or (self.snoozed_until is not None and self.firing > 0):
            return True
        return self.ended_at is not None and at - self.ended_at <= REOPEN_WITHIN

    def returns(self, at: datetime, *, new_page: bool, by_pager: bool = False) -> Words:
        self.generation += 1 if new_page else 0
        self.status, self.opened_at, self.by_pager = "open", at, by_pager
        self.acknowledged_at = self.mitigated_at = self.ended_at = self.snoozed_until = None
        self.level, self.level_at, self.reminded_at = 0, None, None
        self.wish = self.proven_at = None
        self.doubts = 0
        self.severities = [(at, self.severity)]
        if self.severity in PAGES and not by_pager:
            self.page(at)
        return ["incident.reopened"]

    # What people do

    def is_acknowledged(self, at: datetime, *, by_pager: bool) -> Words:
        if not self.live:
            raise No
        if self.status != "open":
            return []
        self.status, self.acknowledged_at = "acknowledged", at
        self.tell(at, "acknowledge_page", first_knows=by_pager)
        return ["incident.acknowledged"]

    def returns_at_the_pager(self, at: datetime) -> Words:
        if self.live:
            return []
        if self.alerts_are_elsewhere():
            raise No
        return self.returns(at, new_page=False, by_pager=True)

    def is_mitigated(self, at: datetime, by_pager: bool) -> Words:
        if not self.live:
            raise No
        if self.status == "mitigated":
            return []
        if self.acknowledged_at is None:
            self.acknowledged_at = at
            self.tell(at, "acknowledge_page", first_knows=by_pager)
        self.status, self.mitigated_at = "mitigated", at
        return ["incident.mitigated"]

    def is_resolved(
        self, at: datetime, by_pager: bool, reason: str, despite_firing: bool, despite_doubt: bool = False
    ) -> Words:
        if not self.live:
            return []
        if not reason.strip() or (self.firing and not despite_firing):
            raise No
        if not by_pager and self.has_lent():
            raise No
        if self.proves and not (by_pager or despite_doubt or self.is_proven(at)):
            return self.wishes(at, despite_firing)
        return self.is_over(at, by_pager)

    def is_over(self, at: datetime, by_pager: bool) -> Words:
        self.snoozed_until = at + SNOOZE if self.firing else None
        return self.ends(at, "resolved", by_pager)

    def is_proven(self, at: datetime) -> bool:
        """Lately, and no alert has spoken since."""
        if self.proven_at is None or at - self.proven_at > PROOF_LASTS:
            return False
        return self.changed_at is None or self.changed_at <= self.proven_at

    def wishes(self, at: datetime, despite_firing: bool) -> Words:
        if self.is_waiting():
            return []
        self.wish = Wish(at, despite_firing)
        return ["incident.resolve_asked"]

    def is_waiting(self) -> bool:
        return self.live and self.wish is not None and self.wish.waits

    def telemetry_says(self, at: datetime, proven: bool, answers: bool) -> Words:
        """Its word counts for whoever waits for it, and else for whoever asks soon."""
        wish = self.wish if answers and self.is_waiting() else None
        if answers and self.wish is not None:
            self.wish.waits = False
        self.proven_at = at if proven else None
        if not proven:
            self.doubts += answers
            return ["health.doubted"]
        if wish is None:
            return ["health.proven"]
        if (self.firing and not wish.despite_firing) or self.has_lent():
            self.proven_at = None
            self.doubts += 1
            return ["health.proven", "health.doubted"]
        return ["health.proven", *self.is_over(at, by_pager=False)]

    def is_cancelled(self, at: datetime, by_pager: bool) -> Words:
        if self.live and self.has_lent():
            raise No
        return self.ends(at, "cancelled", by_pager) if self.live else []

    def has_lent(self) -> bool:
        return any(step.lent for run in self.runs.values() for step in run.steps.values())

    def ends(self, at: datetime, how: str, by_pager: bool) -> Words:
        self.status, self.ended_at = how, at
        self.tell(at, "stop_paging", first_knows=by_pager)
        return [f"incident.{how}"]

    def severity_becomes(self, at: datetime, severity: str) -> Words:
        if severity == self.severity:
            return []
        wakes = severity in PAGES and self.severity not in PAGES
        self.severity = severity
        self.severities.append((at, severity))
        if wakes and self.live and self.acknowledged_at is None:
            self.page(at)
        return ["incident.severity_changed"]

    def seat_goes_to(self, role: str, user: str) -> Words:
        if self.roles.get(role) == user:
            return []
        self.roles[role] = user
        return ["incident.role_assigned"]

    def impact_is(self, text: str) -> Words:
        if not text.strip():
            raise No
        if text.strip() == self.impact:
            return []
        self.impact = text.strip()
        return ["incident.impact_stated"]

    def stakeholders_hear(self, at: datetime, text: str) -> Words:
        if not text.strip():
            raise No
        self.told_at, self.reminded_at = at, None
        return ["incident.update_posted"]

    @staticmethod
    def is_noted(text: str) -> Words:
        if not text.strip():
            raise No
        return ["incident.note_added"]

    def is_looked_at(self, evidence: str) -> Words:
        self.looks.append(evidence)
        return ["evidence.collected"]

    def verdict_is_rated(self, who: str, evidence: str, right: bool, text: str) -> Words:
        """Only what was given can be rated; the last word of each counts, and the same word again is no news."""
        if evidence not in self.looks:
            raise No
        said = (right, "" if right else text.strip())
        if self.thumbs.get((evidence, who)) == said:
            return []
        self.thumbs[evidence, who] = said
        return ["evidence.rated"]

    # What runbooks do

    def starts_run(self, run: str) -> Words:
        """One at a time may work on the same thing."""
        if not self.live or any(other.goes for other in self.runs.values()):
            raise No
        self.runs[run] = PlainRun()
        return ["run.started"]

    def run_moves(self, run: str, at: datetime, words: Words) -> Words:
        """An act that was proved, in a run that came to its end, is a mitigation."""
        proves, self.runs[run].mitigates = self.runs[run].mitigates, False
        return words + (self.is_mitigated(at, by_pager=False) if proves and self.status == "acknowledged" else [])

    # What pagers do

    def pager_takes(self, order: Order) -> Words:
        """Of what people heard that it waits they hear that it does no longer, unless an accepted page says so."""
        order.waits = False
        if order.what != "page":
            stood = (order.pager, order.what) in self.worries
            self.worries.discard((order.pager, order.what))
            return ["delivery.settled"] if order.worried and stood else []
        self.worries = {one for one in self.worries if order.pager and one[0] != order.pager}
        if not order.pager:
            self.accepted.add(order.generation)
        for one in self.handovers:
            one.accepted |= (one.generation, one.pager) == (order.generation, order.pager)
        return ["pager.page_accepted"]

    def pager_refuses(self, order: Order) -> Words:
        order.waits = False
        self.worries.discard((order.pager, order.what))
        return ["delivery.failed"]

    def pager_is_late(self, order: Order) -> Words:
        order.worried = True
        self.worries.add((order.pager, order.what))
        return ["delivery.failed"]

    # What time does

    def deadlines(self) -> list[tuple[datetime, Passing]]:
        due: list[tuple[datetime, Passing]] = []
        is_open, pages = self.status == "open", self.severity in PAGES
        answer_by = self.wish.at + PROOF_WITHIN if self.wish is not None and self.is_waiting() else None
        if answer_by is not None:
            due.append((answer_by, self.gets_no_answer))
        if is_open and pages and self.level < ESCALATIONS:
            level_since = self.level_at or self.opened_at
            due.append((self.not_before(answer_by, level_since + ACK_WITHIN), self.escalates))
        asked_at = self._asks_in_vain_since() if is_open and pages else None
        if asked_at is not None:
            due.append((self.not_before(answer_by, asked_at + ACCEPT_WITHIN), self.hands_on))
        span = UPDATE_EVERY.get(self.severity)
        if span is not None and self.status in ("acknowledged", "mitigated"):
            told = max(self.told_at or self.opened_at, self.opened_at)
            due.append(((max(told, self.reminded_at or told)) + span, self.reminds))
        if self.status == "resolved" and self.firing and self.snoozed_until:
            due.append((self.snoozed_until, self.wakes_up))
        idle = not self.is_waiting() and not self.has_lent() and not any(run.goes for run in self.runs.values())
        quiet = bool(self.recovered and not self.firing)
        if is_open and self.severity in SELF_RESOLVING and self.changed_at and quiet and idle:
            due.append((self.quiet_until(max(self.changed_at, self.opened_at)), self.was_quiet))
        for run in self.runs.values():
            due += [(at, partial(self.lease_ends, run)) for at in run.leases()]
            if self.live:
                due += [(at, partial(self.is_still_lent, step)) for at, step in run.reminders()]
        return due

    def quiet_until(self, since: datetime) -> datetime:
        """Who doubts three times is asked every six hours, and at once when alerts have moved."""
        if self.wish is None or self.wish.at < since:
            return since + QUIET
        hours = {0: 0, 1: 0, 2: 1}.get(self.doubts, 6)
        return self.wish.at + max(QUIET, timedelta(hours=hours))

    @staticmethod
    def not_before(answer_by: datetime | None, at: datetime) -> datetime:
        """Nobody is called while the telemetry is asked whether it is over."""
        return at if answer_by is None else max(at, answer_by)

    def next_due_at(self) -> datetime | None:
        return min((at for at, _ in self.deadlines()), default=None)

    def time_has_passed(self, now: datetime) -> Words:
        """What was due comes, once each; an incident that ends by itself bothers nobody any more."""
        passed = [happens for at, happens in sorted(self.deadlines(), key=lambda due: due[0]) if at <= now]
        if self.was_quiet in passed:
            passed = [happens for happens in passed if happens not in (self.escalates, self.hands_on)]
        return [word for happens in passed for word in happens(now)]

    def escalates(self, now: datetime) -> Words:
        self.level, self.level_at = self.level + 1, now
        for pager in ["", *(one.pager for one in self._asked() if one.pager)]:
            self.orders.append(Order("escalate_page", self.generation, pager, now))
        return ["incident.ack_deadline_missed"]

    def reminds(self, now: datetime) -> Words:
        self.reminded_at = now
        return ["incident.update_reminded"]

    def wakes_up(self, now: datetime) -> Words:
        if self.alerts_are_elsewhere():
            self.firing, self.changed_at = 0, now
            return ["incident.alerts_reported"]
        return self.returns(now, new_page=True)

    def gets_no_answer(self, now: datetime) -> Words:
        return self.telemetry_says(now, proven=False, answers=True)

    def was_quiet(self, now: datetime) -> Words:
        if self.proves:
            return self.wishes(now, despite_firing=False)
        return self.ends(now, "resolved", by_pager=False)

    @staticmethod
    def lease_ends(run: PlainRun, now: datetime) -> Words:
        return run.lease_ends()

    @staticmethod
    def is_still_lent(step: PlainStep, now: datetime) -> Words:
        step.reminded_at = now
        return ["run.fallback_reminded"]

    def _asked(self) -> list[Handover]:
        return [one for one in self.handovers if one.generation == self.generation]

    def _asks_in_vain_since(self) -> datetime | None:
        asked = self._asked()
        if self.generation in self.accepted or any(one.accepted or not one.pager for one in asked):
            return None
        if asked:
            return asked[-1].at
        began, severity = self.severities[0]
        if severity in PAGES and not self.by_pager:
            return began
        steps = zip(self.severities, self.severities[1:], strict=False)
        return next((at for (_, was), (at, is_now) in steps if was not in PAGES and is_now in PAGES), None)

    def hands_on(self, now: datetime) -> Words:
        pager = "" if any(one.pager == FALLBACK for one in self._asked()) else FALLBACK
        self.handovers.append(Handover(self.generation, now, pager))
        if pager:
            self.page(now, pager)
        return ["pager.page_unanswered"]
