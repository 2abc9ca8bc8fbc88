"""What people can ask for, by word, button or form: one table each, all leading to the desk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bot.desk import Desk, Outcome
from bot.incident import commands as cmd
from bot.incident.advice import proposed_runbook
from bot.incident.events import Role, Severity, StepRetried
from bot.incident.people import Actor, Refused, require_member
from bot.incident.state import Incident
from bot.journal.ids import new_id
from bot.slack import cards, modals
from bot.slack.actions import Do, StepDo, read_step_value
from bot.slack.ports import Library, Survey
from bot.slack.text import esc

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for something, with what words, where and when. `key` makes it count once."""

    by: Actor
    text: str
    channel: str
    at: datetime
    key: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the person gets: a message, a form to fill in, a sentence why not, or something that takes a while.

    `field` is the form field that a problem is about, where there is one.
    """

    message: cards.Message | None = None
    view: View | None = None
    problem: str = ""
    field: str = ""
    slow: "Callable[[], Reply] | None" = None

    def as_message(self) -> cards.Message | None:
        """What to show, if there is anything to show."""
        return _sentence(self.problem) if self.problem else self.message


def _sentence(text: str) -> cards.Message:
    """A plain sentence of our own; it may hold the mrkdwn of code and emphasis."""
    return cards.Message(text, [{"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}])


def said(text: str) -> Reply:
    """A short confirmation."""
    return Reply(message=_sentence(text))


NOTHING: Final = Reply()


class Verbs:
    """The verbs, bound to the desk."""

    def __init__(self, desk: Desk, library: Library, survey: Survey | None, context: cards.Context) -> None:
        self._desk = desk
        self._journal = desk.journal
        self._library = library
        self._survey = survey
        self.context = context
        self._words: Mapping[str, Callable[[Asked], Reply]] = {
            "": self._here,
            "help": lambda _: Reply(cards.help_card(context)),
            "declare": self._declare,
            "ack": self._ack,
            "sev": self._sev,
            "note": self._note,
            "timeline": self._timeline,
            "health": self._health,
            "run": self._run,
            "mitigated": self._mitigated,
            "update": self._update,
            "resolve": self._resolve,
            "postmortem": self._postmortem,
            "list": self._list,
        }
        self._forms: Mapping[str, Callable[[str, Mapping[str, str], Asked], Reply]] = {
            "modal.declare": self._declared,
            "modal.sev": self._sev_chosen,
            "modal.role": self._role_chosen,
            "modal.impact": self._impact_stated,
            "modal.note": self._note_written,
            "modal.update": self._update_written,
            "modal.mitigated": self._mitigated_said,
            "modal.resolve": self._resolved,
            "modal.run": self._run_started,
        }

    @property
    def words(self) -> tuple[str, ...]:
        """The words `/incident` knows."""
        return tuple(word for word in self._words if word)

    def command(self, word: str, asked: Asked) -> Reply:
        """`/incident WORD ...`. Raises Refused."""
        require_member(asked.by)  # what only reads would show a guest titles of channels closed to them
        verb = self._words.get(word)
        if verb is None:
            raise Refused(f"I do not know `{esc(word)}`; I know {', '.join(self.words)}.")
        return verb(asked)

    def button(self, action_id: str, value: str, asked: Asked) -> Reply:
        """A pressed button or chosen overflow entry. Raises Refused."""
        if action_id.startswith("link."):
            return NOTHING
        require_member(asked.by)
        if action_id == Do.MORE:
            action_id, _, value = value.partition(":")
        if action_id in set(StepDo):
            return self._step(StepDo(action_id), value, asked)
        if action_id not in set(Do):
            raise Refused("That button is from an older version of this message; use `/incident` instead.")
        do = Do(action_id)
        form = self._form_for(do, value)
        if form is not None:
            return Reply(view=form)
        if do in (Do.LIST, Do.HELP, Do.DECLARE) or (do is Do.HEALTH and not value):
            return self._words[do.value](asked)
        if do is Do.FAILOVER:
            return self._confirm(asked)
        incident = self._by_id(value)
        match do:
            case Do.ACK:
                return self._acknowledge(incident, asked)
            case Do.TIMELINE:
                return self._timeline_of(incident)
            case Do.HEALTH:
                return self._health_of(incident.model, incident.id)
            case _:
                return self._postmortem_of(incident)

    def _confirm(self, asked: Asked) -> Reply:
        if self._desk.confirm(asked.by):
            return said("Confirmed. Runbooks act again, each after a new preview.")
        return said("Nothing waits for a confirmation any more.")

    def _form_for(self, do: Do, value: str) -> View | None:
        if do is Do.RUN:
            incident = self._by_id(value)
            return self._run_view(incident, proposed_runbook(incident))
        if do is Do.RESOLVE:
            return modals.resolve(self._by_id(value), self.context.policy)
        make = FORMS_OF.get(do)
        return make(self._by_id(value)) if make else None

    def form(self, callback_id: str, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        """A submitted form. Raises Refused."""
        handler = self._forms.get(callback_id)
        if handler is None:
            raise Refused("That form is from an older version; please open it again.")
        return handler(metadata, values, asked)

    def incident_of(self, metadata: str) -> Incident | None:
        """The incident a form belongs to."""
        incident_id, _ = modals.read_meta(metadata)
        return self._journal.incident(incident_id)

    def run_form(self, metadata: str, runbook: str) -> View:
        """The run form with the fields of this runbook."""
        incident_id, _ = modals.read_meta(metadata)
        return self._run_view(self._by_id(incident_id), runbook)

    # -- finding the incident -----------------------------------------------------------------------------------------

    def _by_id(self, incident_id: str) -> Incident:
        incident = self._journal.incident(incident_id)
        if incident is None:
            raise Refused("That incident is not in my journal; `/incident list` shows the open ones.")
        return incident

    def _meant(self, asked: Asked) -> tuple[Incident, str]:
        """The incident a command is about and the words that are left: the channel's, a named one, or the only one."""
        word, _, rest = asked.text.partition(" ")
        if word.lower().startswith("inc-"):
            named = self._journal.find(word)
            if named is None:
                archived = self._journal.archived(word)
                gone = f"{archived}." if archived else f"There is no {esc(word)}; `/incident list` shows the open ones."
                raise Refused(gone)
            return named, rest.strip()
        here = self._journal.by_channel(asked.channel)
        if here is not None:
            return here, asked.text
        live = self._journal.live()
        if len(live) == 1:
            return live[0], asked.text
        if not live:
            raise Refused("No incident is open; `/incident declare` opens one.")
        refs = ", ".join(incident.ref for incident in live[:8])
        raise Refused(f"Several incidents are open ({refs}); say which, for example `/incident ack {live[0].ref}`.")

    def _common(self, incident_id: str, asked: Asked) -> dict[str, Any]:
        return {"incident": incident_id, "by": asked.by, "at": asked.at, "key": asked.key, "source": "slack"}

    def _do(self, command: cmd.Command) -> Outcome:
        return self._desk.handle(command)

    # -- the words ----------------------------------------------------------------------------------------------------

    def _here(self, asked: Asked) -> Reply:
        here = self._journal.by_channel(asked.channel)
        return Reply(cards.incident_card(here, self.context) if here else cards.help_card(self.context))

    def _declare(self, asked: Asked) -> Reply:
        if not asked.text:
            return Reply(view=modals.declare())
        return self._open(asked, title=asked.text, severity=Severity.SEV2)

    def _open(self, asked: Asked, **fields: Any) -> Reply:
        outcome = self._do(cmd.Declare(**self._common(new_id(), asked), **fields))
        ref = outcome.incident.ref
        return said(f"{ref} is open; its channel is on the way. Acknowledge it when you take it.")

    def _ack(self, asked: Asked) -> Reply:
        incident, _ = self._meant(asked)
        return self._acknowledge(incident, asked)

    def _acknowledge(self, incident: Incident, asked: Asked) -> Reply:
        outcome = self._do(cmd.Acknowledge(**self._common(incident.id, asked)))
        taken = outcome.incident.acknowledged
        if not outcome.entries and taken is not None and taken.by.id != asked.by.id:
            return said(f"{incident.ref} is already acknowledged by {esc(taken.by.name or taken.by.id)}.")
        return said(f"{incident.ref} is yours.")

    def _sev(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest:
            return Reply(view=modals.severity(incident))
        word = rest.upper() if rest.upper().startswith("SEV") else f"SEV{rest}"
        if word not in list(Severity):
            raise Refused(f"`{esc(rest)}` is no severity; use SEV1, SEV2, SEV3 or SEV4.")
        self._do(cmd.ChangeSeverity(**self._common(incident.id, asked), severity=Severity(word)))
        return said(f"{incident.ref} is {word}.")

    def _note(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest:
            return Reply(view=modals.note(incident))
        self._do(cmd.AddNote(**self._common(incident.id, asked), text=rest))
        return said(f"Noted in {incident.ref}.")

    def _timeline(self, asked: Asked) -> Reply:
        incident, _ = self._meant(asked)
        return self._timeline_of(incident)

    def _timeline_of(self, incident: Incident) -> Reply:
        return Reply(cards.timeline_card(incident, self._journal.entries(incident.id), self.context))

    def _health(self, asked: Asked) -> Reply:
        if asked.text.lower().startswith("inc-"):
            named, _ = self._meant(asked)
            return self._health_of(named.model, named.id)
        here = self._journal.by_channel(asked.channel)
        return self._health_of(asked.text or (here.model if here else ""), here.id if here else "")

    def _health_of(self, model: str, incident_id: str) -> Reply:
        survey = self._survey
        if survey is None:
            raise Refused("No Prometheus is connected; set `[prometheus] url` in fixfirst.toml.")

        def report() -> Reply:
            return Reply(cards.health_card(survey(model), self.context, incident_id))

        return Reply(slow=report)

    def _run(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if rest and rest not in self._library.titles():
            raise Refused(f"There is no runbook `{esc(rest)}`; there are {', '.join(self._library.titles())}.")
        return Reply(view=self._run_view(incident, rest or proposed_runbook(incident)))

    def _run_view(self, incident: Incident, runbook: str) -> View:
        titles = self._library.titles()
        if not titles:
            raise Refused("There are no runbooks; put some into the runbooks folder.")
        chosen = runbook if runbook in titles else ""
        params = self._library.params(chosen, incident) if chosen else {}
        return modals.run(incident, titles, chosen, params)

    def _mitigated(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        self._do(cmd.Mitigate(**self._common(incident.id, asked), text=rest))
        return said(f"{incident.ref} is mitigated. Tell people, then watch the alerts recover.")

    def _update(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest:
            return Reply(view=modals.update(incident))
        self._do(cmd.PostUpdate(**self._common(incident.id, asked), text=rest))
        return said(f"Posted the update for {incident.ref}.")

    def _resolve(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest or incident.firing:
            return Reply(view=modals.resolve(incident, self.context.policy))
        outcome = self._do(cmd.Resolve(**self._common(incident.id, asked), reason=rest))
        ended = outcome.incident.resolved
        if not outcome.entries and not incident.is_live and ended is not None:
            by = esc(ended.by.name or ended.by.id)
            return said(f"{incident.ref} was already {incident.status} by {by}; `/incident note` adds to it.")
        return said(f"{incident.ref} is resolved. The postmortem is being drafted.")

    def _postmortem(self, asked: Asked) -> Reply:
        word = asked.text.split(" ")[0]
        if not word and self._journal.by_channel(asked.channel) is None:
            drafted = [incident for incident in self._journal.recent(50) if incident.postmortem]
            if drafted:
                return self._postmortem_of(drafted[0])
        incident, _ = self._meant(asked)
        return self._postmortem_of(incident)

    def _postmortem_of(self, incident: Incident) -> Reply:
        if not incident.postmortem:
            raise Refused(f"{incident.ref} has no postmortem yet; it is drafted when the incident is resolved.")
        link = f"{self.context.pages_url}/postmortems/{incident.postmortem}"
        return said(f"The postmortem of {incident.ref}: <{link}|{esc(incident.title)}>")

    def _list(self, asked: Asked) -> Reply:
        return Reply(cards.list_card(self._journal.live(), asked.at, self.context))

    # -- the forms ----------------------------------------------------------------------------------------------------

    def _declared(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:  # noqa: ARG002
        return self._open(
            asked,
            title=values["title"],
            severity=Severity(values["severity"] or Severity.SEV2),
            service=values.get("service", ""),
            model=values.get("model", ""),
            impact=values.get("impact", ""),
        )

    def _sev_chosen(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.ChangeSeverity(**self._common(metadata, asked), severity=Severity(values["severity"])))
        return NOTHING

    def _role_chosen(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        role, user = Role(values["role"]), values["user"]
        if not user:
            return Reply(problem="Choose a person.", field="user")
        self._do(cmd.AssignRole(**self._common(metadata, asked), role=role, user=user))
        return NOTHING

    def _impact_stated(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        since = datetime.fromtimestamp(int(values["since"]), UTC) if values.get("since") else None
        if since is not None and since > asked.at:
            return Reply(problem="That is still to come; when were users first hit?", field="since")
        self._do(cmd.StateImpact(**self._common(metadata, asked), text=values["text"], started_at=since))
        return NOTHING

    def _note_written(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.AddNote(**self._common(metadata, asked), text=values["text"]))
        return NOTHING

    def _update_written(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.PostUpdate(**self._common(metadata, asked), text=values["text"]))
        return NOTHING

    def _mitigated_said(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.Mitigate(**self._common(metadata, asked), text=values.get("text", "")))
        return NOTHING

    def _resolved(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        common = self._common(metadata, asked)
        if values.get("cancel"):
            self._do(cmd.Cancel(**common, reason=values["reason"]))
            return NOTHING
        incident = self._by_id(metadata)
        confirmed = bool(values.get("confirm"))
        if incident.firing and not confirmed:
            if "confirm" in values:
                return Reply(problem="Alerts still fire; tick the box to resolve all the same.", field="confirm")
            return Reply(problem="Alerts began to fire meanwhile; close this form and open it again.", field="reason")
        self._do(cmd.Resolve(**common, reason=values["reason"], despite_firing=confirmed))
        return NOTHING

    def _run_started(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        incident_id, chosen = modals.read_meta(metadata)
        runbook = values.get("runbook") or chosen
        if not runbook:
            return Reply(problem="Choose a runbook.", field="runbook")
        params = {key.removeprefix("param."): value for key, value in values.items() if key.startswith("param.")}
        offer = self._library.start(runbook, params)
        self._do(
            cmd.StartRun(
                **self._common(incident_id, asked),
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

    # -- runbook steps ------------------------------------------------------------------------------------------------

    def _step(self, do: StepDo, value: str, asked: Asked) -> Reply:
        try:
            ref = read_step_value(value)
        except ValueError as error:
            raise Refused("That button is from an older version of this message; run the runbook again.") from error
        common = self._common(ref.incident, asked)
        step = {**common, "run": ref.run, "step": ref.step}
        command: cmd.Command
        match do:
            case StepDo.APPROVE:
                command = cmd.ApproveStep(**step, digest=ref.digest)
            case StepDo.SKIP:
                command = cmd.SkipStep(**step)
            case StepDo.RETRY:
                command = cmd.RetryStep(**step)
            case StepDo.UNDO:
                command = cmd.UndoStep(**step)
            case StepDo.RENEW:
                command = cmd.RenewLease(**step)
            case StepDo.STOP:
                command = cmd.StopRun(**common, run=ref.run)
            case StepDo.UNDO_ALL:
                command = cmd.UndoRun(**common, run=ref.run, shown=ref.digest)
        outcome = self._do(command)
        if do is StepDo.APPROVE and any(isinstance(entry.event, StepRetried) for entry in outcome.entries):
            return said("That preview was older than 15 minutes, so nothing was done; look at the new one first.")
        return NOTHING


FORMS_OF: Final[Mapping[Do, Callable[[Incident], View]]] = {
    Do.SEVERITY: modals.severity,
    Do.ROLE: modals.role,
    Do.IMPACT: modals.impact,
    Do.NOTE: modals.note,
    Do.UPDATE: modals.update,
    Do.MITIGATED: modals.mitigated,
}
"""The buttons whose form needs nothing but the incident."""
