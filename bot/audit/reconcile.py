"""After a fail-over: what the world says about the seconds that may be missing here.

What Alertmanager and PagerDuty know and we do not is brought in by the same roads as ever, so that twice does no harm;
what only a person can judge is said. Cards and open steps are shown anew, as the record has them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from bot.contracts import Malformed, Permanent, Transient
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident.entry import FIRST_PAGER
from bot.incident.logbook import Kind, Record
from bot.incident.people import BOT, Actor, ActorKind, Refused
from bot.incident.runs import current_step
from bot.incident.state import Incident, Status
from bot.incident.timeline import count
from bot.integrations import alertmanager, pagerduty
from bot.journal import Busy, Txn, in_time, logbook
from bot.journal.census import firing_here
from bot.slack.census import CHANNELS, Told

log = structlog.get_logger()

SAID: Final = 12
"""Of one kind; the rest is counted."""
PATIENCE_S: Final = 30.0


@dataclass(slots=True)
class _Found:
    """What one of them said so far. A journal that was busy is no reason to forget what was brought in before it."""

    lines: list[str] = field(default_factory=list)
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class Reconciler:
    """`firing`, `pages` and `told` ask the world and raise Transient, Permanent or Malformed; None is not connected.

    `pages` takes the keys that are expected to be open, and gives what is known of these and of all open ones.
    """

    desk: Desk
    firing: Callable[[], alertmanager.Burning] | None = None
    pages: Callable[[Sequence[str]], Sequence[pagerduty.Paged]] | None = None
    told: Callable[[Sequence[str]], Sequence[Told]] | None = None
    _found: dict[tuple[int, str], _Found] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(self, record: Record) -> None:
        """Reconciles once for each record about a fail-over, and puts on record what came of it."""
        journal = self.desk.journal
        done = journal.ask(lambda direct, workspace: logbook.records(direct, workspace, (Kind.RECONCILED,)))
        if any(one.body["of"] == record.seq for one in done):
            return
        lines = [*self._asked(record, "Alertmanager", self.firing, self._alerts)]
        lines += self._asked(record, "PagerDuty", self.pages, lambda: self._pages(record))
        lines += self._asked(record, "Slack", self.told, self._messages)
        body = {"of": record.seq, "lines": lines or ["Nothing is connected that could be asked."]}

        def write(txn: Txn) -> None:
            logbook.append(txn.direct, txn.workspace, Kind.RECONCILED, by=BOT, body=body, now=txn.now)
            for incident in journal.live():
                txn.enqueue(incident.id, list(_shown_anew(incident)))

        self.desk.soon(write, PATIENCE_S)
        self._found.clear()

    def _asked(self, record: Record, name: str, connected: object, ask: Callable[[], Iterator[str]]) -> list[str]:
        if connected is None:
            return []
        kept = self._found.setdefault((record.seq, name), _Found())
        found = kept.lines
        try:
            for line in () if kept.is_all else ask():
                if line not in found:
                    found.append(line)
            kept.is_all = True
        except (Transient, Permanent, Malformed) as failure:
            return [*(f"{name}: {text}" for text in found[:SAID]), f"{name} could not be asked: {failure}"]
        except Busy:
            raise  # nothing can be put on record now: all of it again, later
        except Exception as bug:
            # What the others know is brought in all the same.
            log.error("reconcile_bug", asked=name, exc_info=bug)
            why = f"{name} could not be asked: a bug of ours ({type(bug).__name__}), which the log has."
            return [*(f"{name}: {text}" for text in found[:SAID]), why]
        more = [f"{name}: {count(len(found) - SAID, 'more finding')}."] if len(found) > SAID else []
        return [*(f"{name}: {text}" for text in found[:SAID]), *more] or [f"{name} agrees with the record."]

    def _alerts(self) -> Iterator[str]:
        assert self.firing is not None
        message = self.firing()
        (news,) = in_time(self.desk.receive([message]), PATIENCE_S)
        if news:
            yield f"alerts of {count(news, 'group')} burn that were missing here; they are brought in."
        if message.fault:
            yield f"what is over there was not compared, since not all that burns can be read: {message.fault}."
            return
        burning = {delivery.fingerprint for delivery in message.deliveries} | message.quieted
        here = self.desk.journal.ask(partial(firing_here, source=alertmanager.SOURCE))
        over = Counter(number for fingerprint, number in here.items() if fingerprint not in burning)
        for number, alerts in sorted(over.items()):
            yield f"{count(alerts, 'alert')} of INC-{number} burn here and not there; resolve it if that is so."

    def _pages(self, record: Record) -> Iterator[str]:
        assert self.pages is not None
        live = {one.page_key(one.generation): one for one in self.desk.journal.live() if one.generation in one.pages}
        unreadable = {one.incident_id for one in self.desk.journal.unreadable()}
        known = self.pages(list(live))
        most = pagerduty.PAGES_ASKED
        if len(live) > most or sum(page.status != pagerduty.RESOLVED for page in known) >= most:
            yield f"it tells of {most} open incidents at once; whatever is beyond them was not compared."
        for page in known:
            if page.key.removeprefix(f"{self.desk.journal.workspace}:").rpartition(":")[0] in unreadable:
                continue
            incident = live.get(page.key)
            if incident is not None:
                yield from self._brought_in(page, incident, record)
            elif page.status != pagerduty.RESOLVED and page.key.startswith(f"{self.desk.journal.workspace}:"):
                yield f"{page.name} is open and belongs to nothing that is open here; resolve it there ({page.link})."

    def _brought_in(self, page: pagerduty.Paged, incident: Incident, record: Record) -> Iterator[str]:
        by = Actor(ActorKind.SOURCE, FIRST_PAGER, pagerduty.NAME)
        common: dict[str, Any] = {"incident": incident.id, "by": by, "at": self.desk.journal.clock()}
        common |= {"source": FIRST_PAGER, "key": f"reconcile:{record.seq}:{incident.id}"}
        command: cmd.Command
        if page.status == pagerduty.RESOLVED:
            command = cmd.Resolve(**common, reason="resolved in PagerDuty", despite_firing=True, despite_fallback=True)
        elif page.status == pagerduty.ACKNOWLEDGED and incident.status is Status.OPEN:
            command = cmd.Acknowledge(**common)
        else:
            return
        try:
            self.desk.handle(command, PATIENCE_S)
        except Refused as refused:
            yield f"{incident.ref} is {page.status} there: {refused}"
        else:
            yield f"{incident.ref} is {page.status} there; now here too."

    def _messages(self) -> Iterator[str]:
        assert self.told is not None
        journal = self.desk.journal
        rooms = {one.channel: f"#{one.channel_name}" for one in journal.live() if one.channel}
        if len(rooms) >= CHANNELS:
            yield f"only the intake channel and {CHANNELS - 1} of {len(rooms)} incidents' channels were compared."
        said = self.told(list(rooms))
        for message in said:
            where = rooms.get(message.channel, "the intake channel")
            if journal.id_of(message.incident) is None and journal.archived(message.incident) is None:
                yield f"in {where}, something about an incident this record has lost: “{message.text}”"
            elif message.entry and not journal.has_entry(message.entry):
                yield f"in {where}, something this record has lost: “{message.text}”"
        for mark, times in Counter(message.mark for message in said).items():
            if times > 1:
                first = next(message for message in said if message.mark == mark)
                where = rooms.get(first.channel, "the intake channel")
                yield f"in {where}, {times} times the same: “{first.text}”"


def _shown_anew(incident: Incident) -> Iterator[ef.Effect]:
    yield ef.RefreshCard()
    run = incident.active_run
    step = current_step(run) if run else None
    if run is not None and step is not None and step.ts:
        yield ef.ShowStep(run.id, step.spec.id)
