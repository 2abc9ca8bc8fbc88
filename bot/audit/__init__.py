"""Whether the bot does what it should: an audit every minute, and a heartbeat outward for as long as it is clean."""
