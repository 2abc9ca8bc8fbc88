"""A small mail server on the loopback, for what is sent by SMTP: it speaks the wire and keeps what it gets."""

import email
import email.policy
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage


@dataclass
class Postbox:
    """What was said and what was sent.

    `answers` come in the place of what a verb is answered with else; an empty one hangs up. `refuses` does so for the
    recipients whose address begins like that; `recipients` are those of each mail that was kept.
    """

    port: int = 0
    tls: ssl.SSLContext | None = None
    at_once: bool = False
    account: tuple[str, str] | None = None
    answers: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    recipients: list[list[str]] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]


class _Conversation(socketserver.StreamRequestHandler):
    """One client, from the greeting to its leave."""

    server: "_Server"
    secured = False
    taken: tuple[str, ...] = ()

    def setup(self) -> None:
        if self.server.box.at_once:
            self._secure()
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _secure(self) -> None:
        assert self.server.box.tls is not None
        self.request = self.server.box.tls.wrap_socket(self.request, server_side=True)
        self.secured = True

    def handle(self) -> None:
        self._say(self.server.box.answers.get("", "220 postbox"))
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            self.server.box.verbs.append(verb.upper())
            answer = self.server.box.answers.get(verb.upper(), self._answer(verb.upper(), rest))
            if not answer:
                return
            self._say(answer)
            if verb.upper() == "STARTTLS" and self.server.box.tls:
                self._secure()
                super().setup()
            elif verb.upper() == "DATA":
                self._keep()
            elif verb.upper() == "QUIT":
                return

    def _answer(self, verb: str, rest: str) -> str:
        box = self.server.box
        match verb:
            case "EHLO":
                offers = ["STARTTLS"] if box.tls and not self.secured else []
                offers += ["AUTH PLAIN"] if box.account else []
                return "\r\n".join(["250-postbox", *(f"250-{offer}" for offer in offers), "250 8BITMIME"])
            case "AUTH":
                _, user, password = b64decode(rest.removeprefix("PLAIN ")).decode().split("\0")
                return "235 welcome" if (user, password) == box.account else "535 5.7.8 wrong name or password"
            case "STARTTLS":
                return "220 go on"
            case "MAIL":
                self.taken = ()
                return "250 ok"
            case "RCPT":
                address = rest.partition("<")[2].partition(">")[0]
                refusal = next((said for name, said in box.refuses.items() if address.startswith(name)), "")
                self.taken += () if refusal else (address,)
                return refusal or "250 ok"
            case "DATA":
                return "354 go on"
            case "QUIT":
                return "221 bye"
            case _:
                return "250 ok"

    def _keep(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        mail = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self._say(self.server.box.answers.get("MAIL DATA", "250 kept"))
        assert isinstance(mail, EmailMessage)
        self.server.box.mails.append(mail)
        self.server.box.recipients.append(list(self.taken))

    def _say(self, answer: str) -> None:
        self.wfile.write(answer.encode() + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, box: Postbox) -> None:
        super().__init__(("127.0.0.1", box.port), _Conversation)
        self.box = box

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or trusts no certificate of ours: the test sees that from its own side."""


@contextmanager
def open_postbox(box: Postbox) -> Iterator[Postbox]:
    """The mail server while it is open; port 0 takes any free one."""
    with _Server(box) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
