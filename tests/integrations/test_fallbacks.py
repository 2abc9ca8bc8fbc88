"""Pages by mail and webhook against real servers on the loopback: what goes over the wire, what comes of answers."""

import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bot.config import read
from bot.contracts import Attempt, Permanent, Transient
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.integrations.fallback import Action, Fallback, Voice, Word
from tests.core.case import START, Case
from tests.integrations.postbox import Postbox, open_postbox
from tests.servers import Answering, certificate_in, free_port, http_server

PASSWORD = "decoy password"
TOKEN = "decoy-token"
SECRETS = {"SMTP_PASSWORD": PASSWORD, "BRIDGE_TOKEN": TOKEN, "BRIDGE_SECRET": PASSWORD, "SPARE_KEY": "f" * 32}
ADDRESSES = {"from": "fixfirst@example.com", "to": ["oncall@example.com"]}
MAIL: dict[str, Any] = {"kind": "mail", "host": "127.0.0.1", **ADDRESSES}
BRIDGE: dict[str, Any] = {"kind": "webhook", "url": "https://bridge.internal/page", "token_env": "BRIDGE_TOKEN"}
PAGED = Policy(pagers=("PagerDuty", "mail"))


def read_fallbacks(*tables: Mapping[str, Any]) -> tuple[Mapping[str, Voice], list[str]]:
    secrets = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-key", **SECRETS}
    config, faults = read({"pagerduty": {}, "pager": {"fallback": list(tables)}}, Path(), secrets.get)
    assert "decoy" not in f"{faults}{config}"
    return (config.fallbacks if config else {}), faults


def voice(table: Mapping[str, Any], **changes: Any) -> Voice:
    voices, faults = read_fallbacks({**table, **changes})
    assert faults == []
    return next(iter(voices.values()))


def burning(title: str = "llama-70b fails") -> Case:
    """A minute after the alert, with the page on its way by mail."""
    return Case(PAGED).alerts(firing=3, new=3, title=title, model="llama-70b").after(minutes=1).clock_strikes()


def word(incident: Incident, action: Action = "trigger") -> Word:
    return Word(action, incident, 1, START, "https://incidents.example.com/incidents/INC-42")


# -- mail ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with open_postbox(Postbox()) as postbox:
        yield postbox


@pytest.fixture
def mail(postbox: Postbox) -> Voice:
    return voice(MAIL, port=postbox.port, security="none")


def test_a_page_by_mail_says_what_is_wrong_and_where_to_look(postbox: Postbox, mail: Voice) -> None:
    mail.say(word(burning().inc))
    (sent,) = postbox.mails
    assert sent["Subject"] == "SEV1 INC-42 llama-70b fails"
    assert (sent["From"], sent["To"]) == ("fixfirst@example.com", "oncall@example.com")
    assert (sent["Importance"], sent["Auto-Submitted"]) == ("high", "auto-generated")
    lines = sent.get_content().splitlines()
    assert lines == [
        "Nobody has it yet.",
        "Model: llama-70b",
        "Firing: 3 alerts",
        "https://incidents.example.com/incidents/INC-42",
    ]


def test_repeats_carry_one_message_id_and_what_follows_joins_the_thread(postbox: Postbox, mail: Voice) -> None:
    case = burning()
    mail.say(word(case.inc))
    mail.say(word(case.inc))
    case.do(cmd.Acknowledge)
    mail.say(word(case.inc, "acknowledge"))
    case.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    mail.say(word(case.inc, "resolve"))
    first, again, taken, over = postbox.mails
    assert first["Message-ID"] == again["Message-ID"]
    assert taken["References"] == over["References"] == first["Message-ID"]
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 3
    assert taken.get_content().startswith("Maya has it.")
    assert over.get_content().startswith("It is over: rolled back")
    assert over["Subject"] == "Re: SEV1 INC-42 llama-70b fails"


