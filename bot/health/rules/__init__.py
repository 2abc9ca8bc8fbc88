"""The alert pack: rules for Prometheus with their unit tests, and a doctor for the rules that are loaded already."""
