"""One bounded HTTP exchange: no redirect, no proxy, JSON only, 64 KiB at most, over by a fixed moment."""

import hashlib
import hmac
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from bot.contracts import Permanent, Transient
from bot.incident.plain import one_line
from bot.incident.redact import redact
from bot.integrations.line import line_to
from bot.settings import Secret
from bot.until import Until

MAX_ANSWER = 64 * 1024
_LATER = frozenset({408, 425, 429})


def connection_to(url: str, deadline: float) -> HTTPConnection:
    """To the server of an address, not yet opened."""
    target = urlsplit(url)
    return line_to(target.scheme, target.hostname or "", target.port, deadline)


def exchanged(
    connection: HTTPConnection,
    method: str,
    url: str,
    payload: bytes | None,
    headers: Mapping[str, str],
    *,
    deadline: float,
    largest: int = MAX_ANSWER,
) -> tuple[HTTPResponse, bytes]:
    """The answer and its body, cut after `largest` bytes and one, over by the deadline however slowly it drips.

    The connection is open. Raises OSError and HTTPException as they come.
    """
    target = urlsplit(url)
    path = f"{target.path or '/'}?{target.query}" if target.query else target.path or "/"
    connection.request(method, path, payload, dict(headers))
    response = HTTPResponse(cast(socket.socket, Until(connection.sock, deadline)), method=method)
    try:
        response.begin()
        answer = response.read(largest + 1)
        if response.length and len(answer) <= largest:
            raise IncompleteRead(answer, response.length)
    finally:
        response.close()  # it holds the socket, and the other side would go on sending
    return response, answer


class Peer(Protocol):
    """Whom a call is made to. `timeout` is in seconds."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def token(self) -> Secret: ...
    @property
    def timeout(self) -> float: ...


class Call:
    """One preview, act, look or undo: all its requests share one deadline and one endpoint's token.

    With `signing`, what is sent carries its HMAC-SHA256 under that secret. `scheme` is what stands before the token. An
    answer may have `largest` bytes.
    """

    def __init__(
        self, endpoint: Peer, signing: Secret | None = None, *, scheme: str = "Bearer ", largest: int = MAX_ANSWER
    ) -> None:
        self._endpoint = endpoint
        self._largest = largest
        self._signing = signing
        self._scheme = scheme
        self._deadline = time.monotonic() + endpoint.timeout

    def look(self, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The JSON object at `url`."""
        state = self._exchange("GET", url, None, dict(headers or {}))
        if not isinstance(state, dict):
            raise Permanent(f"{self._where(url)} did not answer with a JSON object")
        return state

    def act(self, request: Mapping[str, Any], key: str) -> None:
        """Sends a planned request under an idempotency key; any word is answer enough, as for `tell`."""
        self._exchange(request["method"], request["url"], request["json"], {"Idempotency-Key": key}, words_do=True)

    def tell(self, url: str, body: Mapping[str, Any], key: str) -> None:
        """Sends news under an idempotency key; any word is answer enough, but a web page is somebody else's."""
        self._exchange("POST", url, body, {"Idempotency-Key": key}, words_do=True)

    def _exchange(self, method: str, url: str, body: Any, headers: dict[str, str], *, words_do: bool = False) -> Any:
        target = urlsplit(url)
        if target[:2] != urlsplit(self._endpoint.url)[:2]:
            raise Permanent(f"the endpoint '{self._endpoint.name}' has moved since the preview; preview again")
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "User-Agent": "FixFirst", "Connection": "close", **headers}
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if payload is not None and self._signing:
            signature = hmac.new(self._signing.reveal().encode(), payload, hashlib.sha256).hexdigest()
            headers["X-FixFirst-Signature"] = f"v1={signature}"
        if self._endpoint.token:
            headers["Authorization"] = f"{self._scheme}{self._endpoint.token.reveal()}"
        connection = connection_to(url, self._deadline)
        try:
            self._connect(connection, url)
            response, answer = exchanged(
                connection, method, url, payload, headers, deadline=self._deadline, largest=self._largest
            )
            return self._judge(method, url, response, answer, words_do=words_do)
        except (OSError, HTTPException) as error:
            # The request was on its way: what could act may have acted.
            raise Transient(f"{self._where(url)}: {self._reason(error)}", ambiguous=method != "GET") from error
        finally:
            connection.close()

    def _connect(self, connection: HTTPConnection, url: str) -> None:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise Permanent(f"{self._where(url)}: its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise Transient(f"{self._where(url)} cannot be reached: {self._reason(error)}") from error

    def _judge(self, method: str, url: str, response: HTTPResponse, answer: bytes, *, words_do: bool) -> Any:
        """The JSON of a good answer (None for an empty one), or the exception that fits the status.

        Nobody says no by a good answer that we cannot read, nor by pointing elsewhere: what could act may have acted.
        """
        status, acts = response.status, method != "GET"
        if 200 <= status < 300:
            if len(answer) > self._largest:
                largest = f"{self._largest // 1024} KiB"
                raise Permanent(f"{self._where(url)} answered with more than {largest}", ambiguous=acts)
            try:
                return json.loads(answer) if answer else None
            except (ValueError, RecursionError):
                if words_do and not answer.lstrip().startswith(b"<"):
                    return None
                kind = response.getheader("Content-Type", "something").partition(";")[0][:60]
                raise Permanent(
                    f"{self._where(url)} answered {status} with {kind}, not JSON: is a login page in between?",
                    ambiguous=acts,
                ) from None
        said = f"{self._where(url)} answered {status}{self._words(answer)}"
        if 300 <= status < 400:
            not_followed = "redirects are not followed; put the final address into the configuration"
            raise Permanent(f"{said}: {not_followed}", ambiguous=acts)
        if status in _LATER:
            wish = response.getheader("Retry-After", "").strip()
            raise Transient(said, retry_after=float(wish) if re.fullmatch(r"[0-9]{1,6}", wish) else None)
        if status >= 500:
            raise Transient(said, ambiguous=acts)
        raise Permanent(said)

    def _words(self, answer: bytes) -> str:
        """What the server said, as one short line without our token or another; empty when it was not readable."""
        text = answer[:4096].decode("utf-8", "replace")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = "" if text.lstrip().startswith("<") else text
        if isinstance(said, dict):
            said = said.get("error") or said.get("message") or said.get("detail") or ""
        if isinstance(said, dict):
            said = " ".join(str(said[part]) for part in ("message", "hint") if said.get(part))
        line = one_line(str(said))
        if self._endpoint.token:
            line = line.replace(self._endpoint.token.reveal(), "***")
        return f": {redact(line)[:200]}" if line else ""

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer in {self._endpoint.timeout:g} s"
        return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__

    def _where(self, url: str) -> str:
        return f"{self._endpoint.name} ({urlsplit(url).netloc})"
