"""The morning after: what stands in the journal beside what was seen outside, counted."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import select, text

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.policy import Policy
from bot.incident.run import RunStatus, StepRun, StepStatus
from bot.incident.state import Incident, Status, evolve
from bot.integrations.pagerduty import dedup_key
from bot.journal import Journal
from bot.journal.tables import alert, inbox, outbox
from bot.workbench.slack.model import Message
from tests.chaos import rules
from tests.chaos.campaign import Fought, opened
from tests.chaos.people import SEEN_S, Approved, mark

E = TypeVar("E", bound=ev.Event)
SHOWN: Final = timedelta(seconds=SEEN_S)


class Reckoning:
    """Everything that a night under fire can be held to. What should not have happened is told by sentences."""

    def __init__(self, fought: Fought, journal: Journal, policy: Policy) -> None:
        self.fought = fought
        self.bench = fought.servers.bench
        self.journal = journal
        self.policy = policy
        self.incidents = journal.recent(10_000)
        self._entries = {incident.id: journal.entries(incident.id) for incident in self.incidents}

    def events(self, kind: type[E]) -> list[tuple[Entry, E]]:
        """All of one kind, with their entries."""
        every = (entry for entries in self._entries.values() for entry in entries)
        return [(entry, entry.event) for entry in every if isinstance(entry.event, kind)]

    # -- what was answered 2xx ----------------------------------------------------------------------------------------

    @cached_property
    def lost(self) -> list[str]:
        """Alerts that do not stand in the ledger as their last word was, or not in their incident; and notes."""
        with opened(self.fought.servers.database) as database:
            rows = database.execute(select(alert.c.fingerprint, alert.c.status, alert.c.group_key)).all()
        stands = {fingerprint: status for fingerprint, status, _ in rows}
        burning = Counter(group for _, status, group in rows if status == "firing")
        counted = {incident.group_key: incident.firing for incident in self.incidents}
        written = Counter(event.text for _, event in self.events(ev.NoteAdded))
        lost = []
        for of, word in self.fought.monitor.told.items():
            last = "firing" if word.firing else "resolved"
            if stands.get(of) != last:
                lost.append(f"{of} was last said to be {last} and is {stands.get(of)}")
        for group in sorted({group for _, _, group in rows} - self.unopened):
            if counted.get(group) != burning[group]:
                lost.append(f"{burning[group]} alerts of {group} burn, and its incident counts {counted.get(group)}")
        lost += [note for person in self.fought.people for note in person.noted if note not in written]
        return lost

    @cached_property
    def unopened(self) -> frozenset[str]:
        """Groups that need no incident: whatever began in them had ended each time that their news were worked in."""
        changes: Counter[str] = Counter()
        news: dict[str, list[rules.News]] = defaultdict(list)
        with opened(self.fought.servers.database) as database:
            for group, number in database.execute(select(alert.c.group_key, alert.c.changes)):
                changes[group] += number
            told = select(inbox.c.group_key, inbox.c.received_at, inbox.c.drained_at, inbox.c.payload)
            for group, came, at, facts in database.execute(told):
                news[group].append(rules.News(came, at, facts["began"], facts["ended"]))
        without = set(changes) - {incident.group_key for incident in self.incidents}
        return frozenset(group for group in without if rules.was_never_seen_burning(changes[group], news[group]))

    @cached_property
    def unheeded(self) -> list[str]:
        """What was done in PagerDuty and answered 2xx, and what people were told or answered, and is not so here."""
        return [*self._unheeded_webhooks(), *self._untaken(), *self._unapproved()]

    def _unheeded_webhooks(self) -> Iterator[str]:
        by_key = {dedup_key(one, n): (one, n) for one in self.incidents for n in range(1, one.generation + 1)}
        for at, body in self.fought.echo.taken:
            event = json.loads(body)["event"]
            verb, key = event["event_type"], event["data"].get("incident_key")
            if verb not in ("incident.acknowledged", "incident.resolved") or key not in by_key:
                continue
            one, number = by_key[key]
            if not rules.was_heeded(self._entries[one.id], number, at, over=verb == "incident.resolved"):
                yield f"{verb} of {one.ref}, round {number}, was answered 2xx at {at:%H:%M:%S.%f} and is not so then"

    def _untaken(self) -> Iterator[str]:
        by_channel = {one.channel: one for one in self.incidents}
        for taken in (taken for person in self.fought.people for taken in person.taken):
            one = by_channel[taken.channel]
            before = rules.as_of(self._entries[one.id], taken.asked)
            number = before.generation if before else 1
            if not rules.was_heeded(self._entries[one.id], number, taken.told, over=False):
                yield f"{one.ref} was said to be somebody's at {taken.told:%H:%M:%S.%f} and is nobody's then"

    @cached_property
    def approvals(self) -> list[Approved]:
        """Those that were surely given: nothing died or stood still before it showed whether they were."""
        blows = self.fought.servers.blows
        given = (given for person in self.fought.people for given in person.approved)
        return [one for one in given if not any(one.asked <= blow <= one.told + SHOWN for blow in blows)]

    def _unapproved(self) -> Iterator[str]:
        for given in self.approvals:
            then = rules.as_of(self._entries[given.ref.incident], given.told)
            step = then.runs[given.ref.run].step(given.ref.step) if then else None
            if step is None or (step.status is StepStatus.ASKING and step.plan_digest == given.ref.digest):
                yield f"{given.ref} was approved at {given.told:%H:%M:%S.%f} and still asks then"

    # -- what happened, and how often ---------------------------------------------------------------------------------

    @cached_property
    def doubled(self) -> list[str]:
        """What happened to an incident although it had happened already."""
        doubled = [f"{group} has {n} incidents" for group, n in self._groups().items() if n > 1]
        doubled += [f"noted {n} times: {note}" for note, n in self._notes().items() if n > 1]
        return doubled + [sentence for entries in self._entries.values() for sentence in again(entries)]

    def _groups(self) -> Counter[str]:
        return Counter(incident.group_key for incident in self.incidents)

    def _notes(self) -> Counter[str]:
        return Counter(event.text for _, event in self.events(ev.NoteAdded))

    # -- pages --------------------------------------------------------------------------------------------------------

    @cached_property
    def page_calls(self) -> Counter[str]:
        """How often PagerDuty was called to wake somebody, by dedup key, whatever became of the call."""
        bodies = (call.body for call in self.bench.pagerduty.calls if isinstance(call.body, dict))
        return Counter(str(body["dedup_key"]) for body in bodies if body.get("event_action") == "trigger")

    @cached_property
    def pages(self) -> Counter[str]:
        """How many incidents PagerDuty has for each key."""
        return Counter(incident.key for incident in self.bench.pagerduty.incidents)

    @cached_property
    def paged_again(self) -> list[str]:
        """Rounds with a second alert although nothing stood in the way of seeing the first.

        A page of unknown outcome is looked for before it is sent once more. Where that look fails too, and somebody
        resolved the first meanwhile, it wakes them again: better twice than never.
        """
        alerts: dict[str, list[float]] = defaultdict(list)
        for incident in self.bench.pagerduty.incidents:
            alerts[incident.key].append(incident.created_at)
        searches: dict[str, list[rules.Search]] = defaultdict(list)
        for call in self.bench.pagerduty.calls:
            asked = parse_qs(urlsplit(call.path).query)
            if call.method == "GET" and "incident_key" in asked:
                answered = call.status == 200 and call.trouble == "none"
                searches[asked["incident_key"][0]].append(rules.Search(call.at, answered))
        return [key for key, times in alerts.items() for _ in rules.without_cause(times, searches[key])]

    @cached_property
    def _rounds(self) -> list[tuple[str, rules.Round, rules.Sent | None]]:
        """Every round by its key, and what became of its page in the outbox."""
        asked = select(outbox.c.incident, outbox.c.body, outbox.c.attempts, outbox.c.ended_at)
        with opened(self.fought.servers.database) as database:
            rows = database.execute(asked.where(outbox.c.kind == "page")).all()
        sent = {(row.incident, row.body["generation"]): rules.Sent(row.attempts, row.ended_at) for row in rows}
        return [
            (dedup_key(incident, one.number), one, sent.get((incident.id, one.number)))
            for incident in self.incidents
            for one in rules.rounds(self._entries[incident.id])
        ]

    @cached_property
    def unpaged(self) -> list[str]:
        """Rounds for which nobody was woken although nobody had taken them at once; and pages of no round."""
        judged = (
            (key, rules.wrong_with_page(one, page, is_there=key in self.pages)) for key, one, page in self._rounds
        )
        wrong = [f"{key}: {what}" for key, what in judged if what]
        rounds = {key for key, _, _ in self._rounds}
        return wrong + [f"{key} is nobody's page" for key in self.pages if key not in rounds]

    @cached_property
    def hindered(self) -> list[str]:
        """Rounds whose page was still being tried, or killed in the middle of it, when somebody took them."""
        return [key for key, one, page in self._rounds if key not in self.pages and rules.was_hindered(one, page)]

    @cached_property
    def out_of_step(self) -> list[str]:
        """Incidents that are over here and not there, or there and not here."""
        status = {incident.key: incident.status for incident in self.bench.pagerduty.incidents}
        wrong = []
        for one in self.incidents:
            theirs = status.get(dedup_key(one, one.generation))
            if theirs is not None and (theirs == "resolved") == one.is_live:
                wrong.append(f"{one.ref} is {one.status} here and {theirs} there")
        return wrong

    # -- Slack --------------------------------------------------------------------------------------------------------

    @cached_property
    def ours(self) -> list[tuple[str, Message]]:
        """Every message of the bot's, with its channel."""
        with self.bench.workspace.state.lock:
            channels = list(self.bench.workspace.state.channels.values())
            return [(channel.id, message) for channel in channels for message in channel.messages if mark(message)]

    @cached_property
    def said_twice(self) -> list[str]:
        """Every copy of a message beyond the first."""
        marks = Counter((where, tuple(sorted(mark(message).items()))) for where, message in self.ours)
        return [f"once more in {where}: {dict(of)}" for (where, of), times in marks.items() for _ in range(times - 1)]

    @cached_property
    def misplaced(self) -> list[str]:
        """Incidents without their one channel, its card, or one in the intake channel, of their own or a storm's."""
        surfaces = {(mark(message).get("incident"), mark(message).get("surface")) for _, message in self.ours}
        with self.bench.workspace.state.lock:
            names = [(c.name, c.id) for c in self.bench.workspace.state.channels.values()]
        wrong = []
        for one in self.incidents:
            channels = [ident for name, ident in names if name.startswith(f"inc-{one.number}-")]
            if channels != [one.channel]:
                wrong.append(f"{one.ref} has the channels {channels}, and knows of {one.channel}")
            places = ("incident",) if one.announced_with else ("intake", "incident")
            wrong += [f"{one.ref} has no card: {at}" for at in places if (one.id, at) not in surfaces]
        return wrong + [
            effect for one in self.incidents if any(one.ref in w for w in wrong) for effect in self._effects(one)
        ]

    def _effects(self, incident: Incident) -> list[str]:
        """What became of everything that was to be done in Slack about an incident, a sentence each."""
        asked = text(
            "SELECT position, kind, state, attempts, claim, last_error, progress FROM outbox"
            " WHERE incident = :id AND courier = 'slack' ORDER BY position"
        )
        with opened(self.fought.servers.database) as database:
            return [
                f"{incident.ref} " + " ".join(map(str, row)) for row in database.execute(asked, {"id": incident.id})
            ]

    # -- timers -------------------------------------------------------------------------------------------------------

    @cached_property
    def late(self) -> list[timedelta]:
        """For each missed deadline to acknowledge, how long after it that was written down; sorted. The time in which
        the only server stood still is not counted: nobody can notice anything then."""
        return sorted(span.late(self.fought.servers.standstills) for _, span in self._spans if span.missed)

    @cached_property
    def unnoticed(self) -> list[str]:
        """Deadlines that were never noticed, though it was long after them that somebody took it or the night ended."""
        still = self.fought.servers.standstills
        return [f"{ref}: {span}" for ref, span in self._spans if not span.missed and span.late(still) > rules.AT_ONCE]

    @cached_property
    def _spans(self) -> list[tuple[str, rules.Span]]:
        until = self.fought.ended_at
        assert until is not None, "the night is not over"
        return [
            (incident.ref, span)
            for incident in self.incidents
            for span in rules.spans(self._entries[incident.id], self.policy, until)
        ]

    # -- runbooks -----------------------------------------------------------------------------------------------------

    @cached_property
    def repeated(self) -> list[str]:
        """Destructive acts that were carried out more often than a person said go."""
        goes = {f"{event.run}:{event.step}:{event.attempt}" for _, event in self.events(ev.StepStarted)}
        acts = Counter(key for _, key in self.fought.plant.destroyed())
        again = [f"{key} was carried out {times} times" for key, times in acts.items() if times > 1]
        return again + [f"{key} had nobody's go" for key in acts if key not in goes]

    @cached_property
    def afterwards(self) -> list[str]:
        """Destructive acts that came after their own attempt had been called interrupted, and a person asked."""
        asked = {}
        for entries in self._entries.values():
            attempts: dict[tuple[str, str], int] = {}
            for entry in entries:
                if isinstance(entry.event, ev.StepStarted):
                    attempts[entry.event.run, entry.event.step] = entry.event.attempt
                if isinstance(entry.event, ev.StepInterrupted):
                    run, step = entry.event.run, entry.event.step
                    asked[f"{run}:{step}:{attempts[run, step]}"] = entry.recorded_at
        return [key for at, key in self.fought.plant.destroyed() if key in asked and at > asked[key]]

    @cached_property
    def asked(self) -> list[str]:
        """Interrupted steps about which people were not asked exactly once."""
        told = Counter(mark(message).get("entry") for _, message in self.ours)
        return [entry.id for entry, _ in self.events(ev.StepInterrupted) if told[entry.id] != 1]

    # -- all of it ----------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The report."""
        fought = self.fought
        late = [one.total_seconds() for one in self.late] or [0.0]
        acts = fought.plant.destroyed()
        yield (
            f"{fought.kills} kills, {fought.hangs} hangs, {fought.crashes} crashes of the database in"
            f" {fought.seconds:.0f} s; seed {fought.plan.seed}"
        )
        calls = (f"{whom} {met.total()}, {fought.failed(whom)}" for whom, met in fought.met.items())
        yield f"  calls under fire, of which failed on purpose: {'; '.join(calls)}"
        yield (
            f"  webhooks answered 2xx {fought.monitor.accepted} of {len(fought.monitor.told)} alerts,"
            f" repeated to any server {fought.echo.again}; lost {len(self.lost)};"
            f" groups that ended before they were worked in {len(self.unopened)}"
        )
        told = Counter(json.loads(body)["event"]["event_type"] for _, body in fought.echo.taken)
        yield (
            f"  of PagerDuty's webhooks acknowledged {told['incident.acknowledged']}, resolved"
            f" {told['incident.resolved']}; taken in Slack {sum(len(one.taken) for one in fought.people)},"
            f" approved {len(self.approvals)}; not so {len(self.unheeded)}"
        )
        entries = sum(len(entries) for entries in self._entries.values())
        yield f"  incidents {len(self.incidents)}, entries {entries}; doubled transitions {len(self.doubled)}"
        twice = sum(times - 1 for times in self.pages.values())
        yield (
            f"  PagerDuty: calls {self.page_calls.total()} -> keys {len(self.page_calls)};"
            f" second alerts {twice}, of which excused {twice - len(self.paged_again)};"
            f" rounds unpaged {len(self.unpaged)}, taken while the page was hindered {len(self.hindered)}"
        )
        yield f"  Slack: messages {len(self.ours)}; seen twice {len(self.said_twice)}"
        yield (
            f"  timers: fired {len(self.late)}, late p50 {statistics.median(late):.2f} s, max {max(late):.2f} s;"
            f" unnoticed {len(self.unnoticed)}"
        )
        yield (
            f"  runbooks: runs {len(self.events(ev.RunStarted))}, destructive acts {len(acts)};"
            f" repeated {len(self.repeated)}; steps interrupted {len(self.events(ev.StepInterrupted))},"
            f" asked about other than once {len(self.asked)}, acts after that {len(self.afterwards)}"
        )


