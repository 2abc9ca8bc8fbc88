"""What the Slack side needs from the rest of the house, as Protocols that the composition root fills."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bot.incident.change import Change
from bot.incident.drill import Drill
from bot.incident.entry import Entry
from bot.incident.people import Actor
from bot.incident.run import StepSpec
from bot.incident.state import Incident


class RunOffer(Protocol):
    """A run that can begin."""

    @property
    def runbook(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def source_digest(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def steps(self) -> tuple[StepSpec, ...]: ...


class Library(Protocol):
    """The runbooks."""

    def titles(self) -> Mapping[str, str]:
        """Id to title."""

    def params(self, runbook_id: str, incident: Incident) -> Mapping[str, str]:
        """Parameters with what the incident tells about them. Raises Refused."""

    def start(self, runbook_id: str, params: Mapping[str, str]) -> RunOffer:
        """The run with these values. Raises Refused."""


class Scenario(Protocol):
    """Something that can be practised."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...


class Drills(Protocol):
    """What can be practised, and what is."""

    @property
    def scenarios(self) -> Mapping[str, Scenario]: ...

    def under_way(self) -> list[Drill]:
        """The drills that go on now."""

    def start(self, name: str, by: Actor) -> Drill:
        """Begins one. Takes as long as the call that breaks something. Raises Refused."""

    def stop(self, by: Actor) -> list[Drill]:
        """Ends all of them. Raises Refused."""


class Past(Protocol):
    """What was written down."""

    @property
    def is_ours_alone(self) -> bool:
        """Whether no other server writes it, and so none shows it either."""

    def entry(self, entry_id: str) -> Entry | None:
        """One entry of the journal."""

    def announced_with(self, incident: Incident) -> Sequence[Incident]:
        """The incidents that are shown in this one's announcement, in the order in which they opened."""


Survey = Callable[[str], Mapping[str, Any]]
"""The health report of a model, node or GPU (empty: the fleet) as JSON; takes up to its own time budget."""

Latest = Callable[[str], tuple[Sequence[Change], str]]
"""What was changed of late about a model or service (empty: all), the newest first, and why there may be more; takes up
to its time budget."""
