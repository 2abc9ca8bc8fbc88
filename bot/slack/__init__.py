"""Slack: what people see there, what they press there, and the road in between."""
