"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

from bot.health.capacity import Drain, Replica
from bot.health.catalogue import catalogue, limited
from bot.health.checks import Check
from bot.health.findings import Report, Verdict
from bot.health.logs import Logs
from bot.health.observation import Observation, Sample
from bot.health.promql import Limits, Settings
from bot.health.report import lines
from bot.health.scope import Gpu, Inventory, Scope
from bot.health.situation import Situation
from bot.health.slo import Objective, Standing
from bot.health.survey import standings, survey
from bot.health.telemetry import Telemetry
from bot.health.verdict import judge

__all__ = [
    "Check",
    "Drain",
    "Gpu",
    "Inventory",
    "Limits",
    "Logs",
    "Objective",
    "Observation",
    "Replica",
    "Report",
    "Sample",
    "Scope",
    "Settings",
    "Situation",
    "Standing",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "limited",
    "lines",
    "standings",
    "survey",
]
