"""The journal as the rest of the bot sees it: write transactions through one writer, reads from anywhere."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from bot.incident.entry import Entry
from bot.incident.redact import storable
from bot.incident.state import Incident
from bot.journal import errands, ledger, post, servers
from bot.journal import statements as sql
from bot.journal.chain import entry_hash
from bot.journal.direct import Direct
from bot.journal.epoch import Epoch
from bot.journal.ids import new_id
from bot.journal.reader import Memory, Reader, Unreadable
from bot.journal.rows import Archived, Job, entry_from_row, envelope
from bot.journal.trouble import in_trouble
from bot.journal.txn import DueAt, JournalBatch, Txn
from bot.journal.writer import Busy, Writer

T = TypeVar("T")
Clock = Callable[[], datetime]

ANNOUNCED_AT_A_TIME: Final = 8
"""Incidents looked at together; nearly always the first one after is in an announcement of its own."""

LARGEST_NUMBER: Final = 2**31 - 1
"""What PostgreSQL's `integer` holds: no incident's number is larger."""
_MOST_DIGITS: Final = 20
"""With zeros before them; Python itself reads no number of thousands of digits."""

_TAKES_ITS_TIME: Final = "SET LOCAL idle_in_transaction_session_timeout = '5min'"
"""Who examines hashes for seconds between two statements holds no row that anybody waits for."""


class Journal:
    """The journal of one workspace. Reads may come from any thread; writes go through one.

    `hand_on` is told, inside each transaction, what is to be done next. `epoch` is the operator's own name for the
    history of the database.
    """

    def __init__(
        self,
        engine: Engine,
        workspace: str,
        clock: Clock,
        due_at: DueAt,
        hand_on: errands.HandOn | None = None,
        *,
        epoch: str = "",
    ) -> None:
        self.workspace = workspace
        self.clock = clock
        self.due_at = due_at
        self.hand_on = hand_on
        self.memory = Memory()
        self.server = new_id()
        """Who we are among the servers of this database; another with each start."""
        self.pulse = servers.Pulse()
        self.epoch = Epoch(engine, epoch)
        self._engine = engine
        # On PostgreSQL every statement sees what is committed by then, inside a transaction or not; without one, a
        # question is asked in one round trip instead of three.
        self._plain = engine if self.is_ours_alone else engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite reads one moment's state in every transaction.
        one_moment = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._still = engine if self.is_ours_alone else engine.execution_options(**one_moment)
        self._writer = Writer(engine, lambda: JournalBatch(self))

    @property
    def is_ours_alone(self) -> bool:
        """Whether no other process takes alerts in: so it is with SQLite, whose folder one server holds at a time."""
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Writes what is waiting and lets go of the database."""
        self._writer.close()
        self._engine.dispose()

    def write(self, job: Callable[[Txn], T], *, urgent: bool = True) -> Future[T]:
        """Runs `job` in a write transaction; the future resolves after the commit. Raises Busy."""
        return self._writer.submit(job, urgent=urgent)

    @contextmanager
    def _reading(self, engine: Engine | None = None) -> Iterator[Reader]:
        with (
            _said_of("read"),
            (engine or self._plain).connect().execution_options(reading=True) as connection,
            connection.begin(),
        ):
            yield Reader(Direct(connection), self.workspace, self.memory)

    def ask(self, question: Callable[[Direct, str], T]) -> T:
        """Answers a question of another part of the journal, about this workspace."""
        with self._reading() as reader:
            return question(reader.direct, self.workspace)

    def ask_of_one_moment(self, question: Callable[[Direct, str], T]) -> T:
        """As `ask`, for what must fit together: all that the question reads stood there at once."""
        with self._reading(self._still) as reader:
            if not self.is_ours_alone:
                reader.direct.say(_TAKES_ITS_TIME)
            return question(reader.direct, self.workspace)

    def incident(self, incident_id: str) -> Incident | None:
        """The incident as of now, or None."""
        with self._reading() as reader:
            return reader.incident(incident_id)

    def entries(self, incident_id: str) -> tuple[Entry, ...]:
        """All entries of an incident, in order; empty when there is no such incident."""
        with self._reading() as reader:
            return reader.entries(incident_id)

    def entry(self, entry_id: str) -> Entry | None:
        """One entry by its id."""
        with self._reading() as reader:
            rows = reader.direct.named(sql.ENTRY, {"entry_id": entry_id})
            texts: dict[str, str] = dict(reader.texts(rows))
            return entry_from_row(rows[0], texts) if rows else None

    def has_entry(self, entry_id: str) -> bool:
        """Whether there is an entry of this id, also in an incident that cannot be read."""
        with self._reading() as reader:
            return reader.direct.scalar(sql.HAS_ENTRY, {"entry_id": entry_id}) is not None

    def find(self, ref: str) -> Incident | None:
        """By what people call it: `INC-42`, `inc-42`, `42`, or the id. Raises Unreadable."""
        incident_id = self.id_of(ref)
        return None if incident_id is None else self.incident(incident_id)

    def id_of(self, ref: str) -> str | None:
        """The id of the incident that `find` finds, also of one that cannot be read."""
        called = _called(ref)
        if called is None:
            return None
        with self._reading() as reader:
            ours = {"workspace": self.workspace}
            if isinstance(called, int):
                row = reader.direct.first(sql.BY_NUMBER, {**ours, "number": called})
            else:
                row = reader.direct.first(sql.BY_ID, {**ours, "incident_id": called})
            return None if row is None else str(row[0])

    def archived(self, ref: str) -> Archived | None:
        """What is left of an incident that was archived, by its number or id as in `find`."""
        called = _called(ref)
        if called is None:
            return None
        with self._reading() as reader:
            ours = {"workspace": self.workspace}
            if isinstance(called, int):
                row = reader.direct.first(sql.ARCHIVED_BY_NUMBER, {**ours, "number": called})
            else:
                row = reader.direct.first(sql.ARCHIVED_BY_ID, {**ours, "incident_id": called})
        return None if row is None else Archived(*row)

    def by_channel(self, channel: str) -> Incident | None:
        """The incident whose own channel this is."""
        if not channel:
            return None
        with self._reading() as reader:
            return reader.one(sql.BY_CHANNEL, channel=channel)

    def in_group(self, group_key: str) -> Incident | None:
        """The latest incident of an alert group, over or not."""
        with self._reading() as reader:
            return reader.one(sql.BY_GROUP, group_key=group_key)

    def live(self) -> tuple[Incident, ...]:
        """Every incident that is not over and can be read, newest first."""
        with self._reading() as reader:
            return reader.many(sql.LIVE)

    def recent(self, limit: int = 20) -> tuple[Incident, ...]:
        """The newest incidents, over or not, that can be read."""
        with self._reading() as reader:
            return reader.many(sql.RECENT, most=limit)

    def unreadable(self, newest: int = 0) -> tuple[Unreadable, ...]:
        """The incidents that are on and that this version cannot read; and those among so many of the newest."""
        with self._reading() as reader:
            _, live = reader.sorted_out(sql.LIVE)
            _, recent = reader.sorted_out(sql.RECENT, most=newest)
        found = {one.ref: one for one in (*live, *recent)}
        return tuple(found.values())

    def announced_with(self, incident: Incident) -> tuple[Incident, ...]:
        """The incidents that are shown in this one's announcement, in the order in which they opened."""
        beside: list[Incident] = []
        after = incident
        with self._reading() as reader:
            while some := reader.many(sql.AFTER, number=after.number, most=ANNOUNCED_AT_A_TIME):
                beside += (one for one in some if one.announced_with == incident.id)
                after = some[-1]
                if after.announced_with != incident.id:
                    break
        return tuple(beside)

    def work_waits(self, now: datetime) -> bool:
        """Whether there may be anything to do: one question instead of many, for a quiet night."""
        with self._reading() as reader:
            return bool(reader.direct.scalar(sql.WORK_WAITS, {"workspace": self.workspace, "now": now}))

    def due(self, now: datetime) -> list[str]:
        """The incidents with a deadline that has passed."""
        with self._reading() as reader:
            return reader.direct.scalars(sql.DUE, {"workspace": self.workspace, "now": now})

    def waiting_groups(self) -> list[str]:
        """The alert groups whose news are not worked in yet."""
        with self._reading() as reader:
            return ledger.waiting_groups(reader.direct, self.workspace)

    def group_of(self, news: str) -> str | None:
        """The group that this row of the inbox is about; None when it is worked in already."""
        with self._reading() as reader:
            group: str | None = reader.direct.scalar(sql.GROUP_OF, {"news": news})
            return group

    def ready_jobs(self, now: datetime, limit: int = 32) -> list[Job]:
        """What the outbox could deliver now."""
        with self._reading() as reader:
            return post.ready(reader.direct, self.workspace, now, self.pulse.dead_before(now), limit)

    def ready_in_lane_of(self, job: str, now: datetime) -> Job | None:
        """What the outbox could deliver now in the lane of this job, or None."""
        with self._reading() as reader:
            return post.ready_in_lane_of(reader.direct, job, now, self.pulse.dead_before(now))

    def in_hand(self, job: str) -> Job | None:
        """The outbox job, if by the database this server has it in hand."""
        with self._reading() as reader:
            return post.in_hand(reader.direct, job, self.server)

    def beat(self) -> None:
        """Says that this server is alive. Raises Busy; whoever cannot say so for long is taken for dead."""
        now = self.clock()
        with _said_of("written"), self._plain.connect() as connection, connection.begin():
            servers.beat(Direct(connection), self.workspace, self.server, now)
        self.pulse.beaten(now)

    def sign_off(self) -> None:
        """This server ends, with nothing in its hands. Raises Busy."""
        with _said_of("written"), self._plain.connect() as connection, connection.begin():
            servers.leave(Direct(connection), self.server)

    def servers(self) -> list[str]:
        """The servers that are alive, by their id."""
        now = self.clock()
        with self._reading() as reader:
            return servers.alive(reader.direct, self.workspace, now)

    def numbers(self) -> dict[str, Any]:
        """Figures for health and metrics: incidents and jobs by state, news waiting, alerts by status."""
        with self._reading() as reader:
            ours = {"workspace": self.workspace}
            return {
                "incidents": dict(reader.direct.all(sql.INCIDENTS_BY_STATUS, ours)),
                "alerts": dict(reader.direct.all(sql.ALERTS_BY_STATUS, ours)),
                "news_waiting": reader.direct.scalar(sql.NEWS_WAITING, ours),
                "outbox": post.numbers(reader.direct, self.workspace),
            }

    def verify(self, incident_id: str) -> int | None:
        """The `seq` of the first entry whose hash does not fit, or None when the chain holds."""
        with self._reading() as reader:
            rows = reader.direct.named(sql.ENTRIES_OF, {"incident_id": incident_id})
            previous = ""
            for expected, row in enumerate(rows, start=1):
                fits = row["seq"] == expected and row["prev_hash"] == previous
                if not fits or entry_hash(envelope(row), previous) != row["hash"]:
                    return int(row["seq"])
                previous = row["hash"]
            return None


@contextmanager
def _said_of(done: str) -> Iterator[None]:
    """Raises Busy for a database in trouble, which could not be `done`."""
    try:
        yield
    except SQLAlchemyError as error:
        if in_trouble(error):
            raise Busy(f"the journal could not be {done}: {error}") from error
        raise


def _called(ref: str) -> int | str | None:
    """The number, else the id, that a person means; None for what no incident can have."""
    name = ref.strip()
    number = name.lower().removeprefix("inc-")
    if not number.isdecimal():
        return name if storable(name) == name else None
    return int(number) if len(number) <= _MOST_DIGITS and int(number) <= LARGEST_NUMBER else None
