"""A PagerDuty account on this machine: events in, people paged and escalated, signed webhooks out."""

from bot.workbench.pagerduty.app import pagerduty_app
from bot.workbench.pagerduty.model import PagerDutyConfig, Person
from bot.workbench.pagerduty.service import PagerDuty

__all__ = ["PagerDuty", "PagerDutyConfig", "Person", "pagerduty_app"]
