"""The file of commands that steps of kind `shell.run` may run, and every fault in it.

    [gpu-diag]
    risk = "read"                              # exit 0: as it should be, 1: not, anything else: cannot be told
    argv = ["/usr/bin/dcgmi", "diag", "-r", "1", "--host={node}"]
    args = { node = "[a-z0-9.-]{1,100}" }      # what a value must be from its first character to its last

    [drain-queue]
    risk = "reversible"
    argv = ["/opt/queue/bin/queuectl", "drain", "--", "{queue}"]
    preview = ["/opt/queue/bin/queuectl", "drain", "--dry-run", "--", "{queue}"]
    observe = ["/opt/queue/bin/queuectl", "is-drained", "--", "{queue}"]     # exit 0: done, 1: not done
    undo = ["/opt/queue/bin/queuectl", "resume", "--", "{queue}"]
    args = { queue = "[a-z0-9-]{1,40}" }
    env = { LANG = "C.UTF-8" }                 # all that the program finds in its environment,
    secret_env = ["QUEUE_TOKEN"]               # beside these, which are taken from the bot's
    user = "queue"
    timeout = "8s"

Whoever can write this file can run anything as the bot, so nobody but its owner may.
"""

import os
import pwd
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bot.contracts import Permanent
from bot.incident.redact import holds_secret
from bot.incident.run import Risk
from bot.settings import LONGEST_CALL, Secret, Table, call_timeout, shown

MAX_BYTES: Final = 256 * 1024
LONGEST_VALUE: Final = 512
SHORTEST_CALL: Final = timedelta(seconds=1)
STEP_KEY: Final = "command"
"""What `with:` holds beside the values."""
PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")
_NEARLY: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""What somebody may have meant as a placeholder; any other brace is the program's own."""
_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ARG: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_OF_ACTS: Final = ("preview", "observe", "undo")

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """One table of the file. `timeout` is in seconds and covers a whole preview, act, look or undo.

    `args` are the patterns that values must match in full, by name.
    """

    name: str
    risk: Risk
    argv: Argv
    args: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    preview: Argv = ()
    observe: Argv = ()
    undo: Argv = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    user: str = ""
    cwd: str = "/"
    timeout: float = 5.0

    @property
    def undoable(self) -> bool:
        return bool(self.undo)

    @property
    def needs(self) -> frozenset[str]:
        """The values that a step must give under `with:`."""
        return frozenset(self.args)

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A value that is written out must fit; one that a parameter fills in is looked at in the preview."""
        for name in self.args.keys() & args.keys():
            value = str(args[name])
            if "{{" not in value and (sentence := self.refusal(name, value)):
                yield name, sentence

    def refusal(self, name: str, value: str) -> str:
        """Why this value cannot be given to the command; empty when it can."""
        if not 0 < len(value) <= LONGEST_VALUE or not value.isprintable():
            return f"{name} cannot be {value[:40]!r}: 1 to {LONGEST_VALUE} characters, and none invisible"
        pattern = self.args[name]
        if not pattern.fullmatch(value):
            return f"{name} cannot be {value[:40]!r}: '{self.name}' takes only {pattern.pattern}"
        if value.startswith("-") and not _may_begin_with_dash(pattern) and self._as_option(name):
            return f"{name} cannot be {value[:40]!r}: the program would take it for an option"
        return ""

    def rendered(self, argv: Argv, values: Mapping[str, str]) -> list[str]:
        """One element for each element, whatever the values hold. Raises Permanent for a value that is refused."""
        for name, value in values.items():
            if sentence := self.refusal(name, value):
                raise Permanent(sentence)
        return [PLACEHOLDER.sub(lambda found: values[found[1]], element) for element in argv]

    def _as_option(self, name: str) -> bool:
        """Whether a value begins an element of any of the argvs that could be read as an option."""
        return any(
            element.startswith(f"{{{name}}}")
            for argv in (self.argv, self.preview, self.observe, self.undo)
            for element in argv[: argv.index("--") if "--" in argv else len(argv)]
        )


def read(path: Path, secret: Callable[[str], str | None]) -> tuple[dict[str, Allowed], list[str]]:
    """The commands by name, and every fault as a sentence; with a fault no command is given."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return {}, [f"cannot be read: {error.strerror}"]
    if mode & _OTHERS:
        return {}, [f"may be written by others than its owner; chmod go-w {path}"]
    if len(content) > MAX_BYTES:
        return {}, [f"is larger than {MAX_BYTES // 1024} KiB"]
    try:
        tables = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"is not TOML: {error}"]
    faults: list[str] = []
    commands = {name: _command(name, table, secret, faults) for name, table in tables.items()}
    return ({} if faults else commands), faults


