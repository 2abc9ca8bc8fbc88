"""What the commands of the terminal share: the configuration, the desk, who sits there, and the way to a server."""

import getpass
import http.client
import ipaddress
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import click

from bot.config import Config, load, load_for_terminal
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.incident.plain import plain
from bot.incident.state import Incident

if TYPE_CHECKING:
    from bot.hands import Broken, Hands, Words
    from bot.incident.glass import Glass
    from bot.journal import Txn

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("fixfirst.toml"),
    envvar="FIXFIRST_CONFIG",
    show_default=True,
    help="The configuration file.",
)
KEY: Final = "FIXFIRST_KEY"
PATIENCE_S: Final = 40.0
"""A little longer than the server waits for its own journal."""
WITHIN_S: Final = 30.0
"""For one write, on the host of the database."""
LARGEST_ANSWER: Final = 4 * 1024 * 1024
DOUBT: Final = "; nobody knows whether it was carried out, so look before you do it again"


def say(text: str, *, err: bool = False) -> None:
    """Prints what may hold others' words: its lines, and in none of them anything that a terminal obeys."""
    click.echo(plain(text, keep="\n"), err=err)


def config_at(path: Path, read: Callable[[Path], tuple[Config | None, list[str]]] = load) -> Config:
    """The configuration; with faults, all of them are printed and the command ends with 2."""
    config, faults = read(path)
    for fault in faults:
        click.echo(f"{path}: {fault}", err=True)
    if config is None:
        raise SystemExit(2)
    return config


@contextmanager
def desk_at(path: Path) -> Iterator[Any]:
    """The desk over the same journal that the server works on; the server's sweep delivers what we decide.

    Where there is no journal it makes none. It needs no secrets but the database's address: at 3 AM, on a terminal,
    with chat down, nobody has them in the environment.
    """
    from bot.desk import Desk
    from bot.journal.database import NewerSchema, Unreachable
    from bot.opening import NoJournal, open_journal

    config = config_at(path, load_for_terminal)
    try:
        journal = open_journal(config, make=False)
    except (NewerSchema, NoJournal, Unreachable) as error:
        raise click.ClickException(str(error)) from error
    try:
        yield Desk(journal, config.policy, config.reading, lambda: None)
    finally:
        journal.close()


def who_hears_of_it(path: Path) -> str:
    """Who is told of a broken glass by the configuration at `path`, half a sentence; it is the server that tells."""
    config = config_at(path, load_for_terminal)
    if config.slack is not None:
        return "the running server tells the owner" if config.slack.owner else "the running server tells it in the chat"
    if config.pagerduty is not None:
        return "the running server tells it by pager"
    return "nobody is set up to be told"


@contextmanager
def at_host() -> Iterator[None]:
    """What is refused, or cannot be written, is a sentence."""
    from bot.journal import Busy

    try:
        yield
    except (Refused, Busy) as refused:
        raise click.ClickException(plain(str(refused), keep="\n")) from refused


def find(desk: Any, ref: str) -> Incident:
    """The incident of this name; what cannot be found, or read, ends the command with a sentence."""
    with at_host():
        incident: Incident | None = desk.journal.find(ref)
    if incident is None:
        archived = desk.journal.archived(ref)
        raise click.ClickException(plain(str(archived or f"there is no incident {ref[:40]}; fixfirst list shows them")))
    return incident


def me() -> str:
    """The name of whoever sits at this terminal; a container may run as a number without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def the_one_here() -> Actor:
    """Who sits at this terminal: whoever can write the journal may act, on record."""
    who = me()
    return Actor(ActorKind.MEMBER, f"cli:{who}", f"{who} (terminal)", frozenset({Right.RESPOND}))


def by_me(desk: Any, incident: Incident) -> dict[str, Any]:
    """What every command by the person at this terminal says that is about the journal itself."""
    from bot.journal.ids import new_id

    by = the_one_here()
    return {"incident": incident.id, "by": by, "at": desk.journal.clock(), "key": f"cli:{new_id()}", "source": "cli"}


class Handle(Protocol):
    """The words of `bot.hands`, wherever they are carried out."""

    def read(self, word: str, words: Mapping[str, str]) -> str: ...
    def act(self, word: str, words: Mapping[str, str]) -> str: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the journal is reached, by the file at `path` or over HTTP, and why somebody acts past the chat.

    A reason that `stands_in` is that of the act, for who has not said why they act past the chat.
    """

    path: Path
    server: str
    reason: str = ""
    stands_in: bool = False

    def because(self, reason: str, *, stands_in: bool = False) -> "Reach":
        return replace(self, reason=reason, stands_in=stands_in)


