"""Drafts the postmortem when an incident is over, and brings the draft up to date when it ends once more."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.contracts import Attempt, Delivered, Permanent, Transient
from bot.incident.effects import DraftPostmortem, Effect
from bot.incident.entry import Entry
from bot.incident.events import PostmortemDrafted, Reopened, Resolved
from bot.incident.links import Links
from bot.incident.state import Incident
from bot.postmortem.draft import draft, pictured
from bot.postmortem.shelf import Restless, Shelf, TooLarge, picture_name

PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE})
"""What time or housekeeping cures. The rest (rights, a link, a read-only disk) needs a person, who is told."""


@dataclass(frozen=True, slots=True)
class Courier:
    """`entries` gives an incident's journal by its id, `picture` the PNG kept with an evidence by the ids of both.

    `pages_url` is where people read, without a slash at the end.
    """

    shelf: Shelf
    entries: Callable[[str], Sequence[Entry]]
    pages_url: str
    picture: Callable[[str, str], bytes | None]
    links: Links = field(default_factory=dict)

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Writes the draft and says where it is. A repeat finds nothing to change. Raises Transient, Permanent."""
        if not isinstance(effect, DraftPostmortem):
            raise TypeError(f"a postmortem cannot carry out {type(effect).__name__}")
        entries = self.entries(incident.id)
        markdown = draft(incident, entries, attempt.now, self.pages_url, self.links)
        try:
            self._put_pictures(incident)
            name = self.shelf.write(incident, markdown)
            # What came in after the end brings the draft up to date; that is no second news of it.
            return [] if _was_told(entries, name) else [PostmortemDrafted(name)]
        except Restless as busy:
            raise Transient(str(busy)) from busy
        except TooLarge as large:
            raise Permanent(str(large)) from large
        except OSError as error:
            reason = f"{self.shelf.root}: {error.strerror or error}"
            if error.errno in PASSING:
                raise Transient(reason) from error
            raise Permanent(reason) from error

    def _put_pictures(self, incident: Incident) -> None:
        for evidence in pictured(incident):
            content = self.picture(incident.id, evidence)
            if content is not None:
                self.shelf.put_picture(picture_name(incident, evidence), content)


def _was_told(entries: Sequence[Entry], name: str) -> bool:
    """Whether people have heard of this draft since the incident last ended."""
    told = False
    for entry in entries:
        if isinstance(entry.event, Resolved | Reopened):
            told = False
        elif isinstance(entry.event, PostmortemDrafted):
            told = entry.event.path == name
    return told
