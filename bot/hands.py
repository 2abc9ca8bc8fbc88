"""What people can do without chat: the same words on the server's own host and over HTTP, answered as lines of text.

Reading is free to whoever reaches it, as the pages are. To act takes a broken glass: the act and what it is done with
are one transaction, on the record of the incident.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.desk import Desk
from bot.incident import change as changes
from bot.incident import commands as cmd
from bot.incident.brake import held_by
from bot.incident.events import StepRetried
from bot.incident.failover import WHY
from bot.incident.glass import Glass
from bot.incident.people import Refused
from bot.incident.plain import hanging, one_line, plain
from bot.incident.run import Run, RunStatus, StepRun, StepStatus
from bot.incident.runs import current_step
from bot.incident.state import Incident
from bot.incident.timeline import line, span
from bot.journal import Txn
from bot.journal.brake import brake_on_record, confirmed, pull, released
from bot.journal.epoch import standing_on_record
from bot.journal.ids import new_id

PATIENCE_S: Final = 30.0
ANSWER: Final = "FixFirst-Answer"
"""A header of what we say ourselves over HTTP: what stands between may answer 200 with a page to log in."""
"""Nobody at a terminal is cut off after three seconds, as Slack does."""
SHOWN: Final = 50
LONGEST_REF: Final = 40
"""Characters that are shown of what is no incident's name."""
PLAN_SHOWN: Final = 8
"""Characters of a plan's digest that a person types; one incident never has two plans at a time."""

Words = Mapping[str, str]
Broken = Callable[[Txn], Glass]
"""Gives, inside the transaction of the act, the glass it is done with. Raises Refused."""


class Unknown(Refused):
    """There is no such incident."""


