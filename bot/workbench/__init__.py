"""The workbench: a local Slack, PagerDuty and GPU fleet that speak the wire to an unchanged bot process."""
