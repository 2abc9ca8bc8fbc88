"""The morning after: what stands in the journal beside what was seen outside, counted."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import text

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.policy import Policy
from bot.incident.run import RunStatus, StepRun, StepStatus
from bot.incident.state import Incident, Status, evolve
from bot.integrations.pagerduty import dedup_key
from bot.journal import Journal
from bot.workbench.slack.model import Message
from tests.chaos.campaign import Fought, opened
from tests.chaos.people import mark

E = TypeVar("E", bound=ev.Event)


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
            rows = database.execute(text("SELECT fingerprint, status, group_key FROM alert")).all()
        stands = {fingerprint: status for fingerprint, status, _ in rows}
        burning = Counter(group for _, status, group in rows if status == "firing")
        counted = {incident.group_key: incident.firing for incident in self.incidents}
        written = Counter(event.text for _, event in self.events(ev.NoteAdded))
        lost = []
        for of, word in self.fought.monitor.told.items():
            last = "firing" if word.firing else "resolved"
            if stands.get(of) != last:
                lost.append(f"{of} was last said to be {last} and is {stands.get(of)}")
        for group, number in burning.items():
            if counted.get(group) != number:
                lost.append(f"{number} alerts of {group} burn, and its incident counts {counted.get(group)}")
        lost += [note for person in self.fought.people for note in person.noted if note not in written]
        return lost

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
        looks = [(call.at, urlsplit(call.path)) for call in self.bench.pagerduty.calls if call.method == "GET"]
        again = []
        for key, times in alerts.items():
            asked = [at for at, url in looks if parse_qs(url.query).get("incident_key") == [key]]
            pairs = itertools.pairwise(sorted(times))
            again += [key for one, other in pairs if not any(one <= at <= other for at in asked)]
        return again

    @cached_property
    def unpaged(self) -> list[str]:
        """Rounds for which nobody was woken although nobody had taken them; and pages that belong to no round."""
        needless = {
            (entry.incident, number)
            for entries in self._entries.values()
            for number, entry in _with_rounds(entries)
            if isinstance(entry.event, ev.Acknowledged | ev.Mitigated | ev.Resolved | ev.Cancelled)
        }
        rounds = {
            dedup_key(incident, number): (incident.id, number) in needless
            for incident in self.incidents
            for number in range(1, incident.generation + 1)
        }
        wrong = [f"nobody was paged for {key}" for key, taken in rounds.items() if not taken and key not in self.pages]
        return wrong + [f"{key} is nobody's page" for key in self.pages if key not in rounds]

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
        """Messages that people see twice."""
        marks = Counter((where, tuple(sorted(mark(message).items()))) for where, message in self.ours)
        return [f"{times} times in {where}: {dict(of)}" for (where, of), times in marks.items() if times > 1]

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
        """For each missed deadline to acknowledge, how long after it that was written down; sorted."""
        late = []
        for entries in self._entries.values():
            before: Incident | None = None
            for entry in entries:
                if before is not None and isinstance(entry.event, ev.AckDeadlineMissed):
                    due = (before.escalated_at or before.opened_at) + self.policy.ack_within
                    late.append(entry.recorded_at - due)
                before = evolve(before, entry)
        return sorted(late)

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
        yield f"  calls of Slack under fire {fought.calls}, of which failed on purpose {fought.failed}"
        yield (
            f"  webhooks answered 2xx {fought.monitor.accepted} of {len(fought.monitor.told)} alerts,"
            f" repeated to any server {fought.echo.again}; lost {len(self.lost)}"
        )
        entries = sum(len(entries) for entries in self._entries.values())
        yield f"  incidents {len(self.incidents)}, entries {entries}; doubled transitions {len(self.doubled)}"
        twice = sum(times - 1 for times in self.pages.values())
        yield (
            f"  PagerDuty: calls {self.page_calls.total()} -> keys {len(self.page_calls)};"
            f" second alerts {twice}, without cause {len(self.paged_again)}, rounds unpaged {len(self.unpaged)}"
        )
        yield f"  Slack: messages {len(self.ours)}; seen twice {len(self.said_twice)}"
        yield (f"  timers: fired {len(self.late)}, late p50 {statistics.median(late):.2f} s, max {max(late):.2f} s")
        yield (
            f"  runbooks: runs {len(self.events(ev.RunStarted))}, destructive acts {len(acts)};"
            f" repeated {len(self.repeated)}; steps interrupted {len(self.events(ev.StepInterrupted))},"
            f" asked about other than once {len(self.asked)}, acts after that {len(self.afterwards)}"
        )


def _with_rounds(entries: tuple[Entry, ...]) -> Iterator[tuple[int, Entry]]:
    """Each entry with the round it belongs to."""
    incident: Incident | None = None
    for entry in entries:
        before = incident.generation if incident else 1
        incident = evolve(incident, entry)
        yield before, entry


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
