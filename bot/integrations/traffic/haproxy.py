"""HAProxy: weights and states of servers, and entries of maps, by its runtime API.

https://docs.haproxy.org/2.6/management.html#9.3 - an error is text on a call that succeeds, so every write is read
back.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final

from bot.contracts import Permanent, Transient, after_the_act
from bot.incident.redact import redact
from bot.integrations.traffic.target import WORD, Route, Target
from bot.until import Until

MAX_ANSWER: Final = 4 * 1024 * 1024
"""All servers of a large backend, or a large map."""
_RUNNING: Final = "2"
_MAINT, _DRAIN = 0x01, 0x08
"""Bits of srv_admin_state for what is asked for; what is inherited shows in srv_op_state. Management guide, 9.3."""
Server = dict[str, str]


class HAProxy:
    """`Proxy` of `act.py`.

    Settings are `weight of BACKEND/SERVER`, `state of BACKEND/SERVER` (ready, drain, maint) and `KEY in MAP`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._deadline = time.monotonic() + target.timeout

    def shed(self, route: Route, percent: int) -> dict[str, str]:
        """The percentage under its key in the map."""
        path, _, key = route.shed.partition(" ")
        return {f"{key} in {path}": str(percent)}

    def shift(self, route: Route, percent: int) -> dict[str, str]:
        """The fallback made ready, and two weights that are 100 together."""
        return {
            f"state of {route.fallback}": "ready",
            f"weight of {route.fallback}": str(percent),
            f"weight of {route.primary}": str(100 - percent),
        }

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """What is set now; empty for a key that is not in its map."""
        return {name: self._read(*_parts(name)) for name in names}

    def write(self, now: dict[str, str], wanted: dict[str, str]) -> None:
        """One after another, each read back, who takes over before who gives up; on an error it is taken back."""
        done: list[str] = []
        try:
            for name in sorted((name for name in wanted if now[name] != wanted[name]), key=_order(now, wanted)):
                if _gives_up(name, now[name], wanted[name]):
                    self._somebody_answers(name, wanted)
                done.append(name)
                self._write(name, now[name], wanted[name])
        except Permanent as failure:
            with after_the_act():
                for name in reversed(done):
                    self._write(name, wanted[name], now[name], strict=False)
                left = self.read(done)
                if wrong := [f"{name} is {left[name]} now" for name in done if left[name] != now[name]]:
                    raise Permanent(f"{failure}; taking it back failed: {', '.join(wrong)}; look at once") from failure
            raise

    def _read(self, what: str, kind: str, where: str) -> str:
        if kind == "of":
            server = self._server(where)
            return server["srv_uweight"] if what == "weight" else _state(int(server["srv_admin_state"]))
        rows = (line.split(" ", 2) for line in self._command("show", "map", where).splitlines())
        return next((row[2] for row in rows if len(row) == 3 and row[1] == what), "")

    def _write(self, name: str, now: str, wanted: str, *, strict: bool = True) -> None:
        what, kind, where = _parts(name)
        if kind == "in" and not wanted:
            said = self._command("del", "map", where, what, acts=True)
        elif kind == "in":
            said = self._command("set" if now else "add", "map", where, what, wanted, acts=True)
        elif what == "weight":
            said = self._command("set", "weight", where, wanted, acts=True)
        else:
            said = self._command("set", "server", where, "state", wanted, acts=True)
        if strict and (found := self._read(what, kind, where)) != wanted:
            why = _line(said) or "no reason given"
            raise Permanent(f"{self._target.where} keeps {name} at {found or 'nothing'}: {why}")

    def _somebody_answers(self, name: str, wanted: dict[str, str]) -> None:
        """No server gives up any of its share before the other one, as it is now, runs, is ready and has a weight."""
        giving = _parts(name)[2]
        for where in {_parts(other)[2] for other in wanted} - {giving}:
            server = self._server(where)
            weight = wanted.get(f"weight of {where}", server["srv_uweight"])
            state = wanted.get(f"state of {where}", _state(int(server["srv_admin_state"])))
            if weight != "0" and state == "ready" and server["srv_op_state"] == _RUNNING:
                return
        raise Permanent(f"{giving} is left as it is: without it nobody would answer, the other server is not running")

    def _server(self, where: str) -> Server:
        backend, _, name = where.partition("/")
        said = self._command("show", "servers", "state", backend)
        for server in _rows(said):
            if server.get("srv_name") == name and {"srv_uweight", "srv_admin_state", "srv_op_state"} <= server.keys():
                return server
        if said.startswith("1\n"):
            raise Permanent(f"{self._target.where} has no server {where}")
        raise Permanent(f"{self._target.where} does not tell about {backend}: {_line(said) or 'it answers nothing'}")

    def _command(self, *words: str, acts: bool = False) -> str:
        """One line and its answer. A word that could end the line or begin another command is never sent."""
        for word in words:
            if not WORD.fullmatch(word):
                raise Permanent(f"{word[:40]!r} cannot stand in a command to HAProxy")
        target = self._target
        try:
            sock = self._connect()
        except OSError as error:
            raise Transient(f"{target.where} cannot be reached: {self._why(error)}") from error
        with closing(sock):
            try:
                sock.settimeout(max(0.001, self._deadline - time.monotonic()))
                sock.sendall(f"{' '.join(words)}\n".encode("ascii"))
                with Until(sock, self._deadline).makefile("rb") as said_so_far:
                    answer: bytes = said_so_far.read(MAX_ANSWER + 1)
            except OSError as error:
                raise Transient(f"{target.where}: {self._why(error)}", ambiguous=acts) from error
        if len(answer) > MAX_ANSWER:
            raise Permanent(f"{target.where} answered with more than {MAX_ANSWER // 2**20} MiB")
        said = answer.decode("utf-8", "replace")
        if said.startswith(("Permission denied", "Unknown map", "Unknown command")):
            raise Permanent(f"{target.where} refuses: {_line(said)}")
        return said

    def _connect(self) -> socket.socket:
        left = max(0.001, self._deadline - time.monotonic())
        if not self._target.address.startswith("unix:"):
            return socket.create_connection(self._target.host, timeout=left)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(left)
            sock.connect(self._target.address.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
        return sock

    def _why(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer in {self._target.timeout:g} s"
        return error.strerror or type(error).__name__


def _parts(name: str) -> tuple[str, str, str]:
    """Of a setting's name: weight, state or a key; `of` or `in`; the server or the map."""
    parts = name.split(" ")
    if len(parts) != 3:
        raise Permanent(f"{name[:60]!r} is not a setting of HAProxy")
    return parts[0], parts[1], parts[2]


def _state(admin: int) -> str:
    return "maint" if admin & _MAINT else "drain" if admin & _DRAIN else "ready"


def _gives_up(name: str, now: str, wanted: str) -> bool:
    if name.startswith("weight of "):
        return int(wanted) < int(now)
    return name.startswith("state of ") and wanted != "ready"


def _order(now: dict[str, str], wanted: dict[str, str]) -> Callable[[str], tuple[bool, bool]]:
    """First who takes over, then who gives up; a state before a weight on the way up, after it on the way down."""

    def place(name: str) -> tuple[bool, bool]:
        giving = _gives_up(name, now[name], wanted[name])
        return giving, name.startswith("state of ") == giving

    return place


def _rows(said: str) -> Iterator[Server]:
    """The table of `show servers state`: its version, `# ` and the columns' names, then a line for each server."""
    columns: list[str] = []
    for line in said.splitlines():
        if line.startswith("# "):
            columns = line[2:].split()
        elif columns:
            yield dict(zip(columns, line.split(), strict=False))


def _line(said: str) -> str:
    return redact(" ".join("".join(c if c.isprintable() else " " for c in said).split()))[:200]
