"""A page as e-mail, straight to a mail server by SMTP: for when the pager does not answer.

One thread of mails for each round of an incident. A repeat has the Message-ID of the first, by which most mailboxes
tell that they have it already.
"""

import contextlib
import hashlib
import io
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from bot.contracts import Permanent, Transient
from bot.incident.redact import redact
from bot.incident.timeline import count
from bot.integrations.fallback import Notice, Word, timeout_of
from bot.integrations.line import open_line
from bot.settings import Secret, Table
from bot.until import Until

PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
"""By how the connection is protected: submission (RFC 6409), submissions (RFC 8314), plain."""
LONGEST_SUBJECT: Final = 200
KNOWN_MAILS: Final = 500
"""Of so many, refused in part, is remembered who has them."""
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """One `[[pager.fallback]]` of the kind `mail`. `timeout` is in seconds and covers the whole conversation.

    A mail counts when every address has it: whom the server refuses may be the one on call, and then the next pager has
    to be asked. Until then a repeat goes only to those who have not got it; after a restart once more to all.
    """

    name: str
    host: str
    port: int
    security: str
    user: str
    password: Secret
    sender: str
    to: tuple[str, ...]
    timeout: float
    _have: dict[str, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The addresses that have a mail that others were refused, by what tells a repeat of it."""

    @classmethod
    def from_table(cls, name: str, table: Table, secret: Callable[[str], str | None]) -> "Mail":
        """The settings; faults go to the table. `secret` gives a secret by its name."""
        security = table.choice("security", "starttls", tuple(PORTS))
        mail = cls(
            name=name,
            host=table.text("host", required=True),
            port=table.whole("port", PORTS[security], low=1, high=65_535),
            security=security,
            user=table.text("user"),
            password=table.secret("password_env", secret, blanks=True),
            sender=table.text("from", required=True),
            to=table.texts("to"),
            timeout=timeout_of(table),
        )
        if not mail.to:
            table.fault("to", "is empty; name at least one address")
        for key, address in [("from", mail.sender), *(("to", address) for address in mail.to)]:
            if address and not _ADDRESS.fullmatch(address):
                table.fault(key, f"{address!r} is no address; write name@example.com")
        if ("user" in table.values) != ("password_env" in table.values):
            table.fault("user", "and password_env belong together; set both, or neither")
        if mail.user and security == "none":
            table.fault("security", 'is "none", which would show the password to the network; use "starttls" or "tls"')
        return mail

    @property
    def label(self) -> str:
        """How people know it."""
        others = f" and {len(self.to) - 1} more" if len(self.to) > 1 else ""
        return f"mail to {self.to[0]}{others}"

    def say(self, word: Word) -> None:
        """Sends one mail. Raises Transient, Permanent."""
        # Opened again by a person it is the same round, and news to all.
        self._send(self._written(word), f"{word.mark}:{word.incident.opened_at.isoformat()}")

    def tell(self, notice: Notice) -> None:
        """Sends one mail. Raises Transient, Permanent."""
        message = self._blank(notice.text.partition("\n")[0], notice.at)
        message["Message-ID"] = self._id_of(notice.key)
        message.set_content(notice.text)
        self._send(message, notice.key)

    def _send(self, message: EmailMessage, mark: str) -> None:
        have = self._have.get(mark, frozenset())
        to = [address for address in self.to if address not in have]
        refused = self._sent(message, to)
        took = have | {address for address in to if address not in refused}
        if not refused:
            self._have.pop(mark, None)
            return
        if took:
            self._have[mark] = took
            while len(self._have) > KNOWN_MAILS:
                self._have.pop(next(iter(self._have)), None)
        raise self._refused(refused, took)

    def _sent(self, message: EmailMessage, to: list[str]) -> Mapping[str, tuple[int, bytes]]:
        """Sends it; whom the server would not take it for, with its answer. Raises Transient, Permanent."""
        try:
            server = self._connect()
            try:
                return self._hand_over(server, message, to)
            finally:
                server.close()
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients
        except smtplib.SMTPResponseException as error:
            raise self._failure(error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Permanent(f"{self._where}: {error}") from error
        except ssl.SSLCertVerificationError as error:
            raise Permanent(f"{self._where}: its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:  # smtplib's own are of this kind too
            raise Transient(f"{self._where} does not answer ({error.strerror or error})", ambiguous=True) from error

    def _connect(self) -> smtplib.SMTP:
        # To ask for our own name could take as long as the whole page; the sender's domain is as good.
        whom: dict[str, Any] = {"host": self.host, "port": self.port, "local_hostname": self._domain}
        if self.security == "tls":
            return _OverTls(self.timeout, **whom, context=ssl.create_default_context())
        return _Over(self.timeout, **whom)

    def _hand_over(self, server: smtplib.SMTP, message: EmailMessage, to: list[str]) -> Mapping[str, tuple[int, bytes]]:
        if self.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if self.user:
            server.login(self.user, self.password.reveal())
        refused = server.send_message(message, self.sender, to)
        with contextlib.suppress(smtplib.SMTPException):
            server.quit()  # the mail is accepted: how we part changes nothing
        return refused

    def _written(self, word: Word) -> EmailMessage:
        first = self._id_of(word.key)
        wakes = word.action == "trigger"
        message = self._blank(word.summary if wakes else f"Re: {word.summary}", word.at)
        if wakes:
            message["Importance"] = "high"
        if wakes and not word.level:
            message["Message-ID"] = first
        else:
            what = f"call-{word.level}" if wakes else word.action
            message["Message-ID"] = first.replace("@", f".{what}@", 1)
            message["In-Reply-To"] = message["References"] = first
        message.set_content("\n".join(line for line in _lines(word) if line))
        return message

    def _blank(self, subject: str, at: datetime) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Date"] = format_datetime(at)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
        message["Subject"] = subject[:LONGEST_SUBJECT]
        return message

    def _id_of(self, key: str) -> str:
        return f"<fixfirst.{hashlib.sha256(key.encode()).hexdigest()[:24]}@{self._domain}>"

    @property
    def _domain(self) -> str:
        return self.sender.rpartition("@")[2]

    @property
    def _where(self) -> str:
        return f"{self.name} ({self.host}:{self.port})"

    def _refused(self, refused: Mapping[str, tuple[int, bytes]], took: frozenset[str]) -> Transient | Permanent:
        """People are named by what stands before the @: a whole address is blanked where the reason is kept."""
        code, said = min(refused.values(), key=lambda answer: _for_good(answer[0]))
        whom = f" for {_names(self.to, refused)}" if took else ""
        rest = f"; {_names(self.to, took)} has it" if took else ""
        reason = f"{self._where} answered {code}{whom}: {_words(said)}{rest}"
        kind = Permanent if _for_good(code) else Transient
        return kind(reason, ambiguous=bool(took))

    def _failure(self, code: int, said: bytes | str) -> Transient | Permanent:
        reason = f"{self._where} answered {code}: {_words(said)}"
        return Permanent(reason) if _for_good(code) else Transient(reason)


def _for_good(code: int) -> bool:
    return 500 <= code < 600  # RFC 5321, 4.2.1


def _words(said: bytes | str) -> str:
    return redact(" ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else said).split()))[:200]


def _names(order: Iterable[str], which: Collection[str]) -> str:
    return ", ".join(address.partition("@")[0] for address in order if address in which)


def _lines(word: Word) -> Iterator[str]:
    incident = word.incident
    yield word.news
    yield f"Service: {incident.service}" if incident.service else ""
    yield f"Model: {incident.model}" if incident.model else ""
    yield f"Firing: {count(incident.firing, 'alert')}" if incident.firing else ""
    yield word.link


class _Over(smtplib.SMTP):
    """A conversation that is over after `seconds`, however slowly the other side drips."""

    def __init__(self, seconds: float, **options: Any) -> None:
        self._deadline = time.monotonic() + seconds
        super().__init__(timeout=seconds, **options)

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        """What smtplib asks for its connection."""
        return open_line(host, port, self._deadline)

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(max(0.001, self._deadline - time.monotonic()))
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(Until(self.sock, self._deadline))
        return super().getreply()


class _OverTls(_Over, smtplib.SMTP_SSL):
    """The same inside TLS from the first byte on."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        line = super()._get_socket(host, port, timeout)
        try:
            return self.context.wrap_socket(line, server_hostname=host)
        except BaseException:
            line.close()
            raise
