"""The core: what an incident is and what follows from what. Standard library only; no clock, no I/O, no logging."""
