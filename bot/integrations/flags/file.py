"""A file of flags: read whole, and changed in one place so that every other byte stays as its owner wrote it."""

import errno
import json
import os
import re
import tempfile
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, Final

from bot.contracts import Permanent, Transient
from bot.integrations.flags.store import Flag

MAX_BYTES: Final = 4 * 1024 * 1024
NEVER: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Where a file cannot be replaced however often it is tried: a folder of somebody else's, a mount that is only read."""
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


class FlagFile:
    """`Store` in a file, which every call reads anew.

    Raises Permanent for what is no file of flags, Transient where the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def look(self, name: str) -> Flag:
        """What the file says about a flag; the variant that holds is its default one."""
        found = self._flag(self._read(), name)
        variants = found.get("variants")
        asleep = f"{name} is not ENABLED, so no variant of it holds; enable it in {self._path.name} first"
        aimed = "it has targeting rules: whom they match does not follow the default variant"
        return Flag(
            now=found["defaultVariant"],
            variants=tuple(sorted(variants)) if isinstance(variants, dict) else (),
            asleep="" if found.get("state") == "ENABLED" else asleep,
            warnings=(aimed,) if found.get("targeting") else (),
        )

    def switch(self, name: str, variant: str) -> None:
        """Gives the flag another default variant: a new file in the old one's place, or nothing at all."""
        text = self._read()
        variants = self._flag(text, name).get("variants")
        if not isinstance(variants, dict) or variant not in variants:
            raise Permanent(f"{name} has no variant '{variant}' any more")
        start, end = _span(text, ("flags", name, "defaultVariant"))
        changed = f"{text[:start]}{json.dumps(variant, ensure_ascii=False)}{text[end:]}"
        # A link stays a link: what it leads to is replaced.
        path = self._path.resolve()
        try:
            number, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(number, "wb") as new:
                    was = path.stat()
                    os.fchmod(new.fileno(), was.st_mode & 0o7777)
                    new.write(changed.encode())
                    new.flush()
                    os.fsync(new.fileno())
                if self._read() != text:
                    raise Permanent(f"{path.name} was changed by somebody else at this very moment; try again")
                Path(beside).replace(path)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno in NEVER:
                raise Permanent(f"{path} cannot be replaced: {error.strerror}") from error
            raise Transient(f"{path} cannot be written: {error.strerror}", ambiguous=True) from error

    def _flag(self, text: str, name: str) -> dict[str, Any]:
        try:
            content = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise Permanent(f"{self._path} is not JSON: {error}") from error
        flags = content.get("flags") if isinstance(content, dict) else None
        flag = flags.get(name) if isinstance(flags, dict) else None
        if not isinstance(flag, dict):
            raise Permanent(f"{self._path} holds no flag '{name}'")
        if not isinstance(flag.get("defaultVariant"), str):
            raise Permanent(f"the flag '{name}' in {self._path} has no default variant")
        return flag

    def _read(self) -> str:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise Permanent(f"{self._path} is larger than {MAX_BYTES // 2**20} MiB")
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Permanent(f"{self._path} is not UTF-8") from error
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            raise Permanent(f"{self._path} cannot be read: {error.strerror}") from error
        except OSError as error:
            raise Transient(f"{self._path} cannot be read: {error.strerror}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. A name that stands there twice means one thing to us and another to the next reader."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"'{twice}' stands there twice")
    return found


def _span(text: str, path: tuple[str, ...]) -> tuple[int, int]:
    """Where the value at this path of nested objects begins and ends, in a text that is JSON and holds it."""
    decoder, at = json.JSONDecoder(), _skip(text, 0)
    for name in path:
        at = _skip(text, at + 1)  # past the opening brace
        while True:
            key, at = scanstring(text, at + 1, True)
            at = _skip(text, _skip(text, at) + 1)  # past the colon
            if key == name:
                break
            _, at = decoder.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # past the comma
    return at, decoder.raw_decode(text, at)[1]


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()
