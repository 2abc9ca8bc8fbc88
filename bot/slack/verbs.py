"""What people can ask for, by word, button or form: one table each, all leading to the desk."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bot.desk import Desk, Outcome
from bot.incident import commands as cmd
from bot.incident.advice import proposed_runbook
from bot.incident.events import Role, Severity
from bot.incident.people import Refused, require_member
from bot.incident.state import Incident
from bot.journal.ids import new_id
from bot.slack import cards, modals
from bot.slack.actions import Do, StepDo
from bot.slack.changes import changes_card
from bot.slack.drill_verbs import DrillVerbs
from bot.slack.health_verbs import FULL, HealthVerbs
from bot.slack.ports import Drills, Latest, Library, Survey
from bot.slack.replies import NOTHING, Asked, Reply, View, said
from bot.slack.runbook_verbs import RunbookVerbs
from bot.slack.text import esc


class Verbs:
    """The verbs, bound to the desk."""

    def __init__(
        self,
        desk: Desk,
        library: Library,
        survey: Survey | None,
        context: cards.Context,
        drills: Drills | None = None,
        *,
        latest: Latest | None = None,
    ) -> None:
        self._desk = desk
        self._journal = desk.journal
        self._latest: Latest = latest or (lambda whose: (desk.changes(whose), ""))
        self._runbooks = RunbookVerbs(desk, library, self._by_id, context)
        self._healths = HealthVerbs(desk, survey, self._by_id, context)
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
            "changes": self._changes,
            "run": lambda asked: self._runbooks.run(*self._meant(asked)),
            "runbooks": self._runbooks.all,
            "drill": DrillVerbs(drills).ask,
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
            "modal.unproven": self._resolved_unproven,
            **self._runbooks.forms,
            **self._healths.forms,
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
            return self._runbooks.step(StepDo(action_id), value, asked)
        if action_id not in set(Do):
            raise Refused("That button is from an older version of this message; use `/incident` instead.")
        do = Do(action_id)
        if do in (Do.FULL, Do.RIGHT, Do.WRONG):
            return self._healths.button(do, value, asked)
        form = self._form_for(do, value)
        if form is not None:
            return Reply(view=form)
        if do in (Do.LIST, Do.HELP, Do.DECLARE) or (do is Do.HEALTH and not value):
            return self._words[do.value](asked)
        if do is Do.FAILOVER:
            return self._confirm(asked)
        if do is Do.RELEASE:
            return self._runbooks.release(asked, value)
        incident = self._by_id(value)
        match do:
            case Do.ACK:
                return self._acknowledge(incident, asked)
            case Do.TIMELINE:
                return self._timeline_of(incident)
            case Do.HEALTH:
                return self._healths.of(incident.model, incident.id)
            case _:
                return self._postmortem_of(incident)

    def _confirm(self, asked: Asked) -> Reply:
        return said(esc(self._desk.confirm(asked.by)) or "Nothing waits for a confirmation any more.")

    def _form_for(self, do: Do, value: str) -> View | None:
        if do is Do.RUN:
            incident = self._by_id(value)
            return self._runbooks.form(incident, proposed_runbook(incident))
        if do is Do.RESOLVE:
            return modals.resolve(self._by_id(value), self.context.policy)
        if do is Do.UNPROVEN:
            return modals.resolve_unproven(self._by_id(value), self.context.policy)
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
        return self._runbooks.form(self._by_id(incident_id), runbook)

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
        outcome = self._do(cmd.Declare(**asked.about(new_id()), **fields))
        ref = outcome.incident.ref
        return said(f"{ref} is open; its channel is on the way. Acknowledge it when you take it.")

    def _ack(self, asked: Asked) -> Reply:
        incident, _ = self._meant(asked)
        return self._acknowledge(incident, asked)

    def _acknowledge(self, incident: Incident, asked: Asked) -> Reply:
        outcome = self._do(cmd.Acknowledge(**asked.about(incident.id)))
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
        self._do(cmd.ChangeSeverity(**asked.about(incident.id), severity=Severity(word)))
        return said(f"{incident.ref} is {word}.")

    def _note(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest:
            return Reply(view=modals.note(incident))
        self._do(cmd.AddNote(**asked.about(incident.id), text=rest))
        return said(f"Noted in {incident.ref}.")

    def _timeline(self, asked: Asked) -> Reply:
        incident, _ = self._meant(asked)
        return self._timeline_of(incident)

    def _timeline_of(self, incident: Incident) -> Reply:
        return Reply(cards.timeline_card(incident, self._journal.entries(incident.id), self.context))

    def _health(self, asked: Asked) -> Reply:
        if asked.text.lower().startswith("inc-"):
            named, rest = self._meant(asked)
            return self._healths.of(f"{named.model} {rest}", named.id)
        here = self._journal.by_channel(asked.channel)
        about = asked.text if asked.text.removesuffix(FULL).strip() or not here else f"{here.model} {asked.text}"
        return self._healths.of(about, here.id if here else "")

    def _changes(self, asked: Asked) -> Reply:
        """Of the incident here or named; elsewhere of a model or service, or of everything."""
        incident = None if asked.text else self._journal.by_channel(asked.channel)
        if asked.text.lower().startswith("inc-"):
            incident, _ = self._meant(asked)
        if incident is not None:
            return Reply(changes_card(incident.changes, f"{incident.ref} {incident.title}", asked.at, self.context))
        latest, whose = self._latest, asked.text

        def card() -> Reply:
            listed, missing = latest(whose)
            return Reply(changes_card(listed, whose, asked.at, self.context, missing))

        return Reply(slow=card)

    def _mitigated(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        self._do(cmd.Mitigate(**asked.about(incident.id), text=rest))
        return said(f"{incident.ref} is mitigated. Tell people, then watch the alerts recover.")

    def _update(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest:
            return Reply(view=modals.update(incident))
        self._do(cmd.PostUpdate(**asked.about(incident.id), text=rest))
        return said(f"Posted the update for {incident.ref}.")

    def _resolve(self, asked: Asked) -> Reply:
        incident, rest = self._meant(asked)
        if not rest or incident.firing:
            return Reply(view=modals.resolve(incident, self.context.policy))
        outcome = self._do(cmd.Resolve(**asked.about(incident.id), reason=rest))
        ended = outcome.incident.resolved
        if not outcome.entries and not incident.is_live and ended is not None:
            by = esc(ended.by.name or ended.by.id)
            return said(f"{incident.ref} was already {incident.status} by {by}; `/incident note` adds to it.")
        if outcome.incident.asks is not None:
            return said(f"The telemetry is asked whether {incident.ref} is over; its channel tells in a moment.")
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
        self._do(cmd.ChangeSeverity(**asked.about(metadata), severity=Severity(values["severity"])))
        return NOTHING

    def _role_chosen(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        role, user = Role(values["role"]), values["user"]
        if not user:
            return Reply(problem="Choose a person.", field="user")
        self._do(cmd.AssignRole(**asked.about(metadata), role=role, user=user))
        return NOTHING

    def _impact_stated(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        since = datetime.fromtimestamp(int(values["since"]), UTC) if values.get("since") else None
        if since is not None and since > asked.at:
            return Reply(problem="That is still to come; when were users first hit?", field="since")
        self._do(cmd.StateImpact(**asked.about(metadata), text=values["text"], started_at=since))
        return NOTHING

    def _note_written(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.AddNote(**asked.about(metadata), text=values["text"]))
        return NOTHING

    def _update_written(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.PostUpdate(**asked.about(metadata), text=values["text"]))
        return NOTHING

    def _mitigated_said(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        self._do(cmd.Mitigate(**asked.about(metadata), text=values.get("text", "")))
        return NOTHING

    def _resolved(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        common = asked.about(metadata)
        if values.get("cancel"):
            self._do(cmd.Cancel(**common, reason=values["reason"]))
            return NOTHING
        return self._end(metadata, values, common)

    def _resolved_unproven(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        return self._end(metadata, values, {**asked.about(metadata), "despite_doubt": True})

    def _end(self, incident_id: str, values: Mapping[str, str], about: Mapping[str, Any]) -> Reply:
        confirmed = bool(values.get("confirm"))
        if self._by_id(incident_id).firing and not confirmed:
            if "confirm" in values:
                return Reply(problem="Alerts still fire; tick the box to resolve all the same.", field="confirm")
            return Reply(problem="Alerts began to fire meanwhile; close this form and open it again.", field="reason")
        self._do(cmd.Resolve(**about, reason=values["reason"], despite_firing=confirmed))
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