@pytest.mark.parametrize("title", ["a\r\nBcc: all@example.com", "Störung 🔥 " * 100, ".\r\n.", "=?utf-8?q?x?="])
def test_a_title_stays_a_title(postbox: Postbox, mail: Voice, title: str) -> None:
    mail.say(word(burning(title).inc))
    (sent,) = postbox.mails
    assert sent["Bcc"] is None
    assert str(sent["Subject"]).startswith("SEV1 INC-42 ")
    assert sent["To"] == "oncall@example.com"


def test_by_default_the_password_goes_only_through_tls(postbox: Postbox, tls: ssl.SSLContext, trusted: None) -> None:
    postbox.tls, postbox.account = tls, ("fixfirst", PASSWORD)
    sender = voice(MAIL, port=postbox.port, user="fixfirst", password_env="SMTP_PASSWORD")
    sender.say(word(burning().inc))
    assert len(postbox.mails) == 1
    assert postbox.verbs.index("STARTTLS") < postbox.verbs.index("AUTH")


def test_tls_from_the_first_byte_on(tls: ssl.SSLContext, trusted: None) -> None:
    with open_postbox(Postbox(tls=tls, at_once=True)) as postbox:
        voice(MAIL, port=postbox.port, security="tls").say(word(burning().inc))
        assert len(postbox.mails) == 1


def test_a_server_without_starttls_gets_nothing(postbox: Postbox) -> None:
    with pytest.raises(Permanent, match="STARTTLS extension not supported"):
        voice(MAIL, port=postbox.port).say(word(burning().inc))
    assert postbox.mails == []


def test_a_certificate_that_nobody_vouches_for_gets_nothing(postbox: Postbox, tls: ssl.SSLContext) -> None:
    postbox.tls = tls
    with pytest.raises(Permanent, match="certificate is not trusted"):
        voice(MAIL, port=postbox.port).say(word(burning().inc))
    assert "MAIL" not in postbox.verbs


@pytest.mark.parametrize(
    ("verb", "answer", "kind"),
    [
        ("", "421 closed for the night", Transient),
        ("MAIL", "550 5.7.1 we do not know you", Permanent),
        ("RCPT", "450 4.2.1 greylisted, come again", Transient),
        ("RCPT", "550 5.1.1 no such mailbox", Permanent),
        ("DATA", "452 4.3.1 the disk is full", Transient),
        ("MAIL DATA", "554 5.6.0 refused", Permanent),
    ],
)
def test_a_refusal_is_for_now_or_for_good_as_the_server_says(
    postbox: Postbox, mail: Voice, verb: str, answer: str, kind: type[Exception]
) -> None:
    postbox.answers[verb] = answer
    with pytest.raises(kind, match=re.escape(f"answered {answer[:3]}: {answer[4:]}")):
        mail.say(word(burning().inc))


def test_a_wrong_password_is_for_good_and_not_shown(postbox: Postbox, tls: ssl.SSLContext, trusted: None) -> None:
    postbox.tls, postbox.account = tls, ("fixfirst", "another")
    with pytest.raises(Permanent, match=r"answered 535: 5\.7\.8 wrong name") as refused:
        voice(MAIL, port=postbox.port, user="fixfirst", password_env="SMTP_PASSWORD").say(word(burning().inc))
    assert "decoy" not in str(refused.value)


@pytest.mark.parametrize("answer", ["", "500 what?"])
def test_a_mail_that_is_kept_is_sent_however_the_server_parts(postbox: Postbox, mail: Voice, answer: str) -> None:
    postbox.answers["QUIT"] = answer
    mail.say(word(burning().inc))
    assert len(postbox.mails) == 1


def test_where_nobody_listens_it_is_tried_again() -> None:
    port = free_port()
    with pytest.raises(Transient, match="Connection refused"):
        voice(MAIL, port=port, security="none").say(word(burning().inc))


