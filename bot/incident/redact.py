"""Secrets that stray into what alerts and people say are blanked before anything is stored or shown.

So are, as far as a pattern can tell, e-mail addresses and card numbers. And so is what no database or wire takes: JSON
can spell half a character (a lone surrogate) and NUL, UTF-8 and PostgreSQL cannot.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from bot.incident.secret_kinds import NAME_OF_A_SECRET, NAMES, RULES, Sort

BLANK: Final = "[secret]"
E_MAIL: Final = "[e-mail]"
CARD: Final = "[card]"


def _patterns(sort: Sort) -> list[str]:
    return [pattern for rule in RULES if rule.sort is sort for pattern in rule.patterns]


def _by_first_letter(patterns: list[str]) -> str:
    """One alternation in which a letter is looked at once: the engine skips every character that begins none."""
    rests: dict[str, list[str]] = {}
    for pattern in patterns:
        rests.setdefault(re.escape(pattern[0]), []).append(pattern[1:])
    return "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in rests.items())


_KEY: Final = re.compile(_by_first_letter(_patterns(Sort.KEY)))
_ARMOUR: Final = re.compile("|".join(_patterns(Sort.ARMOUR)))
# A key is a long run of few characters; where every run is shorter, one pass without turning back says so.
_SHORT_RUNS: Final = re.compile(r"(?:[^A-Za-z0-9_-]*+[A-Za-z0-9_-]{1,14}+(?![A-Za-z0-9_-]))*+[^A-Za-z0-9_-]*+")
_NAMED: Final = re.compile("|".join(_patterns(Sort.NAMED)), re.IGNORECASE)
# In small letters: for a pattern that takes both, the engine cannot skip what begins none.
_NAME: Final = re.compile("|".join(NAMES))
_LOGIN: Final = re.compile("|".join(_patterns(Sort.LOGIN)))
_E_MAIL: Final = re.compile("|".join(_patterns(Sort.E_MAIL)), re.ASCII)
_HOST: Final = re.compile(r"@(?:[A-Za-z0-9-]+\.)+[A-Za-z]")
_CARD: Final = re.compile("|".join(_patterns(Sort.CARD)), re.ASCII)
_NAME_OF_A_SECRET: Final = re.compile(NAME_OF_A_SECRET, re.IGNORECASE)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHORTEST: Final = 15
"""No key of the sort KEY and no card number is shorter."""
_LONGEST_REMEMBERED: Final = 200
_MOST_REMEMBERED: Final = 10_000
_clean: set[str] = set()
"""Texts that held nothing: in a storm the same labels come again and again. No secret is ever remembered."""


def storable(text: str) -> str:
    """The text with half characters as question marks, and without NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def redact(text: str) -> str:
    """The text without what looks like a key, token, password or personal data, and fit to be stored."""
    if text in _clean:
        return text
    cleaned = _redact(storable(text))
    if cleaned == text and len(text) <= _LONGEST_REMEMBERED:
        if len(_clean) >= _MOST_REMEMBERED:
            _clean.clear()
        _clean.add(text)
    return cleaned


def _redact(text: str) -> str:
    if len(text) >= _SHORTEST:
        if "-----" in text:
            text = _ARMOUR.sub(BLANK, text)
        if not _SHORT_RUNS.fullmatch(text):
            text = _KEY.sub(BLANK, text)
        text = _CARD.sub(_card, text)
    if "@" in text:
        if "://" in text:
            text = _LOGIN.sub(_value, text)
        if _HOST.search(text):
            text = _E_MAIL.sub(E_MAIL, text)
    if ("=" in text or ":" in text or " " in text) and _NAME.search(text.lower()):
        text = _NAMED.sub(_value, text)
    return text


def redact_named(name: str, text: str) -> str:
    """As `redact`, for a value with a name of its own: a label `db_password` holds a secret whatever it looks like."""
    return BLANK if text and names_a_secret(name) else redact(text)


def redact_texts(texts: Mapping[str, str], longest_name: int, longest: int) -> dict[str, str]:
    """As `redact_named` for each, and `redact` for its name, then cut to so many characters: labels, in a storm.

    What is cut first would leave the beginning of a key, by which nobody tells it.
    """
    return {
        redact(name)[:longest_name]: said[:longest]
        if said in _clean and not names_a_secret(name)
        else redact_named(name, said)[:longest]
        for name, said in texts.items()
    }


def redact_all(data: Any) -> Any:
    """Plain data with every text in it redacted. Never to be done to JSON as text: that could make it no JSON."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, Mapping):
        return {
            redact(name) if isinstance(name, str) else name: redact_named(name, v)
            if isinstance(v, str)
            else redact_all(v)
            for name, v in data.items()
        }
    if isinstance(data, list | tuple):
        return [redact_all(item) for item in data]
    return data


def holds_secret(data: Any) -> bool:
    """Whether plain data hold what opens a door; addresses of people do not."""
    return BLANK in repr(redact_all(data))


@lru_cache(1024)
def names_a_secret(name: str) -> bool:
    """Whether what has this name is a secret: `db_password`, `hfToken`, `secrets`; not `max_tokens`."""
    return _NAME_OF_A_SECRET.fullmatch(_HUMP.sub("_", name)) is not None


def _value(found: re.Match[str]) -> str:
    """What the rule's group holds stays: `password=[secret]`."""
    return (found[found.lastindex] if found.lastindex else "") + BLANK


def _card(found: re.Match[str]) -> str:
    """Only a number whose check digit is right (Luhn, ISO/IEC 7812-1) is a card's."""
    digits = [int(character) for character in reversed(found[0]) if character.isdecimal()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return CARD if (sum(digits[::2]) + doubled) % 10 == 0 else found[0]
