"""Secrets that stray into what alerts and people say are blanked before anything is stored or shown.

So is what no database or wire takes: JSON can spell half a character (a lone surrogate) and NUL, UTF-8 and PostgreSQL
cannot.
"""

import re
from typing import Final

# One pass for all that begin with letters of their own: the engine then skips every other character.
_KEYS: Final = re.compile(
    "|".join(
        (
            r"xox[abposer]-[A-Za-z0-9-]{10,}",
            r"xapp-[A-Za-z0-9-]{10,}",
            r"gh[pousr]_[A-Za-z0-9]{30,}",
            r"github_pat_[A-Za-z0-9_]{30,}",
            r"AKIA[0-9A-Z]{16}",
            r"sk-[A-Za-z0-9_-]{20,}",
            r"hf_[A-Za-z0-9]{30,}",
            r"AIza[0-9A-Za-z_-]{35}",
            r"glpat-[0-9A-Za-z_-]{20,}",
            r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        )
    )
)
# These are slower, and looked for only where a character that they all need is there.
_IN_URL: Final = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_BEARER: Final = re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{16,}=*")
_NAMED: Final = re.compile(r"(?i)(?:password|passwd|secret|token|api[_-]?key)\s*[=:]\s*[^\s,;\"']{6,}")
BLANK: Final = "[secret]"


def storable(text: str) -> str:
    """The text with half characters as question marks, and without NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def redact(text: str) -> str:
    """The text without what looks like a key, token, password or private key, and fit to be stored."""
    text = _KEYS.sub(BLANK, storable(text))
    if "@" in text:
        text = _IN_URL.sub(BLANK, text)
    if " " in text:
        text = _BEARER.sub(BLANK, text)
    if "=" in text or ":" in text:
        text = _NAMED.sub(BLANK, text)
    return text
