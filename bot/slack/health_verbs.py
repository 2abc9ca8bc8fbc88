"""What people ask of the telemetry: a report, all of it, and to say whether a verdict was right."""

from collections.abc import Callable, Mapping

from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.slack import health, modals
from bot.slack.actions import Do, read_evidence_value
from bot.slack.parts import Context
from bot.slack.ports import Survey
from bot.slack.replies import NOTHING, Asked, Reply, said

FULL = "--full"


class HealthVerbs:
    """`/incident health`, and the buttons under a report. `survey` is None where no Prometheus is connected."""

    def __init__(self, desk: Desk, survey: Survey | None, by_id: Callable[[str], Incident], context: Context) -> None:
        self._desk = desk
        self._survey = survey
        self._by_id = by_id
        self._context = context
        self.forms = {f"modal.{Do.WRONG.value}": self._was_wrong}

    def of(self, what: str, incident_id: str = "") -> Reply:
        """The report of a model, a node or a GPU, of the fleet without any; `--full` in it asks for every number."""
        survey = self._survey
        if survey is None:
            raise Refused("No Prometheus is connected; set `[prometheus] url` in fixfirst.toml.")
        words = what.split()
        about = " ".join(word for word in words if word != FULL)
        full = FULL in words
        return Reply(slow=lambda: Reply(health.health_card(survey(about), self._context, incident_id, full=full)))

    def button(self, do: Do, value: str, asked: Asked) -> Reply:
        """A button under a report. Raises Refused."""
        try:
            incident_id, evidence = read_evidence_value(value)
        except ValueError as error:
            raise Refused("That button is from an older version of this message.") from error
        incident = self._by_id(incident_id)
        if evidence not in incident.looks:
            raise Refused(f"{incident.ref} has no such evidence; its page lists what there is.")
        if do is Do.WRONG:
            return Reply(view=modals.wrong_verdict(incident, evidence))
        if do is Do.RIGHT:
            self._desk.handle(cmd.RateVerdict(**asked.about(incident.id), evidence=evidence, right=True))
            return said(f"Noted: the verdict of {evidence} was right.")
        return self._full(incident, evidence)

    def _full(self, incident: Incident, evidence: str) -> Reply:
        """The report as it was, not as it would be now."""
        entry = self._desk.journal.entry(incident.looks[evidence].entry)
        if entry is None or not isinstance(entry.event, ev.EvidenceCollected) or not entry.event.report:
            raise Refused(f"The details of {evidence} were taken out.")
        return Reply(health.full_card(entry.event.report, self._context))

    def _was_wrong(self, metadata: str, values: Mapping[str, str], asked: Asked) -> Reply:
        incident_id, evidence = read_evidence_value(metadata)
        self._desk.handle(
            cmd.RateVerdict(
                **asked.about(incident_id),
                evidence=evidence,
                right=False,
                actual=values.get("actual", ""),
                text=values.get("text", ""),
            )
        )
        return NOTHING