@dataclass(frozen=True, slots=True)
class Hands:
    """The words, bound to a desk. Each gives lines of text; raises Refused, and Busy when the journal is away.

    A Refused may come after something was written, where what was asked for was not done.
    """

    desk: Desk

    def read(self, word: str, words: Words) -> str:
        """A word that changes nothing; KeyError for one there is none of."""
        return READS[word](self, words)

    def act(self, word: str, words: Words, glass: Broken) -> str:
        """A word that changes something, with a broken glass; KeyError for one there is none of."""
        return ACTS[word](self, words, glass)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _list(self, words: Words) -> str:
        journal = self.desk.journal
        incidents = journal.recent(SHOWN) if words.get("all") else journal.live()
        now = journal.clock()
        rows = [
            f"{item.ref:<8} {item.severity} {item.status:<12} {span(now - item.opened_at):>10}  "
            f"{item.firing} firing  {one_line(item.title)}"
            for item in incidents
        ]
        rows += map(str, journal.unreadable(SHOWN if words.get("all") else 0))
        return "\n".join(rows) or "No incident is open."

    def _timeline(self, words: Words) -> str:
        incident = self._find(words)
        lines = ((entry, line(entry, incident)) for entry in self.desk.journal.entries(incident.id))
        return "\n".join(
            hanging(f"{entry.seq:>4}  {entry.at:%Y-%m-%d %H:%M:%S}  ", text) for entry, text in lines if text
        )

    def _changes(self, words: Words) -> str:
        """What was changed of late: as an incident has it, else as pipelines told it of a model, service, or all."""
        whose = words.get("whose", "")
        if whose.lower().startswith("inc-"):
            known = list(self._find({"ref": whose}).changes)
        else:
            known = self.desk.changes(whose)
        now = self.desk.journal.clock()
        lines = []
        for one in known:
            lines.append(f"{one.at:%Y-%m-%d %H:%M:%S}  {span(now - one.at):>10} ago  {one_line(changes.words(one))}")
            lines += [f"{'':37}{plain(str(setting))}" for setting in one.settings]
            lines += [f"{'':37}{plain(text)}" for text in one.diff.splitlines()]
            lines += [f"{'':37}{plain(one.url)}"] if one.url else []
        return "\n".join(lines) or "No change is known."

    def _plan(self, words: Words) -> str:
        """The step that waits for an approval, as it would be carried out, and the word that approves just this."""
        incident = self._find(words)
        run, step = _asking(incident)
        shown = [
            one_line(f"{incident.ref} {run.title}: {step.spec.title}"),
            *(hanging("  ", text) for text in step.plan.get("lines", ())),
        ]
        shown += [hanging("  ! ", text) for text in (step.spec.warning, *step.plan.get("warnings", ())) if text]
        shown += [hanging("  [ ] ", text) for text in step.spec.checklist]
        shown.append(f"To carry it out: fixfirst approve {incident.ref} {_plan_name(step)}")
        return "\n".join(shown)

    def _failover(self, words: Words) -> str:  # noqa: ARG002
        since = self.desk.journal.ask(standing_on_record).frozen_since
        if since is None:
            return "Nothing waits for a confirmation."
        return f"Frozen since {since:%Y-%m-%d %H:%M:%S} UTC: {WHY}. `fixfirst failover confirm` ends it."

    def _runbooks(self, words: Words) -> str:  # noqa: ARG002
        pulled = self.desk.journal.ask(brake_on_record)
        since = self.desk.journal.ask(standing_on_record).frozen_since
        going = [
            f"{item.ref:<8} {one_line(f'{run.title} on {run.target}')}"
            for item in self.desk.journal.live()
            for run in item.runs.values()
            if run.status is RunStatus.RUNNING
        ]
        state = list(map(one_line, held_by(pulled, since))) or ["Runbooks may act."]
        return "\n".join([*state, *(going or ["None is under way."])])

    # -- acting -------------------------------------------------------------------------------------------------------

    def _ack(self, words: Words, glass: Broken) -> str:
        after = self._do(self._find(words), glass, lambda common: cmd.Acknowledge(**common)).incident
        return f"{after.ref} is {after.status}."

    def _resolve(self, words: Words, glass: Broken) -> str:
        firing, doubt = bool(words.get("despite_firing")), bool(words.get("unproven"))
        after = self._do(
            self._find(words),
            glass,
            lambda common: cmd.Resolve(**common, reason=words["reason"], despite_firing=firing, despite_doubt=doubt),
        ).incident
        if after.asks is not None:
            return (
                f"The telemetry is asked whether {after.ref} is over, which a running server does; "
                f"`fixfirst timeline {after.ref}` tells what it says. With --unproven it is not asked."
            )
        return f"{after.ref} is {after.status}."

    def _approve(self, words: Words, glass: Broken) -> str:
        incident = self._find(words)
        run, step = _asking(incident)
        if words["plan"] != _plan_name(step):
            raise Refused(f"That is not the plan at hand; `fixfirst approve {incident.ref}` shows it as it is now.")
        outcome = self._do(
            incident,
            glass,
            lambda common: cmd.ApproveStep(**common, run=run.id, step=step.spec.id, digest=step.plan_digest),
        )
        if any(isinstance(entry.event, StepRetried) for entry in outcome.entries):
            raise Refused("That preview counts no more, so nothing was done; look at the new one first.")
        return f"{one_line(step.spec.title)}: approved. `fixfirst timeline {incident.ref}` tells what comes of it."

    def _confirm(self, words: Words, glass: Broken) -> str:  # noqa: ARG002
        told: str = self._write(lambda txn: confirmed(txn, glass(txn).actor))
        return one_line(told) or "Nothing waits for a confirmation."

    def _stop_runbooks(self, words: Words, glass: Broken) -> str:
        if self._write(lambda txn: pull(txn, glass(txn).actor, words["reason"])):
            return "All runbooks are stopped. `fixfirst runbooks start` lets them act again."
        return "They are stopped already."

    def _start_runbooks(self, words: Words, glass: Broken) -> str:  # noqa: ARG002
        told: str = self._write(lambda txn: released(txn, glass(txn).actor))
        return one_line(told) or "They were not stopped."

    def _do(self, incident: Incident, glass: Broken, make: Callable[[dict[str, Any]], cmd.Command]) -> Any:
        def act(txn: Txn) -> Any:
            with_ = glass(txn)
            common: dict[str, Any] = {"incident": incident.id, "by": with_.actor, "at": txn.now, "source": "cli"}
            self.desk.execute(
                txn,
                cmd.BreakGlass(
                    **common,
                    key=f"glass:{with_.id}:{incident.id}",
                    glass=with_.id,
                    reason=with_.reason,
                    until=with_.until,
                ),
            )
            return self.desk.execute(txn, make({**common, "key": f"cli:{new_id()}"}))

        return self._write(act)

    def _write(self, job: Callable[[Txn], Any]) -> Any:
        return self.desk.soon(job, PATIENCE_S)

    def _find(self, words: Words) -> Incident:
        incident = self.desk.journal.find(words["ref"])
        if incident is None:
            archived = self.desk.journal.archived(words["ref"])
            raise Unknown(
                plain(str(archived or f"there is no incident {words['ref'][:LONGEST_REF]}; fixfirst list shows them"))
            )
        return incident


def _asking(incident: Incident) -> tuple[Run, StepRun]:
    """The step that waits for a person. Raises Refused when none does."""
    for run in incident.runs.values():
        step = current_step(run) if run.status is RunStatus.RUNNING else None
        if step is not None and step.status is StepStatus.ASKING:
            return run, step
    raise Refused(f"No step of {incident.ref} waits for an approval.")


def _plan_name(step: StepRun) -> str:
    """What a person types to approve this plan and no other; a step without a plan is named by its id."""
    return step.plan_digest[:PLAN_SHOWN] or step.spec.id


READS: Final[Mapping[str, Callable[[Hands, Words], str]]] = {
    "list": Hands._list,
    "timeline": Hands._timeline,
    "changes": Hands._changes,
    "plan": Hands._plan,
    "failover": Hands._failover,
    "runbooks": Hands._runbooks,
}
ACTS: Final[Mapping[str, Callable[[Hands, Words, Broken], str]]] = {
    "ack": Hands._ack,
    "resolve": Hands._resolve,
    "approve": Hands._approve,
    "confirm": Hands._confirm,
    "stop-runbooks": Hands._stop_runbooks,
    "start-runbooks": Hands._start_runbooks,
}
