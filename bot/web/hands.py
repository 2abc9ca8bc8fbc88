"""The hands over HTTP, on the private listener: for a terminal that reaches the server, but not its database.

    POST /hands/ack  {"ref": "INC-42"}  with  Authorization: Bearer ffglass_...

Answers are lines of text. Reading needs no key, as on the pages; a browser cannot be made to send one from elsewhere.
"""

import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.hands import ACTS, ANSWER, READS, Hands, Unknown, Words
from bot.incident.glass import Glass
from bot.incident.people import Refused
from bot.journal import Busy, Txn, Unsure
from bot.journal.glass import WrongKey, glass_of_key

log = structlog.get_logger()

LARGEST: Final = 16 * 1024
LONGEST_WORD: Final = 2_000
GUESSES: Final = 5
"""Wrong keys from one address in GUESSED_WITHIN that are answered with their reason and logged. A key has 160 bits, so
this only spares the log. It holds up no good key: behind a proxy everybody has the same address."""
GUESSED_WITHIN: Final = timedelta(minutes=1)
PEERS: Final = 1_000


class TooManyGuesses(Exception):
    """A wrong key, and too many came before it."""


class Guesses:
    """Who tried a wrong key lately. Thread-safe; forgets the longest silent when too many try."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[datetime]] = {}

    def wrong(self, peer: str) -> None:
        """One more. Raises TooManyGuesses, and does not count it, when there were GUESSES lately."""
        with self._lock:
            now = self._clock()
            tried = self._wrong.get(peer) or deque[datetime](maxlen=GUESSES)
            if len(tried) == GUESSES and now - tried[0] < GUESSED_WITHIN:
                raise TooManyGuesses
            tried.append(now)
            self._wrong.pop(peer, None)
            self._wrong[peer] = tried
            while len(self._wrong) > PEERS:
                self._wrong.pop(next(iter(self._wrong)))


def hands_routes(hands: Hands, clock: Callable[[], datetime]) -> list[Route]:
    """POST /hands/WORD for every word there is."""
    guesses = Guesses(clock)
    journal = hands.desk.journal

    def carry_out(word: str, request: Request, words: Words) -> str:
        if word in READS:
            return hands.read(word, words)
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()

        def glass(txn: Txn) -> Glass:
            return glass_of_key(txn.direct, txn.workspace, key, txn.now)

        try:
            # A look first, which is cheap and keeps nobody from writing; what counts is the one in the transaction.
            journal.ask(lambda direct, workspace: glass_of_key(direct, workspace, key, clock()))
            return hands.act(word, words, glass)
        except WrongKey:
            peer = request.client.host if request.client else ""
            guesses.wrong(peer)
            log.warning("hands_refused", word=word, peer=peer)
            raise

    return [Route("/hands/{word}", partial(_answer, carry_out), methods=["POST"])]


async def _answer(work: Callable[[str, Request, Words], str], request: Request) -> Response:
    """What comes of it as text: 200, or a sentence that says why not."""
    word: str = request.path_params["word"]
    if word not in READS and word not in ACTS:
        return _text("There is no such word.", HTTPStatus.NOT_FOUND)
    try:
        words = _words(await _body(request))
        return _text(await run_in_threadpool(work, word, request, words))
    except Unknown as refused:
        return _text(str(refused), HTTPStatus.NOT_FOUND)
    except WrongKey as refused:
        return _text(str(refused), HTTPStatus.UNAUTHORIZED)
    except Refused as refused:
        return _text(str(refused), HTTPStatus.CONFLICT)
    except (ValueError, KeyError):
        return _text("This is no request that fixfirst makes.", HTTPStatus.BAD_REQUEST)
    except TooManyGuesses:
        return _text(
            "That key opens nothing; after so many wrong ones, wait a minute to be told why.",
            HTTPStatus.TOO_MANY_REQUESTS,
        )
    except Unsure:
        return _text(
            "The journal does not say whether this was recorded; look before you do it again.",
            HTTPStatus.SERVICE_UNAVAILABLE,
        )
    except Busy:
        return _text("The journal cannot be written right now; try again.", HTTPStatus.SERVICE_UNAVAILABLE)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise ValueError("too large")
    return body


def _words(body: bytes) -> Words:
    """ValueError for anything but an object of short texts."""
    words = json.loads(body)
    fits = isinstance(words, dict) and all(
        isinstance(value, str) and len(value) <= LONGEST_WORD for value in words.values()
    )
    if not fits:
        raise ValueError("not an object of texts")
    return dict(words)


def _text(text: str, status: int = HTTPStatus.OK) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers={ANSWER: "1"})
