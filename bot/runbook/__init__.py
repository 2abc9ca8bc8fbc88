"""Runbooks: Markdown that people read on GitHub and the bot carries out step by step."""
