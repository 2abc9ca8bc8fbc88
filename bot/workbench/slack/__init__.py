"""A local Slack workspace that speaks Slack's wire to an unchanged bot, with Slack's own limits and errors."""
