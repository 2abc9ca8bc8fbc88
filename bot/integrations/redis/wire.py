"""One bounded exchange with a Redis: looks at a key, and changes it only if it is still what was seen."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bot.contracts import Permanent, Transient
from bot.incident.plain import one_line
from bot.incident.redact import redact
from bot.integrations.redis.target import Target

CUT_AGAIN_S: Final = 0.1
LONGEST_VALUE: Final = 4096
"""Characters: what was there is kept in the plan and shown to people."""
SLACK_MS: Final = 1000
"""How far apart two looks may see one moment of expiry: before Redis 7 a script's clocks differ a little."""

_LOOK: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = redis.call('TYPE', KEYS[1])['ok']
local left = redis.call('PTTL', KEYS[1])
local value = kind == 'string' and redis.call('GET', KEYS[1])
local expires = left >= 0 and now + left or -1
"""
_SEEN: Final = f"{_LOOK} return {{now, kind, expires, value}}"
_SWAP: Final = f"""{_LOOK}
local there = value and '1' or '0'
if (kind ~= 'string' and kind ~= 'none') or there ~= ARGV[1] or (value or '') ~= ARGV[2]
    or math.abs(expires - ARGV[3]) > {SLACK_MS} or (expires < 0) ~= (tonumber(ARGV[3]) < 0) then
  return 0
end
if ARGV[4] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[5])
  if ARGV[6] ~= '' then redis.call(ARGV[6], KEYS[1], ARGV[7]) end
end
return 1
"""
_LATER: Final = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "NOREPLICAS")
"""Refusals that pass: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors"""


@dataclass(frozen=True, slots=True)
class Held:
    """What stands under a key: None is nothing. `expires` is in ms since 1970 by the server's clock; None is never."""

    value: str | None
    expires: int | None

    def same(self, other: "Held") -> bool:
        """Whether it is the same value with the same end."""
        if self.value != other.value or (self.expires is None) != (other.expires is None):
            return False
        return self.expires is None or other.expires is None or abs(self.expires - other.expires) <= SLACK_MS

    def at(self, now: int) -> "Held":
        """What would stand there now if nobody had touched it."""
        return Held(None, None) if self.expires is not None and self.expires <= now else self

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "expires": self.expires}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Held":
        return cls(data["value"], data["expires"])


class Session:
    """A connection for one preview, act, look or undo."""

    def __init__(self, target: Target, connection: Any) -> None:
        self._target = target
        self._connection = connection

    def _run(self, script: str, key: str, *args: str | int, ambiguous: bool = False) -> Any:
        with failures(self._target, ambiguous=ambiguous):
            self._connection.send_command("EVAL", script, 1, key, *args)
            return self._connection.read_response()

    def look(self, key: str) -> tuple[int, Held]:
        """The server's time in ms, and what stands under the key."""
        answer = self._run(_SEEN, key)
        try:
            now, kind, expires, *rest = answer
            value = rest[0].decode() if rest and rest[0] is not None else None
            held = Held(value, int(expires) if expires >= 0 else None)
            kind = kind.decode()
        except UnicodeDecodeError:
            raise Permanent(f"{key} holds bytes that are no text, so a plan could not put them back") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise Permanent(f"{self._target.where} does not answer like Redis") from error
        if kind not in ("string", "none"):
            raise Permanent(f"{key} is a {kind}, not a string; it is left alone")
        if value is not None and len(value) > LONGEST_VALUE:
            raise Permanent(f"{key} holds more than {LONGEST_VALUE} characters, too much to be kept in a plan")
        return int(now), held

    def swap(self, key: str, seen: Held, value: str | None, *, ttl: int | None = None, at: int | None = None) -> bool:
        """Puts `value` (None removes the key) in place of what was seen; False when that no longer stands there.

        It lasts `ttl` ms, or until `at` (ms since 1970), or for ever.
        """
        there: list[str | int] = [
            int(seen.value is not None),
            seen.value or "",
            -1 if seen.expires is None else seen.expires,
        ]
        ends: list[str | int] = ["", ""]
        if ttl is not None:
            ends = ["PEXPIRE", ttl]
        elif at is not None:
            ends = ["PEXPIREAT", at]
        args = [*there, int(value is not None), value or "", *ends]
        return bool(self._run(_SWAP, key, *args, ambiguous=True) == 1)


@contextmanager
def connected(target: Target) -> Iterator[Session]:
    """A connection that is cut when the target's time is over, however slowly the other side drips."""
    # It takes a tenth of a second to import, and the bot must accept its first webhook within two.
    from redis.backoff import NoBackoff
    from redis.connection import Connection, SSLConnection
    from redis.retry import Retry

    url = urlsplit(target.url)
    # Its methods have no types.
    connection: Any = (SSLConnection if url.scheme == "rediss" else Connection)(
        host=url.hostname or "",
        port=url.port or 6379,
        db=int(url.path.removeprefix("/") or 0),
        username=target.user or None,
        password=target.password.reveal() or None,
        protocol=2,  # no pushed messages; what is asked for here exists in every version
        socket_timeout=target.timeout,
        socket_connect_timeout=target.timeout,
        retry=Retry(NoBackoff(), 0),  # the outbox retries, and looks first
    )
    done = threading.Event()
    threading.Thread(target=_cut, args=(connection, target.timeout, done), name="redis-end", daemon=True).start()
    try:
        with failures(target, ambiguous=False):
            connection.connect()
        yield Session(target, connection)
    finally:
        done.set()
        connection.disconnect()


def _cut(connection: Any, timeout: float, done: threading.Event) -> None:
    """Ends the connection under whoever still waits for it: a socket's own time-out begins anew with every byte.

    Again and again until that one has noticed: the client shows its socket only when the greeting is over.
    """
    if done.wait(timeout):
        return
    while True:
        sock = connection._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if done.wait(CUT_AGAIN_S):
            return


@contextmanager
def failures(target: Target, *, ambiguous: bool) -> Iterator[None]:
    """The client's exceptions as ours."""
    from redis import exceptions as ex

    try:
        yield
    except ex.AuthenticationError as error:
        raise Permanent(f"{target.where} refuses the name or the password: {_words(error)}") from error
    except ex.TimeoutError as error:
        raise Transient(f"{target.where}: no answer in {target.timeout:g} s", ambiguous=ambiguous) from error
    except ex.BusyLoadingError as error:
        raise Transient(f"{target.where} is still loading its data") from error
    except ex.ConnectionError as error:
        if (untrusted := _untrusted(error)) is not None:
            raise Permanent(f"{target.where}: its certificate is not trusted: {untrusted.verify_message}") from error
        raise Transient(f"{target.where} cannot be reached, or hung up", ambiguous=ambiguous) from error
    except ex.ResponseError as error:
        said = str(error)
        if said.startswith(_LATER) or isinstance(error, ex.OutOfMemoryError | ex.TryAgainError | ex.ClusterDownError):
            raise Transient(f"{target.where} refuses for now: {_words(error)}") from error
        raise Permanent(f"{target.where} refuses: {_words(error)}") from error
    except (ex.RedisError, UnicodeDecodeError, ValueError, IndexError) as error:
        # The client's parser lets these through when the other side speaks something else.
        strange = f"{target.where} does not answer like Redis ({type(error).__name__})"
        raise Permanent(strange, ambiguous=ambiguous) from error


def _untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The refusal of a certificate, which the client raises as one of many reasons not to be connected."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _words(error: Exception) -> str:
    """What the server said, as one short line."""
    return redact(one_line(str(error)))[:200]
