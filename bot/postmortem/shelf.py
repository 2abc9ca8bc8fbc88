"""The folder of postmortems. Writing is atomic, stays inside the folder, and never takes a person's words away."""

import contextlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.incident.state import Incident
from bot.postmortem.blocks import merge

NAME: Final = re.compile(r"\d{4}-\d{2}-\d{2}-inc-(?P<number>\d{1,9})-[a-z0-9-]{1,60}\.md", re.ASCII)
PICTURE: Final = re.compile(r"inc-\d{1,9}-ev-[a-z2-7]{8}\.png", re.ASCII)
"""A picture beside the drafts; its name holds no title, so it stays when a person renames the draft."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of one postmortem; a draft of 5,000 timeline lines has a tenth of that."""
TRIES: Final = 5

Stamp = tuple[int, int, int]
"""Inode, size and time of change: as long as these stay, nobody has saved the file."""


class TooLarge(Exception):
    """A file in the folder is over LARGEST."""


class Restless(Exception):
    """Somebody kept saving the file while we wanted to; nothing was written."""


def slug(title: str) -> str:
    """Lower-case letters, digits and single hyphens, 1 to 60 of them."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:60].strip("-") or "incident"


def name_for(incident: Incident) -> str:
    """`2026-11-21-inc-42-llama-70b-fails.md`, by the day on which it was detected (UTC)."""
    return f"{incident.detected_at:%Y-%m-%d}-inc-{incident.number}-{slug(incident.title)}.md"


@dataclass(frozen=True, slots=True)
class Shelf:
    """The postmortems in `root`, which is made when the first one is written."""

    root: Path

    def names(self) -> tuple[str, ...]:
        """The file names of all postmortems, the newest first; empty while there is no folder."""
        try:
            found = [name for name in os.listdir(self.root) if NAME.fullmatch(name)]
        except FileNotFoundError:
            return ()
        return tuple(sorted(found, key=lambda name: (name[:10], number_of(name), name), reverse=True))

    def read(self, name: str) -> str | None:
        """The text of a postmortem; None when there is none of that name. Raises OSError (a link is one), TooLarge."""
        if not NAME.fullmatch(name):
            return None
        try:
            with self._open() as folder:
                text, _ = _read(folder, name)
        except FileNotFoundError:
            return None
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def write(self, incident: Incident, markdown: str) -> str:
        """Writes a draft, or brings the untouched parts of the one that is there up to date; the file's name.

        Raises OSError, TooLarge, Restless.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        name = self._name(incident)
        with self._open() as folder:
            for _ in range(TRIES):
                try:
                    old, stamp = _read(folder, name)
                except FileNotFoundError:
                    if _create(folder, name, _encoded(markdown)):
                        return name
                    continue
                merged = merge(old, markdown)
                if merged == old or _replace(folder, name, _encoded(merged), stamp):
                    return name
        raise Restless(f"{name} was being edited while the bot wanted to update it")

    def picture(self, name: str) -> bytes | None:
        """A picture beside the drafts; None when there is none of that name. Raises OSError, TooLarge."""
        if not PICTURE.fullmatch(name):
            return None
        try:
            with self._open() as folder:
                return _bytes(folder, name)[0]
        except FileNotFoundError:
            return None

    def put_picture(self, name: str, content: bytes) -> None:
        """Puts a picture there, unless it is there: what it shows never changes. Raises OSError."""
        if not PICTURE.fullmatch(name):
            raise ValueError(f"{name!r} is no picture's name")
        self.root.mkdir(parents=True, exist_ok=True)
        with self._open() as folder:
            _create(folder, name, content)

    def _name(self, incident: Incident) -> str:
        """The file that the incident has, also after a person gave it another slug; else the name of a new one."""
        return next((name for name in self.names() if number_of(name) == incident.number), name_for(incident))

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)


def number_of(name: str) -> int:
    """The incident's number in a postmortem's file name; ValueError when it is no such name."""
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no postmortem's name")
    return int(found["number"])


def picture_name(incident: Incident, evidence: str) -> str:
    """`inc-42-ev-7f3k2qab.png`."""
    return f"inc-{incident.number}-{evidence.lower()}.png"


def _read(folder: int, name: str) -> tuple[str, Stamp]:
    content, stamp = _bytes(folder, name)
    return content.decode("utf-8", "surrogateescape"), stamp


def _bytes(folder: int, name: str) -> tuple[bytes, Stamp]:
    """O_NONBLOCK, because somebody may have put a pipe there."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        stamp = _stamp(os.fstat(descriptor))
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TooLarge(f"{name} is over {LARGEST // 1024 // 1024} MiB")
    return content, stamp


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _beside(folder: int, name: str, content: bytes) -> Iterator[str]:
    """The content on disk under a passing name, so that the real one only ever shows a whole file."""
    passing = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(passing, flags, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield passing
        os.fsync(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(passing, dir_fd=folder)


def _create(folder: int, name: str, content: bytes) -> bool:
    """Makes the file unless one is there by now: a hard link, unlike a rename, does not overwrite."""
    with _beside(folder, name, content) as passing:
        try:
            os.link(passing, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
    return True


def _replace(folder: int, name: str, content: bytes, stamp: Stamp) -> bool:
    """Puts the content in place of the file unless somebody saved it since `stamp`; it looks a moment before."""
    with _beside(folder, name, content) as passing:
        try:
            now = _stamp(os.stat(name, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            return False
        if now != stamp:
            return False
        os.replace(passing, name, src_dir_fd=folder, dst_dir_fd=folder)
    return True