@contextmanager
def hands_at(reach: Reach) -> Iterator[Handle]:
    """The hands over there. What is refused is a sentence, and the command ends with 1."""
    with at_host():
        if reach.reason and not reach.stands_in and (reach.server or os.environ.get(KEY)):
            click.echo("With a key, the reason that it was made for goes on record, not this one.", err=True)
        if reach.server:
            yield Remote(reach.server)
            return
        from bot.hands import Hands

        with desk_at(reach.path) as desk:
            yield Local(Hands(desk), reach.reason, reach.stands_in, reach.path)


@dataclass(slots=True)
class Local:
    """On the server's host, or with the address of its database: no key is needed, a reason is."""

    hands: "Hands"
    reason: str
    stands_in: bool
    path: Path

    def read(self, word: str, words: "Words") -> str:
        return self.hands.read(word, words)

    def act(self, word: str, words: "Words") -> str:
        from bot.incident.glass import NoReason

        broken: list[Glass] = []
        try:
            told = self.hands.act(word, words, self._glass(broken))
        except NoReason:
            if not sys.stdin.isatty():
                raise
            self.reason = click.prompt("Why past the chat? It is kept with your name")
            told = self.hands.act(word, words, self._glass(broken))
        if broken:
            until = f"{broken[-1].until:%H:%M} UTC"
            click.echo(f"The glass is broken until {until}; {who_hears_of_it(self.path)}.", err=True)
        return told

    def _glass(self, newly: "list[Glass]") -> "Broken":
        """By the key in the environment; else the glass that the person here broke within the hour, or a new one.

        Who says another reason breaks it anew: that stands on record, and is told as the first was.
        """
        from bot.journal import glass

        key = os.environ.get(KEY, "")

        def give(txn: "Txn") -> "Glass":
            if key:
                return glass.glass_of_key(txn.direct, txn.workspace, key, txn.now)
            here = the_one_here()
            still = glass.open_glass_of(txn.direct, txn.workspace, here.id, txn.now)
            if still is None or (self.reason.strip() and not self.stands_in and not glass.is_for(still, self.reason)):
                still = glass.break_glass(txn, here, me(), self.reason)
                newly.append(still)
            return still

        return give


class Remote:
    """Over HTTP, with a key. It goes in the clear to this machine alone."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.UsageError("--server must be an address such as https://incidents.example.com")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise click.UsageError("the key would go over the network in the clear; use https://, or an SSH tunnel")
        self._parts = parts
        self._below = parts.path.rstrip("/")
        self._server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def _open(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=PATIENCE_S)

    def read(self, word: str, words: Mapping[str, str]) -> str:
        return self._ask(word, words)

    def act(self, word: str, words: Mapping[str, str]) -> str:
        key = os.environ.get(KEY, "") or click.prompt("Break-glass key", hide_input=True)
        return self._ask(word, words, key.strip())

    def _ask(self, word: str, words: Mapping[str, str], key: str = "") -> str:
        """What we answer there; with a key it does something, and then whoever asks is told what nobody knows."""
        from bot.hands import ANSWER

        body, headers = json.dumps(dict(words)), {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        doubt = ""
        try:
            with closing(self._open()) as connection:
                connection.connect()
                doubt = DOUBT if key else ""
                connection.request("POST", f"{self._below}/hands/{word}", body, headers)
                answer = connection.getresponse()
                status, text = answer.status, answer.read(LARGEST_ANSWER).decode("utf-8", "replace").strip()
        except ValueError as error:
            # A key that no header can carry: what went wrong is not repeated word for word, and nothing was sent.
            raise Refused(f"{self._server} does not answer ({type(error).__name__}).") from None
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"{self._server} does not answer ({type(error).__name__}){doubt}.") from None
        if answer.headers.get(ANSWER) is None:
            raise Refused(f"{self._server} answered {status}, and not as FixFirst does{doubt}.")
        if status != 200:
            raise Refused(text)
        return text


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