def _command(name: str, values: Any, secret: Callable[[str], str | None], faults: list[str]) -> Allowed:
    table = Table(name, values if isinstance(values, dict) else {}, faults)
    if not _NAME.fullmatch(name) or not isinstance(values, dict):
        faults.append(f"{name[:40]}: must be a table [NAME], its name lower-case words joined by -")
    risk = Risk(table.choice("risk", Risk.DESTRUCTIVE.value, tuple(risk.value for risk in Risk)))
    args = _patterns(table)
    timeout = call_timeout(table)
    if timeout < SHORTEST_CALL.total_seconds():
        table.fault("timeout", f"must be at least {SHORTEST_CALL.seconds}s and at most {LONGEST_CALL.seconds}s")
    command = Allowed(
        name=name,
        risk=risk,
        argv=_argv(table, "argv", args, required=True),
        args=args,
        preview=_argv(table, "preview", args),
        observe=_argv(table, "observe", args),
        undo=_argv(table, "undo", args),
        env=_environment(table),
        secrets=_secrets(table, secret),
        user=_user(table),
        cwd=table.text("cwd", "/"),
        timeout=timeout,
    )
    if not command.cwd.startswith("/"):
        table.fault("cwd", "must be a whole path, from / on")
    for key in _OF_ACTS:
        if risk is Risk.READ and key in table.values:
            table.fault(key, "has no meaning for a command that only reads; leave it out")
    if command.undo and not command.observe:
        table.fault("observe", "is missing; without a look, undo might be run twice")
    if risk is Risk.REVERSIBLE and not command.undo:
        table.fault("undo", 'is missing; add undo = [ … ], or set risk = "destructive"')
    used = {found for argv in (command.argv, command.undo) for found in PLACEHOLDER.findall(" ".join(argv))}
    for unused in sorted(args.keys() - used):
        table.fault(f"args.{unused}", "is used in none of argv and undo")
    table.done()
    return command


def _patterns(table: Table) -> Mapping[str, re.Pattern[str]]:
    patterns: dict[str, re.Pattern[str]] = {}
    for name, pattern in table.mapping("args").items():
        if not _ARG.fullmatch(name) or name == STEP_KEY:
            table.fault(f"args.{name}", f"cannot be an argument: small letters, digits and _, and not '{STEP_KEY}'")
        elif not isinstance(pattern, str) or not pattern:
            table.fault(f"args.{name}", "must be the pattern of its values, in quotes")
        else:
            try:
                # ASCII: \d is 0 to 9 here, and no digit of another script.
                patterns[name] = re.compile(pattern, re.ASCII)
            except re.error as error:
                table.fault(f"args.{name}", f"is no regular expression: {error}")
    return patterns


def _argv(table: Table, key: str, args: Mapping[str, re.Pattern[str]], *, required: bool = False) -> Argv:
    argv = table.texts(key)
    if not argv:
        if required or key in table.values:
            table.fault(key, 'is missing; name the program and its arguments: ["/usr/bin/true"]')
        return ()
    if not argv[0].startswith("/") or PLACEHOLDER.search(argv[0]):
        table.fault(key, f"must begin with the whole path of a program, not with {shown(argv[0])}")
    for element in argv:
        if "\0" in element or holds_secret(element):
            table.fault(key, "holds a NUL, or what looks like a secret; secrets come by secret_env")
        for name in _NEARLY.findall(element):
            if name not in args:
                table.fault(key, f"uses {{{name}}}, which args does not describe; add args = {{ {name} = … }}")
    return argv


def _environment(table: Table) -> Mapping[str, str]:
    env = table.mapping("env")
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            table.fault(f"env.{name}", "must be a text in quotes, under the name of a variable")
    return {name: str(value) for name, value in env.items()}


def _secrets(table: Table, secret: Callable[[str], str | None]) -> Mapping[str, Secret]:
    found: dict[str, Secret] = {}
    for name in table.texts("secret_env"):
        value = secret(name) if _VARIABLE.fullmatch(name) else None
        if not value:
            # What stands here may be the secret itself, so it is not repeated.
            table.fault("secret_env", "names an environment variable that is not set")
        else:
            found[name] = Secret(value)
    return found


def _user(table: Table) -> str:
    name = table.text("user")
    own = os.geteuid()
    if not name and own == 0:
        table.fault("user", "is missing, and the bot runs as root; name who runs the command")
    elif name:
        try:
            wanted = pwd.getpwnam(name).pw_uid
        except KeyError:
            table.fault("user", f"is {shown(name)}, whom this machine does not know")
        else:
            if own not in (0, wanted):
                table.fault("user", f"is {shown(name)}, whom the bot may not become; it does not run as root")
    return name


def _may_begin_with_dash(pattern: re.Pattern[str]) -> bool:
    r"""Only where its author wrote so: the pattern itself begins with a dash, as `-?\d+` does."""
    return pattern.pattern.startswith(("-", r"\-", "(-", "[-"))


def quoted(argv: Sequence[str]) -> str:
    """An argv as a shell would want it, for people to read; nothing ever gives it to one."""
    import shlex

    return shlex.join(argv)
