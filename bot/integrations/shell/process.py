"""One program run within bounds: no shell, a session of its own, nothing to read, 8 KiB of output, and an end to it.

What a program starts lives in its process group and is ended with it; what leaves the group (by `setsid`) is not.
"""

import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.contracts import Permanent, Transient
from bot.incident.plain import plain
from bot.incident.redact import redact
from bot.integrations.shell.allowed import Allowed

MAX_OUTPUT: Final = 8 * 1024
"""Characters that are shown. Twice as many bytes are read, so that no secret is cut in two before it is blanked."""
GRACE_S: Final = 0.5
"""Between SIGTERM and SIGKILL; taken from the command's own time."""
LOOK_EVERY_S: Final = 0.02
SHORTEST_MASKED: Final = 4
"""Characters: a shorter secret would blank half of what is said."""
_CUT: Final = f"… (cut after {MAX_OUTPUT // 1024} KiB)"


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: the exit status, or minus the number of the signal that ended it. `output` is fit to be shown."""

    status: int
    output: str

    @property
    def how(self) -> str:
        """In words, with the last thing it said."""
        last = next((line for line in reversed(self.output.splitlines()) if line.strip()), "")
        ended = f"ended with {self.status}" if self.status >= 0 else f"was ended by {_signal(-self.status)}"
        return f"{ended}: {last[:300]}" if last else ended


class Room:
    """One preview, act, look or undo of a command: all its programs share one deadline."""

    def __init__(self, command: Allowed) -> None:
        self._command = command
        self._deadline = time.monotonic() + command.timeout

    def run(self, argv: Sequence[str], *, acts: bool = False) -> Ended:
        """Runs it to its end. Raises Permanent where it cannot be started, Transient where it took too long.

        A program that was cut short while it acted may have acted.
        """
        command = self._command
        try:
            process = subprocess.Popen(  # noqa: S603 - only what the allow-list says, and never by a shell
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=command.cwd,
                env={**command.env, **{name: secret.reveal() for name, secret in command.secrets.items()}},
                start_new_session=True,
                umask=0o077,
                **_as_user(command.user),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Permanent(f"'{command.name}' cannot run {argv[0]}: {reason}") from error
        output, in_time = bytearray(), False
        try:
            in_time = self._watch(process, output, self._deadline - GRACE_S)
            if not in_time:
                _signal_group(process, signal.SIGTERM)
                self._watch(process, output, self._deadline)
        finally:
            # The leader is not reaped yet, so its number is still the group's and nobody else's.
            _signal_group(process, signal.SIGKILL)
            status = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if not in_time:
            raise Transient(f"'{command.name}' did not end within {command.timeout:g} s and was ended", ambiguous=acts)
        return Ended(status, self._shown(bytes(output)))

    def _watch(self, process: subprocess.Popen[bytes], output: bytearray, until: float) -> bool:
        """Reads until the program has ended; False when the time is over before. What is too much is dropped."""
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
                read = _drain(pipe, output)
                if ended:
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                if read is None:
                    time.sleep(min(left, LOOK_EVERY_S))  # its output is closed, it runs on
                else:
                    selector.select(min(left, LOOK_EVERY_S))

    def _shown(self, output: bytes) -> str:
        """Text without control characters, without the command's own secrets, and without what looks like one."""
        text = output.decode("utf-8", "replace")
        for secret in self._command.secrets.values():
            if len(secret.reveal()) >= SHORTEST_MASKED:
                text = text.replace(secret.reveal(), "[secret]")
        text = redact(plain(text, keep="\n")).strip()
        return f"{text[:MAX_OUTPUT]}{_CUT}" if len(text) > MAX_OUTPUT else text


def _drain(pipe: int, output: bytearray) -> int | None:
    """Reads what is there, and keeps as much as is needed; None at the end of the file."""
    try:
        found = os.read(pipe, 65_536)
    except BlockingIOError:
        return 0
    output += found[: max(0, 2 * MAX_OUTPUT - len(output))]
    return len(found) or None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Nobody is left, or only the ended leader, whom nobody can signal any more.
        return


def _as_user(name: str) -> Mapping[str, Any]:
    """Whom the program runs as; nothing to do where that is the bot's own user."""
    if not name or pwd.getpwnam(name).pw_uid == os.geteuid():
        return {}
    user = pwd.getpwnam(name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def there(argv: Sequence[str]) -> bool:
    """Whether the program is there to be run."""
    return os.access(argv[0], os.X_OK) and Path(argv[0]).is_file()
