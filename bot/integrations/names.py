"""The addresses behind a name, also while the name service is slow or gone: those known before go on being used.

A lookup cannot be ended: with its first name server dead glibc takes five seconds (resolv.conf(5), `timeout`), longer
than a page has. So it goes on on a thread of its own, and the next try finds what came of it.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` gives it: family, kind, protocol, name, address."""
FRESH_S: Final = 30.0
"""So long an address is used unasked."""
PATIENCE_S: Final = 0.5
"""So long a lookup is waited for where addresses are known from before."""
MOST: Final = 1_000
"""Names that are kept; a server talks to a dozen."""


class Names:
    """Looks names up and remembers. Thread-safe; one lookup of a name is under way at a time."""

    def __init__(
        self, lookup: Callable[..., Sequence[Address]] = socket.getaddrinfo, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._guard = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, Sequence[Address]]] = {}
        self._asking: dict[tuple[str, int], Future[Sequence[Address]]] = {}

    def addresses(self, host: str, port: int, within: float) -> Sequence[Address]:
        """The host's addresses, the one that answered last first. Raises OSError; TimeoutError after `within` s."""
        with suppress(socket.gaierror):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        key = (host, port)
        with self._guard:
            at, known = self._known.get(key, (0.0, ()))
            if known and self._clock() - at < FRESH_S:
                return known
            asked = self._asking.get(key)
            if asked is None:
                asked = self._asking[key] = Future()
                threading.Thread(target=self._ask, args=(key, asked), name="names", daemon=True).start()
        try:
            return asked.result(min(within, PATIENCE_S) if known else within)
        except OSError:  # a time-out too
            if known:
                return known
            raise

    def answered(self, host: str, port: int, address: Address) -> None:
        """This one can be reached: it is tried first from now on."""
        with self._guard:
            at, known = self._known.get((host, port), (0.0, ()))
            if address in known:
                self._known[host, port] = at, (address, *(one for one in known if one != address))

    def _ask(self, key: tuple[str, int], asked: "Future[Sequence[Address]]") -> None:
        host, port = key
        try:
            found = self._lookup(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            with self._guard:
                del self._asking[key]
            asked.set_exception(error if isinstance(error, OSError) else OSError(f"{host} is no name ({error})"))
            return
        with self._guard:
            del self._asking[key]
            _, before = self._known.pop(key, (0.0, ()))
            best = before[:1]
            found = sorted(found, key=lambda one: one not in best)
            self._known[key] = self._clock(), tuple(found)
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        asked.set_result(tuple(found))
