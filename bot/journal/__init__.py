"""The journal: the only writer of truth. SQLAlchemy lives here and nowhere else."""

from bot.journal.ledger import News
from bot.journal.reader import Unreadable
from bot.journal.rows import Archived, Job
from bot.journal.store import Journal
from bot.journal.txn import Txn
from bot.journal.writer import Busy, Unsure, in_time

__all__ = ["Archived", "Busy", "Job", "Journal", "News", "Txn", "Unreadable", "Unsure", "in_time"]
