"""The real desk, journal and outbox beside the plain model: what is done to one is done to the other, and compared."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import bindparam, select

from bot.contracts import Attempt, Permanent, Transient
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.due import next_due_at
from bot.incident.effects import Effect, Page, PageEffect, pager_named
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.incident.policy import Policy
from bot.incident.state import Incident, fold
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.chains import examine
from bot.journal.database import open_engine
from bot.journal.post import DEAD, DONE, WAITING
from bot.journal.tables import incident as incidents
from bot.journal.tables import outbox
from bot.outbox import Outbox
from tests.hands import HandClock
from tests.model.plain import FALLBACK, No, Plain, Words
from tests.model.plain_run import NoStep
from tests.model.plain_world import World

TICK: Final = timedelta(milliseconds=1)
POLICY: Final = Policy(pagers=("PagerDuty", FALLBACK))

Plainly = Callable[[Plain, datetime], Words]

_PROJECTED: Final = (
    select(incidents).where(incidents.c.workspace == bindparam("workspace")).order_by(incidents.c.number)
)
_OUTBOX: Final = (
    select(outbox)
    .join(incidents, incidents.c.id == outbox.c.incident)
    .where(incidents.c.workspace == bindparam("workspace"))
    .order_by(incidents.c.number, outbox.c.position)
)


@dataclass
class Moody:
    """A courier that takes what it is given, fails for now, or refuses for good."""

    label: str
    fallback: str = ""
    mood: str = "takes it"

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> list[ev.Event]:
        if self.mood == "fails":
            raise Transient("not now")
        if self.mood == "refuses":
            raise Permanent("never")
        if isinstance(effect, Page):
            return [ev.PageAccepted(self.label, effect.generation, fallback=self.fallback)]
        return []


@dataclass(frozen=True)
class Sent:
    """A command, whether its sender may do this at all, and what the model makes of it."""

    command: cmd.Command
    allowed: bool
    plainly: Callable[[], Words]
    plain: Plain


def named(entries: Any) -> Words:
    """Entries by the names under which their events are stored."""
    return [ev.NAMES[type(entry.event)] for entry in entries]


class Both(RuleBasedStateMachine):
    """One workspace of a database, and the plain world beside it."""

    url: ClassVar[str]
    workspaces: ClassVar[Iterator[int]]
    said: ClassVar[Counter[str]]
    """Everything that ever happened, so that a walk which never left the first room is noticed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.world = World()
        self.ids: list[str] = []
        self.sent: list[Sent] = []
        self.keys = 0
        self.workspace = f"model-{next(self.workspaces)}"
        self.couriers = {
            "pager": Moody("PagerDuty"),
            pager_named(FALLBACK): Moody("SMS", FALLBACK),
            "slack": Moody("Slack"),
        }
        self.policy = POLICY
        self.begin()

    def begin(self) -> None:
        """As a server does when it starts: with nothing in mind."""
        self.journal = Journal(
            open_engine(self.url), self.workspace, self.clock, lambda incident: next_due_at(incident, self.policy)
        )
        self.desk = Desk(self.journal, self.policy, Reading(), lambda: None)
        self.outbox = Outbox(self.desk, self.couriers)

    def teardown(self) -> None:
        try:
            self.everything_is_written_down()
        finally:
            self.journal.close()

    def tick(self) -> datetime:
        """Nothing else happens in the same moment."""
        self.clock.now += TICK
        return self.clock.now

    def meets(self, incident: Incident, plain: Plain) -> None:
        """The one is the other's counterpart, for good."""
        if plain.number > len(self.ids):
            self.ids.append(incident.id)
        assert self.ids[plain.number - 1] == incident.id
        assert incident.number == plain.number

    def number(self, incident_id: str) -> int:
        return self.ids.index(incident_id) + 1

    def command(self, kind: type[cmd.Command], by: Actor, incident: str, source: str, **fields: Any) -> cmd.Command:
        self.keys += 1
        key = f"model:{self.keys}"
        return kind(incident=incident, by=by, at=self.tick(), key=key, source=source, **fields)

    def hear(self, command: cmd.Command) -> Words | None:
        """What the bot makes of a command; None when it refuses."""
        try:
            return named(self.desk.handle(command, 30).entries)
        except Refused:
            return None

    def one(self, which: int) -> Plain:
        """An incident, a live one rather than one that is over."""
        ordered = sorted(self.world.incidents, key=lambda plain: (not plain.live, -plain.number))
        return ordered[which % len(ordered)]

    def says(
        self,
        plain: Plain,
        who: Actor,
        kind: type[cmd.Command],
        plainly: Plainly,
        *,
        there: bool = False,
        members: bool = False,
        **fields: Any,
    ) -> None:
        """Somebody wants something of an incident; `there` at the pager, and `members` need not be responders."""
        source = "pagerduty" if there else "slack"
        command = self.command(kind, who, self.ids[plain.number - 1], source, **fields)
        allowed = who.kind is ActorKind.BOT or (
            who.kind is ActorKind.MEMBER and (members or Right.RESPOND in who.rights)
        )
        sent = Sent(command, allowed, lambda: plainly(plain, command.at), plain)
        self.sent.append(sent)
        self.carry_out(sent)

    def carry_out(self, sent: Sent) -> None:
        told = self.hear(sent.command)
        expected = self._expected(sent)
        assert told == expected, f"{sent.command}: {told}, and not {expected}"
        self.world.counts(sent.command.key, expected or [], sent.plain)

    def _expected(self, sent: Sent) -> Words | None:
        if sent.command.key in self.world.known:
            return []
        if not sent.allowed:
            return None
        try:
            return sent.plainly()
        except (No, NoStep):
            return None

    @invariant()
    def the_projection_is_what_the_model_says(self) -> None:
        rows = self.journal.ask(lambda direct, workspace: direct.named(_PROJECTED, {"workspace": workspace}))
        assert [row["number"] for row in rows] == [plain.number for plain in self.world.incidents]
        for row, plain in zip(rows, self.world.incidents, strict=True):
            assert row["id"] == self.ids[plain.number - 1]
            assert (row["status"], row["live"]) == (plain.status, plain.live)
            assert (row["generation"], row["group_key"]) == (plain.generation, plain.group)
            assert row["seq"] == len(plain.story)
            assert row["acknowledged_at"] == plain.acknowledged_at
            assert row["mitigated_at"] == plain.mitigated_at
            assert row["resolved_at"] == plain.ended_at
            assert row["next_due_at"] == plain.next_due_at()
        groups = [plain.group for plain in self.world.incidents if plain.live and plain.group]
        assert len(groups) == len(set(groups)), "at most one live incident a group"

    @invariant()
    def pagers_are_told_what_the_model_says_and_every_lane_in_order(self) -> None:
        rows = self.journal.ask(lambda direct, workspace: direct.named(_OUTBOX, {"workspace": workspace}))
        orders: dict[str, list[Any]] = {incident_id: [] for incident_id in self.ids}
        behind: set[tuple[str, str, str]] = set()
        for row in rows:
            lane = (row["incident"], row["courier"], row["lane"])
            assert row["state"] in (WAITING, DONE, DEAD)
            if row["state"] == WAITING:
                behind.add(lane)
            else:
                assert lane not in behind, "what stands behind in a lane was carried out first"
            if row["courier"] == PageEffect.courier:
                waits = row["state"] == WAITING
                orders[row["incident"]].append(
                    (row["kind"], row["body"]["generation"], row["body"].get("pager", ""), waits)
                )
        for plain, told in zip(self.world.incidents, orders.values(), strict=True):
            assert told == [(order.what, order.generation, order.pager, order.waits) for order in plain.orders]

    def everything_is_written_down(self) -> None:
        """The entries alone, from the disk, give the same incident as the one at hand and as the model."""
        for plain, incident_id in zip(self.world.incidents, self.ids, strict=True):
            entries = self.journal.entries(incident_id)
            assert named(entries) == plain.story
            self.said.update(plain.story)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            folded = fold(entries)
            assert folded is not None
            assert folded == self.journal.incident(incident_id)
            assert (folded.status.value, folded.severity.value) == (plain.status, plain.severity)
            assert (folded.firing, folded.recovered) == (plain.firing, plain.recovered)
            assert {role.value: user for role, user in folded.roles.items()} == plain.roles
            assert folded.impact == plain.impact
            for run_id, run in plain.runs.items():
                stands = {step.spec.id: step.status.value for step in folded.runs[run_id].steps}
                assert stands == {step.name: step.status for step in run.steps.values()}
        found = self.journal.ask(examine)
        assert found.damage == ()
        assert found.entries == sum(len(plain.story) for plain in self.world.incidents)