@contextmanager
def dripping(first: bytes) -> Iterator[int]:
    """A server that answers one byte at a time and never comes to an end; the port."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.sendall(first)
            while not over.wait(0.02):
                try:
                    client.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("table", [{**MAIL, "security": "none"}, BRIDGE], ids=["mail", "webhook"])
def test_however_slowly_it_is_answered_a_word_is_over_in_its_time(table: dict[str, Any]) -> None:
    with dripping(b"220-" if table["kind"] == "mail" else b"HTTP/1.1 200 OK\r\nX: ") as port:
        where = {"port": port} if table["kind"] == "mail" else {"url": f"http://127.0.0.1:{port}/page"}
        began = time.monotonic()
        with pytest.raises(Transient):
            voice(table, timeout="1s", **where).say(word(burning().inc))
        assert 0.9 < time.monotonic() - began < 2


# -- webhook -------------------------------------------------------------------------------------------------


@dataclass
class Bridge:
    """What takes webhooks: `answer` is its status and body, `heard` what was sent: headers and raw body."""

    url: str = ""
    answer: tuple[int, bytes] = (200, b"ok")
    heard: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()

    class Handler(Answering):
        def do_POST(self) -> None:
            bridge.heard.append((dict(self.headers), self.sent()))
            self.reply(*bridge.answer)

    with http_server(Handler) as port:
        bridge.url = f"http://127.0.0.1:{port}/page"
        yield bridge


def test_a_webhook_is_signed_and_carries_the_token_and_one_key(bridge: Bridge) -> None:
    incident = burning().inc
    voice(BRIDGE, url=bridge.url, secret_env="BRIDGE_SECRET").say(word(incident))
    ((headers, body),) = bridge.heard
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-FixFirst-Signature"] == f"v1={hmac.new(PASSWORD.encode(), body, hashlib.sha256).hexdigest()}"
    assert headers["Idempotency-Key"] == "test:i1:1:trigger"
    assert json.loads(body) == {
        "action": "trigger",
        "key": "test:i1:1",
        "incident": "INC-42",
        "round": 1,
        "level": 0,
        "severity": "SEV1",
        "title": "llama-70b fails",
        "service": "",
        "model": "llama-70b",
        "firing": 3,
        "news": "Nobody has it yet.",
        "link": "https://incidents.example.com/incidents/INC-42",
        "at": "2026-11-21T03:00:00+00:00",
    }


@pytest.mark.parametrize("answer", [(200, b"ok"), (202, b'{"queued": true}'), (204, b"")])
def test_any_word_accepts_the_page(bridge: Bridge, answer: tuple[int, bytes]) -> None:
    bridge.answer = answer
    voice(BRIDGE, url=bridge.url).say(word(burning().inc))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b"<html>please sign in</html>"), Permanent),
        ((302, b""), Permanent),
        ((401, b"who are you?"), Permanent),
        ((429, b""), Transient),
        ((503, b""), Transient),
    ],
)
def test_a_page_is_not_accepted_by(bridge: Bridge, answer: tuple[int, bytes], kind: type[Exception]) -> None:
    bridge.answer = answer
    with pytest.raises(kind):
        voice(BRIDGE, url=bridge.url).say(word(burning().inc))


# -- what they share -----------------------------------------------------------------------------------------


@pytest.fixture
def courier(postbox: Postbox, mail: Voice) -> Fallback:
    return Fallback("mail", mail, lambda _: "")


ATTEMPT = Attempt("job", 1, START)
ACCEPTED = ev.PageAccepted("mail to oncall@example.com", 1, fallback="mail")


def test_an_accepted_page_says_by_whom(courier: Fallback) -> None:
    assert courier.deliver(ef.Page(1, pager="mail"), burning().inc, ATTEMPT) == [ACCEPTED]


NEEDLESS: dict[str, Callable[[Case], Case]] = {
    "somebody has it": lambda case: case.do(cmd.Acknowledge),
    "it is over": lambda case: case.do(cmd.Resolve, reason="fixed", despite_firing=True),
    "PagerDuty has paged": lambda case: case.receipt(ev.PageAccepted("PagerDuty", 1)),
}


@pytest.mark.parametrize("why", NEEDLESS)
def test_a_page_that_nobody_needs_any_more_is_not_sent(courier: Fallback, postbox: Postbox, why: str) -> None:
    case = NEEDLESS[why](burning())
    assert courier.deliver(ef.Page(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.mails == []


def taken(case: Case) -> Case:
    return case.receipt(ACCEPTED).do(cmd.Acknowledge)


def test_a_call_for_the_next_person_is_said_anew_and_says_why(courier: Fallback, postbox: Postbox) -> None:
    case = burning().receipt(ACCEPTED)
    assert courier.deliver(ef.EscalatePage(1, 1, pager="mail"), case.inc, ATTEMPT) == []
    case.do(cmd.Acknowledge)
    assert courier.deliver(ef.CallSecond(1, 2, pager="mail"), case.inc, ATTEMPT) == []
    nobody, second = postbox.mails
    assert nobody.get_content().startswith("Nobody has it yet, and the next person is called.")
    assert second.get_content().startswith("Maya has it and wants a second person.")
    assert nobody["Subject"] == second["Subject"] == "SEV1 INC-42 llama-70b fails"
    assert nobody["Message-ID"] != second["Message-ID"]
    assert (second["Importance"], second["References"]) == ("high", nobody["References"])


def test_a_call_where_the_page_was_refused_is_the_page(courier: Fallback, postbox: Postbox) -> None:
    assert courier.deliver(ef.EscalatePage(1, 1, pager="mail"), burning().inc, ATTEMPT) == [ACCEPTED]
    assert len(postbox.mails) == 1


NO_CALL: dict[str, tuple[ef.Effect, Callable[[Case], Case]]] = {
    "somebody has it": (ef.EscalatePage(1, 1, pager="mail"), taken),
    "it is over": (ef.CallSecond(1, 1, pager="mail"), lambda case: taken(case).do(cmd.Cancel, reason="a drill")),
    "it is another round": (ef.CallSecond(2, 1, pager="mail"), taken),
    "PagerDuty alone has paged": (
        ef.CallSecond(1, 1, pager="mail"),
        lambda case: case.receipt(ev.PageAccepted("PagerDuty", 1)).do(cmd.Acknowledge),
    ),
}


@pytest.mark.parametrize("why", NO_CALL)
def test_a_call_that_nobody_needs_here_is_not_made(courier: Fallback, postbox: Postbox, why: str) -> None:
    effect, happened = NO_CALL[why]
    assert courier.deliver(effect, happened(burning()).inc, ATTEMPT) == []
    assert postbox.mails == []


def test_by_webhook_a_call_is_no_repeat_of_the_page(bridge: Bridge) -> None:
    for level in (0, 1):
        voice(BRIDGE, url=bridge.url).say(replace(word(burning().inc), level=level))
    first, call = bridge.heard
    assert [headers["Idempotency-Key"] for headers, _ in (first, call)] == ["test:i1:1:trigger", "test:i1:1:trigger:1"]
    assert [json.loads(body)["level"] for _, body in (first, call)] == [0, 1]
    assert json.loads(call[1])["key"] == "test:i1:1"


def test_whoever_was_never_woken_is_not_told_that_it_is_over(courier: Fallback, postbox: Postbox) -> None:
    case = burning().do(cmd.Acknowledge)
    assert courier.deliver(ef.AcknowledgePage(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.mails == []
    case = burning().receipt(ACCEPTED).do(cmd.Acknowledge)
    assert courier.deliver(ef.AcknowledgePage(1, pager="mail"), case.inc, ATTEMPT) == []
    assert postbox.subjects() == ["Re: SEV1 INC-42 llama-70b fails"]


# -- settings ------------------------------------------------------------------------------------------------

FAULTY: list[tuple[dict[str, Any], str]] = [
    ({}, "pager.fallback[1].kind: is missing; set it"),
    ({"kind": "fax"}, "pager.fallback[1].kind: is 'fax', but must be one of mail, pagerduty, webhook"),
    ({**MAIL, "name": "On Call!"}, "pager.fallback[1].name: is 'On Call!', but must be 1 to 30 small letters"),
    ({**MAIL, "timeout": "5s"}, "pager.fallback[1].timeout: must be longer than nothing and at most 4s"),
    ({**MAIL, "host": 7}, "pager.fallback[1].host: is 7, but must be a text in quotes"),
    ({"kind": "mail", "host": "smtp"}, "pager.fallback[1].from: is missing; set it"),
    ({"kind": "mail", "host": "smtp"}, "pager.fallback[1].to: is empty; name at least one address"),
    ({**MAIL, "to": ["oncall"]}, "pager.fallback[1].to: 'oncall' is no address; write name@example.com"),
    ({**MAIL, "from": "a@b.c\nBcc: d@e.f"}, "pager.fallback[1].from: 'a@b.c\\nBcc: d@e.f' is no address"),
    ({**MAIL, "security": "ssl"}, "pager.fallback[1].security: is 'ssl', but must be one of starttls, tls, none"),
    ({**MAIL, "user": "fixfirst"}, "pager.fallback[1].user: and password_env belong together"),
    (
        {**MAIL, "user": "fixfirst", "password_env": "SMTP_PASSWORD", "security": "none"},
        'pager.fallback[1].security: is "none", which would show the password',
    ),
    ({**MAIL, "password": "decoy"}, "pager.fallback[1].password: is not a setting; did you mean password_env?"),
    ({**BRIDGE, "url": "bridge"}, "pager.fallback[1].url: must begin with https:// or http:// and a host"),
    ({**BRIDGE, "url": "https://u:decoy@bridge/"}, "pager.fallback[1].url: must not hold a password; use token"),
    ({**BRIDGE, "url": "https://bridge/{x}"}, "pager.fallback[1].url: holds a {, but nothing is filled in here"),
    ({"kind": "webhook", "url": "https://b"}, "pager.fallback[1].token_env: and secret_env are missing; set one"),
    ({**BRIDGE, "token_env": "decoy-token"}, "pager.fallback[1].token_env: must be the name of an environment"),
    ({**BRIDGE, "token_env": "NOT_SET"}, "pager.fallback[1].token_env: names NOT_SET, which is not set"),
    ({"kind": "pagerduty"}, "pager.fallback[1].routing_key_env: is missing; name the environment variable"),
]


@pytest.mark.parametrize(("table", "expected"), FAULTY, ids=[expected[:60] for _, expected in FAULTY])
def test_a_fault_names_its_key_and_its_fix(table: dict[str, Any], expected: str) -> None:
    _, faults = read_fallbacks(table)
    assert any(fault.startswith(expected) for fault in faults), faults


def test_the_faults_of_all_fallbacks_come_at_once() -> None:
    _, faults = read_fallbacks({**MAIL, "to": []}, {**BRIDGE, "url": ""}, {"kind": "pagerduty"}, MAIL)
    assert [fault.partition(":")[0].removeprefix("pager.fallback") for fault in faults] == [
        "[1].to",
        "[2].url",
        "[3].routing_key_env",
        "[4].name",
    ]


def test_two_fallbacks_of_one_name_are_a_fault() -> None:
    _, faults = read_fallbacks(MAIL, MAIL)
    assert faults == ["pager.fallback[2].name: is mail, as another fallback's; give each its own"]


def test_a_fallback_needs_a_first_pager() -> None:
    _, faults = read({"pager": {"fallback": [MAIL]}}, Path(), SECRETS.get)
    assert faults == ["pager.fallback: has no first pager to stand in for; add [pagerduty]"]


def test_the_order_of_the_file_is_the_order_in_which_they_are_asked() -> None:
    spare = {"kind": "pagerduty", "name": "spare", "routing_key_env": "SPARE_KEY"}
    secrets = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "decoy-key", **SECRETS}
    tables = {"pagerduty": {}, "pager": {"accept_within": "90s", "fallback": [spare, BRIDGE, MAIL]}}
    config, faults = read(tables, Path(), secrets.get)
    assert config is not None, faults
    assert config.policy.pagers == ("PagerDuty", "spare", "webhook", "mail")
    assert config.policy.accept_within.total_seconds() == 90
