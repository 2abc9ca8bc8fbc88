"""A session of requests in which a request's time-out is one for all of it.

A time-out of requests begins anew with each address, each redirect and each byte: an answer that drips would keep its
thread for ever. Everything else is as requests has it, proxies and certificates of the environment included.
"""

import socket
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final, cast

from requests import PreparedRequest, Response, Session, exceptions
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError
from urllib3.util.connection import allowed_gai_family, create_connection

from bot.until import Until

REDIRECTS: Final = 3
"""By requests' own 30, what is sent round in circles takes all of a request's time, and is called slow."""
_OVER: Final[ContextVar[float]] = ContextVar("over")
"""When the request of this thread is over, by `time.monotonic()`."""


class Punctual(Session):
    """Every request is made once, needs a `timeout` in seconds, and is over within it, its redirects with it.

    What is read of a streamed answer later has to be there by then too. Two things end by themselves and later: the
    system's look for an address, and a conversation through a SOCKS proxy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = REDIRECTS
        self._adapter = _Adapter()
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)

    def get_adapter(self, url: str) -> HTTPAdapter:  # noqa: ARG002 - its name in the base class
        """Ours for every address, also where a client has mounted one of its own."""
        return self._adapter

    def request(  # type: ignore[override]  # what is left out is passed by name
        self, method: str, url: str, *, timeout: float, **more: Any
    ) -> Response:
        """As requests' own. A time-out is `exceptions.Timeout` wherever it happens."""
        before = _OVER.set(time.monotonic() + timeout)
        try:
            return super().request(method, url, timeout=timeout, **more)
        except exceptions.ConnectionError as error:
            # What requests makes of an answer that has begun.
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise exceptions.ReadTimeout(error.args[0], request=error.request) from error
            raise
        finally:
            _OVER.reset(before)


class _Adapter(HTTPAdapter):
    """One try for each request, over lines that keep to the time."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        if isinstance(manager, ProxyManager):  # the one for SOCKS has lines of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: PreparedRequest, *args: Any, **more: Any) -> Response:
        if time.monotonic() >= _OVER.get():
            raise exceptions.ReadTimeout(request=request)
        return super().send(request, *args, **more | {"timeout": _left()})


class _Line(HTTPConnection):
    """A connection whose every wait ends when the request does."""

    def _new_conn(self) -> socket.socket:
        """The first address that answers; each has an equal share of the time that those before it have left."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: OSError = OSError("no address")
        for tried, (*_, address) in enumerate(found):
            where, share = (str(address[0]), int(address[1])), _left() / (len(found) - tried)
            try:
                line = create_connection(where, share, self.source_address, self.socket_options)
            except OSError as error:
                failure = error
            else:
                line.settimeout(_left())
                return line
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} did not answer in time") from failure
        raise NewConnectionError(self, f"{self.host} cannot be reached: {failure}") from failure

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_left())
        super().send(data)

    def response_class(  # type: ignore[override]  # called, and nothing else, as the class would be
        self, sock: socket.socket, *args: Any, **more: Any
    ) -> HTTPResponse:
        """What http.client calls to read an answer, a proxy's too."""
        return HTTPResponse(cast(socket.socket, Until(sock, _OVER.get())), *args, **more)


class _SafeLine(_Line, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Line


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeLine


_POOLS: Final = {"http": _Pool, "https": _SafePool}


def _left() -> float:
    """Seconds; never none, which a socket would take for an order not to wait at all."""
    return max(0.001, _OVER.get() - time.monotonic())
