"""One write transaction as a job sees it."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from bot.incident.alert import Alert, GroupState
from bot.incident.brake import ABOUT, BRAKED, Brake, brake
from bot.incident.change import Change
from bot.incident.commands import Command
from bot.incident.drill import ABOUT as DRILLS
from bot.incident.drill import Drill, under_way
from bot.incident.effects import Effect
from bot.incident.entry import Entry
from bot.incident.events import VERSION, Event
from bot.incident.failover import WHY, Standing
from bot.incident.people import Actor
from bot.incident.state import Incident, evolve
from bot.intake.tally import Heard
from bot.journal import changes, errands, heads, ledger, logbook, post, servers, slots
from bot.journal import statements as sql
from bot.journal.chain import entry_hash, new_salt, text_digest
from bot.journal.codec import actor_out, event_out
from bot.journal.direct import Direct
from bot.journal.epoch import Epoch, Glance
from bot.journal.ids import new_id
from bot.journal.reader import Memory, Reader, Unreadable
from bot.journal.rows import Job, entry_from_row, envelope

log = structlog.get_logger()

DueAt = Callable[[Incident], datetime | None]

_COLUMNS_OF_A_TEXT: Final = ("digest", "incident", "salt", "text")
HELD_FOR: Final = timedelta(seconds=5)
"""How soon it is looked at again what waits after a fail-over."""


class Home(Protocol):
    """What a transaction takes from the journal that it belongs to."""

    workspace: str
    clock: Callable[[], datetime]
    due_at: DueAt
    hand_on: errands.HandOn | None
    memory: Memory
    server: str
    pulse: servers.Pulse
    epoch: Epoch


class Txn(Reader):
    """One write transaction as a job sees it; everything it does is kept or dropped together."""

    def __init__(self, direct: Direct, journal: Home, memory: Memory, now: datetime) -> None:
        super().__init__(direct, journal.workspace, memory)
        self.now = now
        self.touched: dict[str, Incident] = {}
        self.heads: dict[str, str] = {}
        self._journal = journal
        self._errands: list[errands.Errand] = []
        self._epoch = journal.epoch
        self._earliest: datetime | None = None

    def incident(self, incident_id: str) -> Incident | None:
        """The incident, held until the commit: what is decided about it is decided about it as it is."""
        if incident_id in self.touched:
            return self.touched[incident_id]
        head = self.direct.scalar(sql.LOCKED_HEAD_OF, {"incident_id": incident_id})
        return None if head is None else self._as_of(incident_id, head)

    def _as_of(self, incident_id: str, head: str) -> Incident | None:
        # What this transaction wrote is not to be remembered before it is on disk.
        return self.touched.get(incident_id) or super()._as_of(incident_id, head)

    def seen(self, key: str) -> Incident | None:
        """The incident in which a command with this key has made something happen before."""
        found = self.direct.scalar(sql.SEEN, {"workspace": self.workspace, "key": key})
        return None if found is None else self.incident(found)

    def next_number(self) -> int:
        """The number of the next incident; people say INC-42."""
        return int(self.direct.scalar(sql.HIGHEST_NUMBER, {"workspace": self.workspace}) or 0) + 1

    def latest_in_group(self, group_key: str) -> Incident | None:
        """The group's latest incident, over or not, held until the commit.

        None also when that one is over and cannot be read: its alerts have to wake somebody, in an incident of their
        own. While it is on, Unreadable: a group has one live incident, and its news wait for a version that can read.
        """
        row = self.direct.first(sql.LOCKED_BY_GROUP, {"workspace": self.workspace, "group_key": group_key})
        if row is None:
            return None
        try:
            return self._as_of(*row)
        except Unreadable:
            if self.direct.scalar(sql.IS_LIVE, {"incident_id": row[0]}):
                raise
            return None

    def newest(self) -> Incident | None:
        """The incident that opened last; None when it cannot be read."""
        return next(iter(self.many(sql.RECENT, most=1)), None)

    def beside(self, incident_id: str) -> Incident | None:
        """As `incident`, for another one than it is all about: None also when it cannot be read."""
        try:
            return self.incident(incident_id)
        except Unreadable:
            return None

    def append(self, command: Command, what: Event, nth: int) -> tuple[Incident, Entry]:
        """Adds one entry, the `nth` of its command, with its projection. The only place where truth is written."""
        before = self.incident(command.incident)
        seq, prev_hash = (0, "") if before is None else self._head(before.id)
        texts: list[dict[str, Any]] = []

        def keep(text: str) -> str:
            salt = new_salt()
            digest = text_digest(salt, text)
            texts.append({"digest": digest, "incident": command.incident, "salt": salt, "text": text})
            return digest

        kind, body = event_out(what, keep)
        row: dict[str, Any] = {
            "id": new_id(),
            "workspace": self.workspace,
            "incident": command.incident,
            "seq": seq + 1,
            "kind": kind,
            "v": VERSION,
            "at": command.at,
            "recorded_at": self._recorded_at(),
            "precision": command.precision.value,
            "by": actor_out(command.by),
            "source": command.source,
            "source_id": command.source_id,
            "key": command.key if nth == 1 else f"{command.key}#{nth}",
            "body": body,
        }
        row |= {"prev_hash": prev_hash, "hash": entry_hash(envelope(row), prev_hash)}
        entry = entry_from_row(row, {text["digest"]: text["text"] for text in texts})
        after = evolve(before, entry)
        self._project(after, row["hash"], is_new=before is None)
        self.direct.run(sql.NEW_ENTRY, row)
        self.direct.run_many(
            sql.NEW_TEXTS, _COLUMNS_OF_A_TEXT, [tuple(text[name] for name in _COLUMNS_OF_A_TEXT) for text in texts]
        )
        self.touched[after.id], self.heads[after.id] = after, entry.hash
        return after, entry

    def _recorded_at(self) -> datetime:
        """Now, but not within what a head covers already."""
        if self._earliest is None:
            self._earliest = heads.earliest(self.direct, self.workspace)
        return max(self.now, self._earliest)

    def _head(self, incident_id: str) -> tuple[int, str]:
        seq, head_hash = self.direct.all(sql.END_OF, {"incident_id": incident_id})[0]
        return seq, head_hash

    def _project(self, item: Incident, head_hash: str, *, is_new: bool) -> None:
        values = {
            "status": item.status.value,
            "live": item.is_live,
            "group_key": item.group_key,
            "generation": item.generation,
            "seq": item.seq,
            "head_hash": head_hash,
            "channel": item.channel,
            "detected_at": item.detected_at,
            "acknowledged_at": item.acknowledged.at if item.acknowledged else None,
            "mitigated_at": item.mitigated.at if item.mitigated else None,
            "resolved_at": item.resolved.at if item.resolved else None,
            "next_due_at": self._journal.due_at(item),
        }
        if is_new:
            named = {"id": item.id, "workspace": item.workspace, "number": item.number}
            self.direct.run(sql.NEW_INCIDENT, {**named, **values})
        else:
            self.direct.run(sql.CHANGED_INCIDENT, {"incident_id": item.id, **values})

    def enqueue(self, incident_id: str, effects: Sequence[Effect]) -> None:
        """Adds what must be done outside, in the same commit as what made it necessary."""
        self._errands += post.enqueue(self.direct, self.workspace, incident_id, effects, self.now)

    def hand_on(self) -> None:
        """Tells the engine of what is to be done now, if it wants to be told; the last thing a transaction does."""
        if self._errands and self._journal.hand_on is not None:
            self._journal.hand_on(self.direct, self._errands)

    def standing(self) -> Standing:
        """Whether the database is the one that a person last vouched for, as it is in this transaction."""
        return self._epoch.look(self.direct, self.workspace, self.now)

    def brake(self) -> Brake | None:
        """Who stopped all runbooks, if somebody did."""
        return brake(logbook.latest(self.direct, self.workspace, ABOUT))

    def drills(self) -> list[Drill]:
        """The drills that go on, the oldest first."""
        return under_way(logbook.records(self.direct, self.workspace, DRILLS))

    def glance(self) -> Glance:
        """What tells whether anything has changed about the database or the logbook."""
        return self._epoch.glance(self.direct, self.workspace, self.now)

    def confirm(self, by: Actor) -> bool:
        """A person vouches for the database after a fail-over; False when there was nothing to confirm."""
        return self._epoch.confirm(self.direct, self.workspace, by, self.now)

    def claim(self, job: str, until: datetime) -> Job | None:
        """Takes an outbox job into this server's hands; None when it is not to be had, or not its turn yet.

        After a fail-over that nobody has confirmed, acts are not to be had, nor while all runbooks are stopped.
        """
        standing = self.standing()
        hand = post.Hand(self._journal.server, until, self._journal.pulse.dead_before(self.now))
        taken = post.claim(self.direct, job, self.now, hand)
        if taken is not None and standing.holds(taken.effect):
            self.put_back(taken, self.now + HELD_FOR, WHY)
            return None
        if taken is not None and isinstance(taken.effect, BRAKED) and (pulled := self.brake()):
            self.put_back(taken, self.now + HELD_FOR, pulled.words)
            return None
        return taken

    def hold(self, job: Job, until: datetime) -> bool:
        """Keeps a job for longer; False when it is not ours any more."""
        return post.hold(self.direct, job, until)

    def finish(self, job: Job) -> bool:
        """The job is done; False when it was not ours any more, and then nothing it brought back may count."""
        return post.settle(self.direct, job, {"state": post.DONE, "ended_at": self.now})

    def bury(self, job: Job, reason: str) -> bool:
        """The job cannot be done."""
        values = {"state": post.DEAD, "ended_at": self.now, "last_error": reason}
        return post.settle(self.direct, job, values)

    def postpone(self, job: Job, until: datetime, reason: str, *, warned: bool) -> bool:
        """It did not work; another attempt is due at `until`."""
        values = {"due_at": until, "last_error": reason, "warned": job.warned or warned, "claimed_until": self.now}
        return post.settle(self.direct, job, values)

    def put_back(self, job: Job, until: datetime, reason: str) -> bool:
        """It was not even tried, and is due again at `until`."""
        values = {"due_at": until, "last_error": reason, "attempts": job.attempts - 1}
        return post.settle(self.direct, job, values)

    def come_back(self, job: Job, at: datetime, progress: dict[str, Any]) -> bool:
        """It goes on at `at`; this was no failed attempt."""
        values = {"due_at": at, "progress": progress, "attempts": 0, "claimed_until": self.now}
        return post.settle(self.direct, job, values)

    def release_all(self) -> None:
        """Gives back every claim of a process that is gone."""
        post.release_all(self.direct, self.workspace)

    def hasten(self, latest: datetime) -> None:
        """Lets nothing rest for longer because the clock was set back: what waits is due at `latest` at the latest, and
        who is dead has not beaten in the future."""
        post.hasten(self.direct, self.workspace, self.now, latest)
        servers.from_later(self.direct, self.workspace, self.now)

    def tidy(self, before: datetime) -> None:
        """Forgets what was delivered and drained before then, and the servers that are long dead."""
        post.tidy(self.direct, self.workspace, before)
        servers.forget(self.direct, self.workspace, self.now)
        slots.forget(self.direct, self.workspace, before)

    def look_again(self, incident_id: str) -> None:
        """What is due for the incident has to wait after a fail-over."""
        self.direct.run(sql.CHANGED_INCIDENT, {"incident_id": incident_id, "next_due_at": self.now + HELD_FOR})

    def refresh_due(self) -> None:
        """Computes every live incident's next deadline anew, for when the settings behind them have changed.

        Where they have not, nothing is written and nobody waited for, however many servers begin while others work.
        What has been added to meanwhile has its deadline from whoever added it.
        """
        for incident_id, seq, head, known in self.direct.all(sql.UNFINISHED, {"workspace": self.workspace}):
            try:
                item = self._as_of(incident_id, head)
            except Unreadable as unreadable:
                log.error("incident_unreadable", incident=unreadable.ref, reason=str(unreadable))
                continue  # its deadline stays, for whoever can read it
            due_at = None if item is None else self._journal.due_at(item)
            if due_at != known:
                self.direct.run(sql.DUE_ANEW, {"incident_id": incident_id, "as_of": seq, "due_at": due_at})

    def keep_change(self, change: Change) -> bool:
        """Writes the change into its ledger; False when it was there already."""
        return changes.keep(self.direct, self.workspace, change, self.now)

    def changes_since(self, moment: datetime) -> list[Change]:
        """What pipelines told us was changed since then, the newest first."""
        return changes.since(self.direct, self.workspace, moment)

    def forget_changes(self, before: datetime) -> None:
        """Takes out of the ledger what was changed before then."""
        changes.forget(self.direct, self.workspace, before)

    def live(self) -> tuple[Incident, ...]:
        """Every incident that is on, the newest first, as each stands now and held by nobody."""
        return self.many(sql.LIVE)

    def known_alerts(self, source: str, fingerprints: Sequence[str]) -> dict[str, Alert]:
        """The ledger's rows of these fingerprints."""
        return ledger.known(self.direct, self.workspace, source, fingerprints)

    def store_alerts(self, alerts: Sequence[Alert]) -> None:
        """Writes rows of the ledger."""
        ledger.store(self.direct, self.workspace, alerts)

    def count_repeats(self, heard: Sequence[Heard]) -> None:
        """Adds up how often rows of the ledger were heard again."""
        ledger.count(self.direct, self.workspace, heard)

    def put_news(self, news: Sequence[ledger.News]) -> None:
        """Remembers that groups have news."""
        ledger.put(self.direct, self.workspace, news, self.now)
        if news and self._journal.hand_on is not None:
            groups = sorted({item.group_key for item in news})
            self._errands += errands.of_news(self.direct, self.workspace, groups, self.now)

    def take_news(self, group_key: str) -> list[dict[str, Any]]:
        """The group's news, which are drained with this transaction."""
        return ledger.take(self.direct, self.workspace, group_key, self.now)

    def group_state(self, group_key: str, incident_id: str | None) -> GroupState:
        """How the group stands in the ledger."""
        return ledger.group_state(self.direct, self.workspace, group_key, incident_id)

    def adopt_alerts(self, group_key: str, incident_id: str) -> None:
        """The group's firing alerts belong to this incident now."""
        ledger.adopt(self.direct, self.workspace, group_key, incident_id)


class JournalBatch:
    """What one commit touches; nothing of it is remembered before it is on disk."""

    def __init__(self, journal: Home) -> None:
        self._journal = journal
        self._now = journal.clock()
        self._kept: dict[str, Incident] = {}
        self._heads: dict[str, str] = {}
        self._txn: Txn | None = None

    def run(self, direct: Direct, job: Callable[[Txn], Any]) -> Any:
        self._txn = Txn(direct, self._journal, self._journal.memory, self._now)
        self._txn.touched.update(self._kept)
        result = job(self._txn)
        self._txn.hand_on()
        return result

    def keep(self) -> None:
        if self._txn is not None:
            self._kept.update(self._txn.touched)
            self._heads.update(self._txn.heads)

    def drop(self) -> None:
        self._txn = None

    def committed(self) -> None:
        for incident_id, head in self._heads.items():
            self._journal.memory.put(self._kept[incident_id], head)