def again(entries: Sequence[Entry]) -> Iterator[str]:
    """What happened to one incident although it had happened already."""
    before: Incident | None = None
    for entry in entries:
        if before is not None and _is_so_already(before, entry.event):
            yield f"{before.ref}, entry {entry.seq}: {type(entry.event).__name__} again"
        before = evolve(before, entry)


def _is_so_already(before: Incident, event: ev.Event) -> bool:
    """Whether the event would make happen what has happened."""
    match event:
        case ev.IncidentOpened():
            return True
        case ev.Acknowledged():
            return before.status is not Status.OPEN
        case ev.Mitigated():
            return before.status is Status.MITIGATED or not before.is_live
        case ev.Resolved() | ev.Cancelled():
            return not before.is_live
        case ev.Reopened():
            return before.is_live
        case ev.AckDeadlineMissed(level=level):
            return before.status is not Status.OPEN or level != before.escalations + 1
        case ev.ChannelOpened():
            return bool(before.channel)
        case ev.RunStarted(run=run):
            return run in before.runs
        case ev.RunFinished(run=run):
            return before.runs[run].status is not RunStatus.RUNNING
        case ev.StepStarted(attempt=attempt):
            return attempt != _step(before, event).attempt + 1
        case ev.StepApplied() | ev.StepInterrupted():
            return _step(before, event).status is not StepStatus.RUNNING
        case ev.StepSucceeded():
            return _step(before, event).status is StepStatus.DONE
        case _:
            return False


def _step(before: Incident, event: ev.StepStarted | ev.StepApplied | ev.StepInterrupted | ev.StepSucceeded) -> StepRun:
    return before.runs[event.run].step(event.step)
