"""Alerts before they are incidents: pure rules over the alert ledger."""
