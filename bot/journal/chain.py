"""The chain of hashes that makes a changed, missing or swapped entry show."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from bot.journal.codec import canonical


def entry_hash(envelope: Mapping[str, Any], prev_hash: str) -> str:
    """SHA-256 over the previous entry's hash and the canonical JSON of everything that is stored about this one."""
    return _sha256(f"{prev_hash}\n{canonical(envelope)}")


def new_salt() -> str:
    """128 bits, so that a redacted text cannot be guessed back from its digest."""
    return secrets.token_hex(16)


def text_digest(salt: str, text: str) -> str:
    """What stands in the event in place of a free text."""
    return _sha256(f"{salt}\n{text}")


def _sha256(text: str) -> str:
    """Half a character, which no journal of ours holds, must not keep anybody from examining the one that holds it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
