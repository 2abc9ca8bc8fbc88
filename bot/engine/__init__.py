"""Who wakes the desk, the outbox and the timers. The ledger decides; a lost or doubled wake-up does no harm."""
