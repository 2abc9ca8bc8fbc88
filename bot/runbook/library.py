"""The runbooks at hand: what there is, what an incident fills in, and the run that begins."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.runbook.kinds import KINDS, Targets
from bot.runbook.model import Runbook
from bot.runbook.render import BadParams, Start, prefill, start


@dataclass(frozen=True, slots=True)
class Library:
    """Runbooks by id, as they were when the bot started."""

    runbooks: Mapping[str, Runbook]
    targets: Targets

    def titles(self) -> Mapping[str, str]:
        """Id to title, in alphabetical order of the titles."""
        return dict(sorted(((book.id, book.title) for book in self.runbooks.values()), key=lambda item: item[1]))

    def params(self, runbook_id: str, incident: Incident) -> Mapping[str, str]:
        """Every parameter of the runbook, filled in from the incident's alerts where they tell; else empty."""
        runbook = self._get(runbook_id)
        known = prefill(runbook, labels_of(incident)).params
        return {param.name: known.get(param.name, "") for param in runbook.params}

    def start(self, runbook_id: str, params: Mapping[str, str]) -> Start:
        """The run with these values. Raises Refused with what is wrong with them."""
        try:
            return start(self._get(runbook_id), params, KINDS, self.targets)
        except BadParams as error:
            raise Refused(f"The runbook cannot start: {error}") from error

    def _get(self, runbook_id: str) -> Runbook:
        runbook = self.runbooks.get(runbook_id)
        if runbook is None:
            raise Refused(f"There is no runbook {runbook_id}; there are {', '.join(sorted(self.runbooks)) or 'none'}.")
        return runbook


def labels_of(incident: Incident) -> Mapping[str, str]:
    """What the incident's alerts say about themselves; service and model stand in where no alert names them."""
    told = {"service": incident.service, "model_name": incident.model, "model": incident.model}
    alert = incident.samples[0]["labels"] if incident.samples else {}
    return {**{name: value for name, value in told.items() if value}, **alert}
