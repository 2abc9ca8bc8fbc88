"""A GPU fleet that serves two models, breaks on request, and can be repaired through its control API."""

from bot.workbench.fleet.app import fleet_app
from bot.workbench.fleet.fleet import Fleet
from bot.workbench.fleet.spec import FAULTS, FleetSpec, Refusal

__all__ = ["FAULTS", "Fleet", "FleetSpec", "Refusal", "fleet_app"]
