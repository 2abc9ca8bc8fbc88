"""The desk: the one road by which anything happens. Load, decide, append, and put what follows into the outbox."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from bot.incident.alert import Alert, GroupState
from bot.incident.change import MOST, Change, ChangeKind, concerns, merged
from bot.incident.commands import ApproveStep, CheckTimers, Command, NoteChange, ReportAlerts
from bot.incident.decide import decide, follow, takes_refire
from bot.incident.effects import RefreshCard
from bot.incident.entry import Entry
from bot.incident.events import AlertsReported, ChangeFound, Event, IncidentOpened, Reopened
from bot.incident.failover import ASKS
from bot.incident.people import BOT, Actor, ActorKind, Refused, require_responder
from bot.incident.policy import Policy
from bot.incident.react import announcer, changes_announcement, react
from bot.incident.state import Incident
from bot.intake.alerts import Message, take_in
from bot.intake.reading import Reading
from bot.intake.tally import Heard, Known, Tally, merely_repeats
from bot.journal import Journal, News, Txn, changes, in_time
from bot.journal.brake import begun_since, confirmed, pull, released
from bot.journal.ids import new_id

log = structlog.get_logger()

T = TypeVar("T")

SOURCE_NAMES = {"pagerduty": "PagerDuty", "change": "the pipeline"}
"""How a sender of alerts writes its own name, where that is not simply capitalised."""
PATIENCE_S = 2.5
"""How long a person's click may wait for its commit: Slack gives up after 3 s."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The incident after a command, and what the command added: nothing for a repeat, or when it was already so."""

    incident: Incident
    entries: tuple[Entry, ...]


