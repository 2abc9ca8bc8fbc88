"""FixFirst: the incident-response bot for teams that run AI inference on GPUs."""
