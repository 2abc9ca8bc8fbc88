"""What people ask of runbooks: to start one, to answer its steps, and to stop them all."""

from collections.abc import Callable, Mapping
from typing import Final

from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident.advice import proposed_runbook
from bot.incident.events import StepRetried
from bot.incident.people import Refused, require_responder
from bot.incident.state import Incident
from bot.journal.brake import brake_on_record
from bot.journal.epoch import standing_on_record
from bot.journal.ids import new_id
from bot.slack import cards, modals
from bot.slack.actions import StepDo, StepRef, read_step_value
from bot.slack.ports import Library
from bot.slack.replies import NOTHING, Asked, Reply, View, said
from bot.slack.text import esc

TOO_OLD: Final = "That preview was older than 15 minutes, so nothing was done; look at the new one first."


class RunbookVerbs:
    """The verbs about runbooks, bound to the desk. `find` gives the incident of an id or raises Refused."""

    def __init__(self, desk: Desk, library: Library, find: Callable[[str], Incident], context: cards.Context) -> None:
        self._context = context
        self._desk = desk
        self._library = library
        self._find = find
        self.forms: Mapping[str, Callable[[str, Mapping[str, str], Asked], Reply]] = {
            "modal.run": self._started,
            "modal.step.skip": self._skipped,
            "modal.step.alone": self._alone,
        }

    def run(self, incident: Incident, named: str) -> Reply:
        """The form that starts a runbook: this one, or what the incident suggests."""
        if named and named not in self._library.titles():
            raise Refused(f"There is no runbook `{esc(named)}`; there are {', '.join(self._library.titles())}.")
        return Reply(view=self.form(incident, named or proposed_runbook(incident)))

    def form(self, incident: Incident, runbook: str) -> View:
        """The run form with the fields of this runbook."""
        titles = self._library.titles()
        if not titles:
            raise Refused("There are no runbooks; put some into the runbooks folder.")
        chosen = runbook if runbook in titles else ""
        params = self._library.params(chosen, incident) if chosen else {}
        return modals.run(incident, titles, chosen, params)

    def all(self, asked: Asked) -> Reply:
        """`/incident runbooks`: what is under way and on loan; `stop REASON` and `start` are the brake."""
        word, _, rest = asked.text.partition(" ")
        match word.lower():
            case "":
                pulled = self._desk.journal.ask(brake_on_record)
                since = self._desk.journal.ask(standing_on_record).frozen_since
                return Reply(cards.runbooks_card(self._desk.journal.live(), pulled, since, self._context))
            case "stop":
                if self._desk.pull_brake(asked.by, rest):
                    return said("All runbooks are stopped. What was done can be undone, and loans still end.")
                return said("They are stopped already; `/incident runbooks` tells by whom.")
            case "start":
                return self.release(asked)
            case _:
                raise Refused("Say `/incident runbooks`, `/incident runbooks stop` with a reason, or `... start`.")

    def release(self, asked: Asked, seq: str = "") -> Reply:
        """Lets all runbooks act again, if they are still stopped by the record `seq`. Raises Refused."""
        told = self._desk.release_brake(asked.by, int(seq) if seq.isdecimal() else None)
        return said(f"{esc(told)} What was approved long ago asks anew." if told else "They were not stopped.")

    def _started(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        incident_id, chosen = modals.read_meta(metadata)
        runbook = values.get("runbook") or chosen
        if not runbook:
            return Reply(problem="Choose a runbook.", field="runbook")
        params = {key.removeprefix("param."): value for key, value in values.items() if key.startswith("param.")}
        offer = self._library.start(runbook, params)
        self._desk.handle(
            cmd.StartRun(
                **asked.about(incident_id),
                run=new_id(),
                runbook=offer.runbook,
                title=offer.title,
                source_digest=offer.source_digest,
                target=offer.target,
                params=offer.params,
                steps=offer.steps,
            )
        )
        return NOTHING

    def step(self, do: StepDo, value: str, asked: Asked) -> Reply:
        """A pressed button of a step. Raises Refused."""
        ref = _ref(value)
        common = asked.about(ref.incident)
        step = {**common, "run": ref.run, "step": ref.step}
        match do:
            case StepDo.SKIP | StepDo.ALONE:
                require_responder(asked.by)
                run = self._find(ref.incident).runs.get(ref.run)
                if run is None:
                    raise Refused("That run is not part of this incident.")
                make = modals.skip_step if do is StepDo.SKIP else modals.go_alone
                return Reply(view=make(run, run.step(ref.step), value))
            case StepDo.APPROVE:
                return self._approve(cmd.ApproveStep(**step, digest=ref.digest))
            case StepDo.SECOND:
                self._desk.handle(cmd.CallSecond(**step))
            case StepDo.RETRY:
                self._desk.handle(cmd.RetryStep(**step))
            case StepDo.UNDO:
                self._desk.handle(cmd.UndoStep(**step))
            case StepDo.RENEW:
                self._desk.handle(cmd.RenewLease(**step))
            case StepDo.STOP:
                self._desk.handle(cmd.StopRun(**common, run=ref.run))
            case StepDo.UNDO_ALL:
                self._desk.handle(cmd.UndoRun(**common, run=ref.run, shown=ref.digest))
        return NOTHING

    def _approve(self, command: cmd.ApproveStep) -> Reply:
        outcome = self._desk.handle(command)
        again = any(isinstance(entry.event, StepRetried) for entry in outcome.entries)
        return said(TOO_OLD) if again else NOTHING

    def _skipped(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        ref = _ref(metadata)
        step = {**asked.about(ref.incident), "run": ref.run, "step": ref.step}
        self._desk.handle(cmd.SkipStep(**step, reason=values["reason"]))
        return NOTHING

    def _alone(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        ref = _ref(metadata)
        step = {**asked.about(ref.incident), "run": ref.run, "step": ref.step}
        reply = self._approve(cmd.ApproveStep(**step, digest=ref.digest, alone=values["reason"]))
        if reply.message is None:
            return reply
        return Reply(problem="That preview is too old; close this form and look at the new one.", field="reason")


def _ref(value: str) -> StepRef:
    try:
        return read_step_value(value)
    except ValueError as error:
        raise Refused("That button is from an older version of this message; run the runbook again.") from error