class Desk:
    """Turns commands into history. Thread-safe; every method that writes resolves only after the commit."""

    def __init__(self, journal: Journal, policy: Policy, reading: Reading, wake: Callable[[], None]) -> None:
        self.journal = journal
        self.policy = policy
        self.reading = reading
        self._wake = wake
        self._repeats = Tally()
        self._known = Known() if journal.is_ours_alone else None
        self._counting = threading.Lock()
        self._unopened = 0

    @property
    def unopened(self) -> int:
        """How often since the start a group's alerts opened nothing, because all were over when they were worked in."""
        return self._unopened

    def submit(self, command: Command) -> Future[Outcome]:
        """Carries a command out. Refused arrives as the future's exception; raises Busy when too much is waiting."""
        return self._write(lambda txn: self.execute(txn, command), urgent=True)

    def handle(self, command: Command, timeout: float = PATIENCE_S) -> Outcome:
        """`submit`, waited for. Raises Refused; Busy when the journal does not answer in time (seconds), Unsure when
        it may have been carried out all the same."""
        return in_time(self.submit(command), timeout)

    def confirm(self, by: Actor, timeout: float = PATIENCE_S) -> str:
        """A person vouches for the database after a fail-over; what they are told, empty when nothing waited for that.

        Raises Refused.
        """
        require_responder(by)
        if not by.is_person:
            raise Refused("Only a person can confirm a fail-over.")
        return self.soon(lambda txn: confirmed(txn, by), timeout)

    def pull_brake(self, by: Actor, reason: str, timeout: float = PATIENCE_S) -> bool:
        """Stops all runbooks; False when they are already. Raises Refused."""
        require_responder(by)
        return self.soon(lambda txn: pull(txn, by, reason), timeout)

    def release_brake(self, by: Actor, seq: int | None = None, timeout: float = PATIENCE_S) -> str:
        """Lets runbooks act again; what people are told, empty when they were not stopped.

        Raises Refused, also when `seq` is an earlier stop.
        """
        require_responder(by)
        return self.soon(lambda txn: released(txn, by, seq), timeout)

    def soon(self, job: Callable[[Txn], T], timeout: float = PATIENCE_S) -> T:
        """`write`, waited for. Raises what the job raises; Busy and Unsure as `handle` does."""
        return in_time(self._write(job, urgent=True), timeout)

    def receive(self, messages: Sequence[Message]) -> Future[list[int]]:
        """First stage of intake: the ledger and the inbox, no incident. Resolves to each message's groups with news.

        Several messages cost little more than one. They stand or fall together.
        """
        written: list[Alert] = []
        future = self.journal.write(lambda txn: self._take_in(txn, messages, written), urgent=False)

        def kept(done: Future[list[int]]) -> None:
            if not _is_written(done):
                return
            if self._known is not None:
                self._known.learn(written)
            if any(done.result()):  # a mere repeat leaves nothing to do
                self._wake()

        future.add_done_callback(kept)
        return future

    def knows(self, message: Message) -> bool:
        """Whether the message only repeats what is on disk; then it is counted, and need not be received."""
        if self._known is None or not self._known.is_repeat(message):
            return False
        now = self.journal.clock()
        for delivery in message.deliveries:
            self._repeats.add(Heard(message.source, delivery.fingerprint, 1, now))
        return True

    def note_change(self, change: Change) -> Future[tuple[bool, tuple[str, ...]]]:
        """Keeps a change, and puts it on the incidents it may have to do with.

        Resolves to whether it is new, and to what people call those incidents.
        """
        return self._write(lambda txn: self._note_change(txn, change), urgent=False)

    def changes(self, whose: str = "") -> list[Change]:
        """What pipelines told of late, the newest first: of a model or service, or of everything when it is empty."""
        since = self.journal.clock() - self.policy.changes_within
        told = self.journal.ask(lambda direct, workspace: changes.since(direct, workspace, since))
        return [one for one in told if not whose or one.kind is ChangeKind.INFRA or whose in (one.service, one.model)]

    def suspects(self, whose: str = "") -> list[Change]:
        """As `changes`, without those that never reached users."""
        return [one for one in self.changes(whose) if self._counts(one)]

    def _wake_if_written(self, done: Future[T]) -> None:
        if _is_written(done):  # what failed changed nothing; to look at once would only fail again
            self._wake()

    def drain(self, group_key: str) -> Future[Outcome | None]:
        """Second stage: works a group's news into its incident; None when there were none, or all was over already."""
        over: list[dict[str, Any]] = []
        future = self._write(lambda txn: self._drain(txn, group_key, over), urgent=True)

        def note(done: Future[Outcome | None]) -> None:
            if _is_written(done) and over:
                with self._counting:
                    self._unopened += 1
                log.info(
                    "alerts_opened_nothing",
                    group=group_key,
                    source=", ".join(sorted({item["source"] for item in over})),
                    began=sum(item["payload"]["began"] for item in over),
                    ended=sum(item["payload"]["ended"] for item in over),
                )

        future.add_done_callback(note)
        return future

    def check_timers(self, incident_id: str) -> Future[Outcome | None]:
        """Does what is due for the incident by now."""
        return self._write(lambda txn: self._check_timers(txn, incident_id), urgent=True)

    def write(self, job: Callable[[Txn], T]) -> Future[T]:
        """Several steps that stand or fall together; what follows from them is looked at after the commit."""
        return self._write(job, urgent=True)

    def _write(self, job: Callable[[Txn], T], *, urgent: bool) -> Future[T]:
        future = self.journal.write(job, urgent=urgent)
        future.add_done_callback(self._wake_if_written)
        return future

    def execute(self, txn: Txn, command: Command) -> Outcome:
        """Carries a command out inside a transaction. Raises Refused."""
        already = txn.seen(command.key)
        if already is not None:
            return Outcome(already, ())
        incident = txn.incident(command.incident)
        waiting = deque(decide(incident, command, self._policy(txn, command)))
        entries: list[Entry] = []
        while waiting:
            event = waiting.popleft()
            if isinstance(event, IncidentOpened):
                event = self._opened(txn, command, event)
            if isinstance(event, Reopened) and incident is not None:
                event = self._unless_succeeded(txn, incident, event, command)
            incident, entry = txn.append(_in_its_time(command, event), event, len(entries) + 1)
            entries.append(entry)
            txn.enqueue(incident.id, react(incident, entry, self.policy))
            if incident.announced_with and changes_announcement(event):
                self._refresh_announcement(txn, incident.announced_with)
            waiting.extendleft(reversed(follow(incident, event)))
        if incident is None:
            raise LookupError(f"{type(command).__name__} opened no incident")
        if any(isinstance(entry.event, IncidentOpened | Reopened) for entry in entries):
            incident, before = self._changes_before(txn, incident)
            entries += before
        return Outcome(incident, tuple(entries))

    def _note_change(self, txn: Txn, change: Change) -> tuple[bool, tuple[str, ...]]:
        new = txn.keep_change(change)
        if not self._counts(change) or txn.now - change.at > self.policy.changes_within:
            return new, ()
        meant = [one for one in txn.live() if concerns(change, one.service, one.model)]
        if not new:  # whoever missed our first answer gets the same
            noted_before = (one for one in meant if txn.seen(_noting(one, change, live=True).key))
            return False, tuple(one.ref for one in noted_before)
        noted = [self.execute(txn, _noting(one, change, live=True)) for one in meant]
        return True, tuple(outcome.incident.ref for outcome in noted if outcome.entries)

    def _changes_before(self, txn: Txn, incident: Incident) -> tuple[Incident, list[Entry]]:
        """The incident with what was changed shortly before it, as far as pipelines told us."""
        entries: list[Entry] = []
        since = txn.changes_since(txn.now - self.policy.changes_within)
        meant = (one for one in since if self._counts(one) and concerns(one, incident.service, incident.model))
        for change in reversed(merged(meant)[:MOST]):
            outcome = self.execute(txn, _noting(incident, change, live=False))
            incident = outcome.incident
            entries += outcome.entries
        return incident, entries

    def _counts(self, change: Change) -> bool:
        """Whether what happens there reaches users; a change that names no environment may be anywhere."""
        return not self.policy.environments or change.environment in {"", *self.policy.environments}

    def _opened(self, txn: Txn, command: Command, event: IncidentOpened) -> IncidentOpened:
        """The incident with its number, in whose announcement it is shown, and whether it is practice."""
        event = replace(event, number=txn.next_number(), announced_with=self._announcer(txn, command))
        samples = command.samples if isinstance(command, ReportAlerts) else ()
        drill = next((drill for drill in txn.drills() if drill.takes(samples)), None) if samples else None
        if drill is None:
            return event
        return replace(event, drill=True, drill_id=drill.id, title=f"Drill {drill.scenario}: {event.title}")

    def _announcer(self, txn: Txn, command: Command) -> str:
        if command.by.is_person:
            return ""  # one person declares one incident, and looks for it
        newest = txn.newest()
        first = txn.beside(newest.announced_with) if newest is not None and newest.announced_with else None
        return announcer(newest, first, txn.now, self.policy)

    @staticmethod
    def _refresh_announcement(txn: Txn, announcer: str) -> None:
        # Held, because places in its queue are given out here.
        if txn.beside(announcer) is not None:
            txn.enqueue(announcer, [RefreshCard()])

    def _policy(self, txn: Txn, command: Command) -> Policy:
        """The policy, with what a fail-over of the database forbids meanwhile."""
        if not isinstance(command, ASKS):
            return self.policy
        standing = txn.standing()
        policy = replace(self.policy, frozen=standing.frozen, previews_from=standing.previews_from)
        if not isinstance(command, ApproveStep):
            return policy
        cap = policy.caps.get(self._kind(txn, command))
        begun = begun_since(txn, command.at - cap.within) if cap else []
        return replace(policy, brake=txn.brake(), begun=tuple(begun))

    @staticmethod
    def _kind(txn: Txn, command: ApproveStep) -> str:
        """The kind of step that is approved; empty where there is no such step."""
        incident = txn.incident(command.incident)
        run = incident.runs.get(command.run) if incident else None
        return next((step.spec.kind for step in run.steps if step.spec.id == command.step), "") if run else ""

    def _unless_succeeded(self, txn: Txn, incident: Incident, event: Reopened, command: Command) -> Event:
        """At most one live incident per group: where a later one has the alerts, none are left to return for."""
        other = txn.latest_in_group(incident.group_key) if incident.group_key else None
        if other is None or not other.is_live or other.id == incident.id:
            return event
        if command.by.is_person:
            raise Refused(f"{other.ref} has taken over the alerts of {incident.ref}; work on that one.")
        return AlertsReported(0, incident.recovered, 0)

    def _take_in(self, txn: Txn, messages: Sequence[Message], written: list[Alert]) -> list[int]:
        """Works the messages into the ledger one after another; what the ledger holds is read and written once.

        `written` gets the rows as they stand then.
        """
        counts: list[int] = []
        news: list[News] = []
        before: dict[str, dict[str, Alert]] = {}
        changed: dict[tuple[str, str], Alert] = {}
        for source in {message.source for message in messages}:
            said = {d.fingerprint for message in messages if message.source == source for d in message.deliveries}
            before[source] = txn.known_alerts(source, sorted(said))
        ledger = {source: dict(known) for source, known in before.items()}
        for message in messages:
            intake = take_in(message, ledger[message.source], self.reading, txn.now)
            for row in intake.rows:
                ledger[message.source][row.fingerprint] = changed[message.source, row.fingerprint] = row
            for item in intake.news:
                facts = {"began": item.began, "ended": item.ended, "truncated": message.truncated}
                news.append(News(message.source, item.group_key, facts))
            counts.append(len(intake.news))
        txn.store_alerts([row for row in changed.values() if not self._is_repeat(before[row.source], row)])
        txn.put_news(news)
        written[:] = changed.values()
        return counts

    def _is_repeat(self, before: Mapping[str, Alert], row: Alert) -> bool:
        known = before.get(row.fingerprint)
        if known is None or not merely_repeats(known, row):
            return False
        self._repeats.add(Heard(row.source, row.fingerprint, row.times - known.times, row.last_seen))
        return True

    def count_repeats(self) -> None:
        """Writes down how often alerts were said again since the last time. Raises Busy; nothing is forgotten then."""
        heard = self._repeats.take()
        if not heard:
            return
        try:
            self.journal.write(lambda txn: txn.count_repeats(heard), urgent=False).result()
        except Exception:
            for one in heard:
                self._repeats.add(one)
            raise

    def _drain(self, txn: Txn, group_key: str, over: list[dict[str, Any]]) -> Outcome | None:
        """`over` gets the news that opened nothing; they stand in the ledger, and nobody is called for what is over."""
        over.clear()
        news = txn.take_news(group_key)
        if not news:
            return None
        began = sum(item["payload"]["began"] for item in news)
        last = txn.latest_in_group(group_key)
        joins = last is not None and (not began or takes_refire(last, txn.now, self.policy))
        target = last.id if last is not None and joins else new_id()
        if began:
            txn.adopt_alerts(group_key, target)
        state = txn.group_state(group_key, target)
        if not joins and not state.firing:
            over += news
            return None
        worst = state.samples[0] if state.samples else None
        source = news[-1]["source"]
        command = ReportAlerts(
            incident=target,
            by=Actor(ActorKind.SOURCE, source, SOURCE_NAMES.get(source, source.capitalize())),
            at=txn.now,
            key=f"inbox:{news[-1]['id']}",
            source=source,
            group_key=group_key,
            firing=state.firing,
            resolved=state.resolved,
            new=began,
            samples=tuple(
                {"name": alert.name, "title": alert.title, "labels": dict(alert.labels)} for alert in state.samples
            ),
            truncated=max(item["payload"]["truncated"] for item in news),
            title=_title(state),
            severity=state.worst,
            service=worst.service if worst else "",
            model=worst.model if worst else "",
            runbook=worst.runbook if worst else "",
            started_at=None,
            detected_at=state.started_at,
            recurs=last.id if last is not None and not joins else "",
        )
        return self.execute(txn, command)

    def _check_timers(self, txn: Txn, incident_id: str) -> Outcome | None:
        incident = txn.incident(incident_id)
        if incident is None:
            return None
        key = f"timer:{incident_id}:{incident.seq}"
        outcome = self.execute(
            txn, CheckTimers(incident=incident_id, by=BOT, at=txn.now, key=key, source="timer", source_id="")
        )
        if not outcome.entries and txn.standing().frozen:
            txn.look_again(incident_id)
        return outcome


def _noting(incident: Incident, change: Change, *, live: bool) -> NoteChange:
    return NoteChange(
        incident=incident.id,
        by=Actor(ActorKind.SOURCE, change.source, SOURCE_NAMES.get(change.source, change.source.capitalize())),
        at=change.at,
        key=f"change:{incident.id}:{change.id}",
        source=change.source,
        source_id=change.id,
        change=change,
        live=live,
    )


def _in_its_time(command: Command, event: Event) -> Command:
    """A change stands in the timeline where it was made, whenever it was found."""
    if not isinstance(event, ChangeFound):
        return command
    return replace(command, at=event.at, precision=event.precision)


def _title(state: GroupState) -> str:
    """What the incident of a group is called: its worst alert's own words, unless many alike speak at once."""
    if not state.samples:
        return ""
    worst = state.samples[0]
    alike = {alert.name for alert in state.samples} == {worst.name}
    if alike and len({alert.title for alert in state.samples}) > 1:
        return f"{worst.name} ({state.firing} alerts)"
    return worst.title


def _is_written(done: Future[T]) -> bool:
    """Whether it was committed; whoever waited for it may have given up before it began."""
    return not done.cancelled() and done.exception() is None
