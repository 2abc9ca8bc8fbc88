"""Pages by mail against a real server on the loopback: what goes over the wire, what comes of answers."""

import re
import ssl
from pathlib import Path

import pytest

from bot.contracts import Permanent, Transient
from bot.incident import commands as cmd
from bot.integrations.fallback import Notice, Voice
from tests.core.case import START
from tests.integrations.fallbacks import MAIL, PASSWORD, burning, voice, word
from tests.integrations.postbox import Postbox, open_postbox
from tests.servers import certificate_in, free_port


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


TEAM = ["oncall@example.com", "archive@example.com"]
NO_ONE = "550 5.1.1 no such mailbox"
LATER = "450 4.2.1 greylisted, come again"


def test_a_page_refused_for_one_of_several_is_not_accepted_and_says_who_has_it(postbox: Postbox) -> None:
    postbox.refuses["oncall"] = NO_ONE
    team = voice(MAIL, port=postbox.port, security="none", to=TEAM)
    with pytest.raises(Permanent, match=r"answered 550 for oncall: 5\.1\.1 no such mailbox; archive has it$"):
        team.say(word(burning().inc))
    assert postbox.recipients == [["archive@example.com"]]


def test_who_has_it_already_is_left_alone_while_it_is_tried_for_the_others(postbox: Postbox) -> None:
    postbox.refuses["oncall"] = LATER
    team, page = voice(MAIL, port=postbox.port, security="none", to=TEAM), word(burning().inc)
    for _ in range(2):
        with pytest.raises(Transient, match=r"answered 450 for oncall: .*; archive has it$"):
            team.say(page)
    postbox.refuses.clear()
    team.say(page)
    assert postbox.recipients == [["archive@example.com"], ["oncall@example.com"]]


def test_one_who_is_only_asked_to_wait_is_waited_for_whatever_the_others_get(postbox: Postbox) -> None:
    postbox.refuses |= {"oncall": NO_ONE, "archive": LATER}
    team, page = voice(MAIL, port=postbox.port, security="none", to=TEAM), word(burning().inc)
    with pytest.raises(Transient, match="answered 450: "):
        team.say(page)
    postbox.refuses.pop("archive")
    with pytest.raises(Permanent, match=r"answered 550 for oncall: .*; archive has it$"):
        team.say(page)
    assert postbox.recipients == [["archive@example.com"]]


def test_a_page_that_came_back_goes_to_all_again(postbox: Postbox) -> None:
    postbox.refuses["oncall"] = NO_ONE
    team, case = voice(MAIL, port=postbox.port, security="none", to=TEAM), burning()
    with pytest.raises(Permanent):
        team.say(word(case.inc))
    case.do(cmd.Resolve, reason="fixed", despite_firing=True).after(minutes=1).do(cmd.Reopen)
    postbox.refuses.clear()
    team.say(word(case.inc))
    assert postbox.recipients == [["archive@example.com"], TEAM]


def test_a_notice_that_some_have_is_not_sent_to_them_again(postbox: Postbox) -> None:
    postbox.refuses["oncall"] = NO_ONE
    team = voice(MAIL, port=postbox.port, security="none", to=TEAM)
    for _ in range(2):
        with pytest.raises(Permanent, match=r"archive has it$"):
            team.tell(Notice("w:logbook:1", "The database has failed over.", START))
    assert postbox.recipients == [["archive@example.com"]]


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
