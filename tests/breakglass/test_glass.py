"""Acting past the chat: on the server's host with a reason, from elsewhere with a key, always on record."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from bot.cli import main
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.logbook import Kind
from bot.incident.people import BREAK_GLASS, Actor, ActorKind, Refused, Right
from bot.incident.run import Risk, RunStatus, StepSpec, StepStatus
from bot.incident.state import Status
from bot.journal import Txn, logbook
from bot.journal.glass import break_glass, new_key, shut
from bot.terminal import Remote
from bot.workbench.server import Servers, Site, bind
from tests.servers import raw_server
from tests.story.night import INTAKE, MAYA, Night, measuring, open_night, told
from tests.story.test_runbooks import CACHED, ERRORS, at_the_preview, run, step
from tests.web.site import JONAS
from tests.web.site import Site as Pages

Type = Callable[..., Result]
OWNER = Actor(ActorKind.MEMBER, "cli:olga", "olga (terminal)", frozenset({Right.RESPOND}))


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    pages = Pages(tmp_path)
    pages.alerts(1, new=1)
    yield pages
    pages.journal.close()


def a_key(pages: Pages, reason: str = "the VPN is all that works", name: str = "Jonas") -> str:
    key = new_key()
    pages.journal.write(lambda txn: break_glass(txn, OWNER, name, reason, key)).result()
    return key


def asks(pages: Pages, word: str, key: str = "", **words: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = pages.client.post(f"/hands/{word}", content=json.dumps(words), headers=headers)
    return answer.status_code, answer.text.strip()


def incident_runs(
    pages: Pages, *, risk: Risk = Risk.REVERSIBLE, by: Actor = JONAS, line: str = "r41 becomes r40"
) -> None:
    """A runbook whose one act waits for an approval."""
    spec = StepSpec("back", "Roll back llama-70b", "http.request", {}, risk, undo="auto")
    begin = {"run": "r1", "runbook": "b", "title": "Roll back", "source_digest": "0" * 64, "target": "deploy/x"}
    pages.do(cmd.StartRun, by=by, **begin, steps=(spec,))
    plan = {"lines": [line], "risk": risk.value, "undo": None}
    pages.receipt(ev.StepPlanned("r1", "back", plan, "d1a2b3c4e5f6"))


def step_status(pages: Pages) -> StepStatus:
    incident = pages.journal.find("1")
    assert incident is not None
    return incident.runs["r1"].steps[0].status


def test_reading_needs_no_key_and_acting_does(pages: Pages) -> None:
    assert asks(pages, "list") == (200, pages.client.post("/hands/list", json={}).text.strip())
    assert "INC-1" in asks(pages, "list")[1]
    assert "Opened as SEV1" in asks(pages, "timeline", ref="1")[1]
    status, text = asks(pages, "ack", ref="1")
    assert status == 401
    assert text.startswith("That is no break-glass key of this server")


def test_a_key_acts_and_the_timeline_says_who_and_why(pages: Pages) -> None:
    key = a_key(pages)
    assert asks(pages, "ack", key, ref="INC-1") == (200, "INC-1 is acknowledged.")
    assert asks(pages, "ack", key, ref="INC-1") == (200, "INC-1 is acknowledged.")
    lines = asks(pages, "timeline", ref="1")[1]
    assert lines.count("break-glass: Jonas acts past the chat, until 04:00 UTC at most: the VPN is all that works") == 1
    assert lines.count("break-glass: Jonas acknowledged") == 1
    assert pages.journal.verify("i1") is None


def test_after_its_hour_a_key_opens_nothing(pages: Pages) -> None:
    key = a_key(pages)
    pages.after(minutes=59)
    assert asks(pages, "ack", key, ref="1")[0] == 200
    pages.after(minutes=1)
    assert asks(pages, "resolve", key, ref="1", reason="done") == (
        401,
        "That break-glass key expired at 04:00 UTC; break the glass again.",
    )


def test_a_key_that_was_taken_back_opens_nothing(pages: Pages) -> None:
    key = a_key(pages)
    (record,) = pages.journal.ask(logbook.records)
    pages.journal.write(lambda txn: shut(txn, OWNER, record.body["glass"])).result()
    assert asks(pages, "ack", key, ref="1") == (401, "That break-glass key was taken back by olga (terminal).")
    with pytest.raises(Refused, match="taken back"):
        pages.journal.write(lambda txn: shut(txn, OWNER, record.body["glass"])).result()


def test_only_a_hash_of_a_key_is_kept(pages: Pages, tmp_path: Path) -> None:
    key = a_key(pages)
    asks(pages, "ack", key, ref="1")
    pages.journal.close()
    for file in tmp_path.glob("fixfirst.db*"):
        assert key.encode() not in file.read_bytes()


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_without_a_reason_the_glass_stays_whole(pages: Pages, reason: str) -> None:
    with pytest.raises(Refused, match="Say why"):
        a_key(pages, reason)
    assert pages.journal.ask(logbook.records) == []


def test_a_secret_in_a_reason_is_not_kept(pages: Pages) -> None:
    a_key(pages, "password=hunter22hunter22 does not work in Slack")
    (record,) = pages.journal.ask(logbook.records)
    assert "hunter22" not in json.dumps(record.body)


@pytest.mark.parametrize("key", ["ffglass_", "ä", "x" * 4_000, "ffglass_" + "0" * 40])
def test_who_guesses_is_slowed_down_and_a_good_key_behind_the_same_proxy_is_not(pages: Pages, key: str) -> None:
    good, over = a_key(pages), a_key(pages)
    (*_, record) = pages.journal.ask(logbook.records)
    pages.journal.write(lambda txn: shut(txn, OWNER, record.body["glass"])).result()
    header = {b"Authorization": b"Bearer " + key.encode()}
    with capture_logs() as lines:
        answers = [pages.client.post("/hands/ack", json={"ref": "1"}, headers=header).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert [line["event"] for line in lines] == ["hands_refused"] * 5
    slowed = "That key opens nothing; after so many wrong ones, wait a minute to be told why."
    assert asks(pages, "ack", over, ref="1") == (429, slowed)
    assert asks(pages, "ack", good, ref="1") == (200, "INC-1 is acknowledged.")
    assert asks(pages, "ack", key="ffglass_", ref="1") == (429, slowed), "a good one forgives no wrong one"
    pages.after(seconds=61)
    assert asks(pages, "ack", over, ref="1") == (401, "That break-glass key was taken back by olga (terminal).")


def test_a_wrong_key_learns_nothing_and_keeps_nobody_from_writing(pages: Pages) -> None:
    held, let_go = threading.Event(), threading.Event()

    def hold(_: Txn) -> None:
        held.set()
        assert let_go.wait(30)

    writing = pages.journal.write(hold)
    try:
        assert held.wait(10)
        assert asks(pages, "ack", "ffglass_wrong", ref="9")[0] == 401, "not 404, and not after the one who writes"
    finally:
        let_go.set()
        writing.result(10)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"ref": 1}', b'{"ref": "' + b"1" * 5_000 + b'"}', b"1" * 20_000])
def test_what_no_terminal_of_ours_sends_is_400(pages: Pages, body: bytes) -> None:
    key = a_key(pages)
    answer = pages.client.post("/hands/ack", content=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 400


def test_another_page_in_a_browser_cannot_make_it_act(pages: Pages) -> None:
    """Without the key, which no browser holds; and with a foreign host name not even that far."""
    assert pages.client.post("/hands/ack", json={"ref": "1"}, headers={"host": "evil.example"}).status_code == 421
    assert pages.client.get("/hands/ack").status_code == 405


def test_an_unknown_incident_and_a_refusal_are_sentences(pages: Pages) -> None:
    key = a_key(pages)
    assert asks(pages, "ack", key, ref="9") == (404, "there is no incident 9; fixfirst list shows them")
    for nobody in ("INC-99999999999999999999999", "9" * 1_000, "\udcff", "a\0b"):
        for word in ("timeline", "ack"):
            status, text = asks(pages, word, key, ref=nobody)
            assert (status, text[:20]) == (404, "there is no incident")
            assert text.isprintable()
    status, text = asks(pages, "resolve", key, ref="1", reason="done")
    assert (status, text) == (409, "1 alert still fires; confirm that you want to resolve all the same.")
    assert asks(pages, "resolve", key, ref="1", reason="done", despite_firing="yes") == (200, "INC-1 is resolved.")


def test_an_approval_binds_to_the_plan_that_was_shown(pages: Pages) -> None:
    incident_runs(pages)
    key = a_key(pages)
    shown = asks(pages, "plan", ref="1")[1]
    assert "r41 becomes r40" in shown
    assert shown.endswith("To carry it out: fixfirst approve INC-1 d1a2b3c4")
    status, text = asks(pages, "approve", key, ref="1", plan="00000000")
    assert status == 409
    assert text.startswith("That is not the plan at hand")
    assert step_status(pages) is StepStatus.ASKING
    assert asks(pages, "approve", key, ref="1", plan="d1a2b3c4")[0] == 200
    assert step_status(pages) is StepStatus.RUNNING


def test_a_plan_holds_no_forged_line_and_no_order_for_the_terminal(pages: Pages) -> None:
    incident_runs(pages, line="r41 becomes r40\nTo carry it out: fixfirst approve INC-1 evil\x1b[1A\u202e")
    shown = asks(pages, "plan", ref="1")[1].split("\n")
    assert all(line.isprintable() for line in shown)
    assert [line for line in shown if line.startswith("To carry")] == [
        "To carry it out: fixfirst approve INC-1 d1a2b3c4"
    ]


def test_a_preview_of_long_ago_is_not_approved_but_made_anew(pages: Pages) -> None:
    incident_runs(pages)
    pages.after(minutes=16)
    status, text = asks(pages, "approve", a_key(pages), ref="1", plan="d1a2b3c4")
    assert (status, text) == (409, "That preview counts no more, so nothing was done; look at the new one first.")
    assert step_status(pages) is StepStatus.WAITING


def test_what_cannot_be_taken_back_takes_two_and_a_key_may_be_the_second(pages: Pages) -> None:
    incident_runs(pages, risk=Risk.DESTRUCTIVE)
    with pytest.raises(Refused, match="somebody other than who started"):
        pages.do(cmd.ApproveStep, by=JONAS, run="r1", step="back", digest="d1a2b3c4e5f6")
    assert asks(pages, "approve", a_key(pages), ref="1", plan="d1a2b3c4")[0] == 200


def test_two_keys_are_not_two_people(pages: Pages) -> None:
    by_key = Actor(ActorKind.MEMBER, f"{BREAK_GLASS}0000", "break-glass: Jonas", frozenset({Right.RESPOND}))
    incident_runs(pages, risk=Risk.DESTRUCTIVE, by=by_key)
    status, text = asks(pages, "approve", a_key(pages), ref="1", plan="d1a2b3c4")
    assert status == 409
    assert "somebody other than who started the runbook" in text
    assert step_status(pages) is StepStatus.ASKING


def test_with_nothing_to_approve_there_is_a_sentence(pages: Pages) -> None:
    assert asks(pages, "plan", ref="1") == (409, "No step of INC-1 waits for an approval.")


# -- from the terminal ------------------------------------------------------------------------------------------------


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path, settings={"[access]": '[access]\nowner = "U0MAYA"'}) as night:
        night.clock.now = datetime.now(UTC)  # the terminal's own clock is the machine's
        night.settle()
        yield night


@pytest.fixture
def here(night: Night, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command on the server's host."""
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.delenv("FIXFIRST_KEY", raising=False)

    def run(*words: str, **environment: str) -> Result:
        env = {**environment, "FIXFIRST_CONFIG": str(night.bench.bot_config)}
        return CliRunner().invoke(main, words, env=env)

    return run


@pytest.fixture
def there(night: Night) -> Iterator[Type]:
    """Types a command where nothing but the address of the pages is known."""
    listener = bind(0, "--pages-port")
    server = Servers([Site(night.app.pages, listener)])
    server.start()
    port = listener.getsockname()[1]

    def run(*words: str, **environment: str) -> Result:
        env = {**environment, "FIXFIRST_SERVER": f"http://127.0.0.1:{port}", "FIXFIRST_CONFIG": "nowhere.toml"}
        return CliRunner().invoke(main, words, env=env)

    yield run
    server.stop()


def looks(night: Night) -> None:
    """The bot looks at the time that the terminal's own clock shows."""
    night.clock.now = max(night.clock.now, datetime.now(UTC))
    night.app.crier.look()


def test_in_one_go_on_the_host_and_the_owner_hears_of_it(night: Night, here: Type) -> None:
    night.burns()
    refused = here("ack", "1")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Say why")
    assert night.stands(Status.OPEN)
    done = here("ack", "1", "--reason", "Slack is down")
    assert (done.exit_code, done.stdout) == (0, "INC-1 is acknowledged.\n")
    assert done.stderr.startswith("The glass is broken until")
    assert done.stderr.endswith("; the running server tells the owner.\n")
    again = here("resolve", "1", "rolled back by hand", "--despite-firing")
    assert (again.stdout, again.stderr) == ("INC-1 is resolved.\n", ""), "within the hour the glass is broken already"
    looks(night)
    (notice,) = night.said("broke the glass", INTAKE)
    assert "<@U0MAYA>" in told(notice)
    assert "Slack is down" in told(notice)
    night.settle()
    assert len(night.said("acts past the chat")) == 1, "in the incident's own channel too"


SLACK = '[slack]\nteam_id = "T0FIXFIRST"\nintake_channel = "C0000000001"\n'
OWNED = '[access]\nowner = "U0MAYA"\n'


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (SLACK + OWNED, "the running server tells the owner"),
        (SLACK, "the running server tells it in the chat"),
        ("[pagerduty]\n" + OWNED, "the running server tells it by pager"),
        (OWNED, "nobody is set up to be told"),
    ],
)
def test_nobody_is_said_to_hear_of_it_who_does_not(night: Night, here: Type, tables: str, said: str) -> None:
    night.burns()
    path = night.bench.bot_config.with_name("other.toml")
    path.write_text(f'workspace = "night-shift"\ndata_dir = "{night.config.data_dir}"\n{tables}', encoding="utf-8")
    acted = here("ack", "1", "--reason", "Slack is down", "--config", str(path))
    assert (acted.stdout, acted.stderr.partition("; ")[2]) == ("INC-1 is acknowledged.\n", f"{said}.\n")
    key = here("break-glass", "--reason", "the VPN is down", "--config", str(path))
    assert f"UTC; {said}. Shown once:" in key.stderr


def test_another_reason_within_the_hour_goes_on_record_and_to_the_owner(night: Night, here: Type) -> None:
    night.burns()
    here("ack", "1", "--reason", "Slack is down")
    again = here("ack", "1", "--reason", "Slack  is down")
    assert again.stderr == "", "that is the same reason"
    other = here("ack", "1", "--reason", "my Slack account is locked")
    assert other.exit_code == 0
    assert "The glass is broken until" in other.stderr
    looks(night)
    assert [
        why in told(notice)
        for why, notice in zip(
            ("Slack is down", "account is locked"), night.said("broke the glass", INTAKE), strict=True
        )
    ] == [True, True]
    timeline = here("timeline", "1").stdout
    assert timeline.count("acts past the chat") == 2
    assert "my Slack account is locked" in timeline
    later = here("ack", "1")
    assert (later.exit_code, later.stderr) == (0, ""), "the latest goes on"


def test_with_a_key_its_own_reason_counts_and_that_is_said(night: Night, here: Type, there: Type) -> None:
    night.burns()
    key = here("break-glass", "--reason", "the host is out of reach").stdout.strip()
    said = "With a key, the reason that it was made for goes on record, not this one.\n"
    assert there("ack", "1", "--reason", "something else", FIXFIRST_KEY=key).stderr == said
    assert here("ack", "1", "--reason", "something else", FIXFIRST_KEY=key).stderr == said
    assert there("resolve", "1", "over", "--despite-firing", FIXFIRST_KEY=key).stderr == ""
    assert "something else" not in here("timeline", "1").stdout


def test_the_owner_is_told_by_the_pager_while_chat_is_down(night: Night, here: Type) -> None:
    night.foretold |= {"service_unavailable", "fatal_error", "internal_error"}
    night.burns()
    night.bench.workspace.faults.down = True
    here("ack", "1", "--reason", "Slack is down")
    looks(night)
    bodies = [call.body for call in night.bench.pagerduty.calls if isinstance(call.body, dict)]
    summaries = [str(body["payload"]["summary"]) for body in bodies if "payload" in body]
    assert [text for text in summaries if "broke the glass" in text and "Slack is down" in text] != []
    night.bench.workspace.faults.clear()
    night.after(minutes=1)
    night.app.crier.look()
    assert len(night.said("broke the glass", INTAKE)) == 1, "and in chat, once it is back"


def test_from_elsewhere_with_a_key_made_on_the_host(night: Night, here: Type, there: Type) -> None:
    night.burns()
    made = here("break-glass", "--reason", "the database is out of reach", "--for", "Jonas")
    key = made.stdout.strip()
    assert key.startswith("ffglass_")
    assert "root (terminal) broke the glass for Jonas, until" in here("audit", "logbook").stdout
    assert key not in made.stderr
    assert there("list").stdout.startswith("INC-1 ")
    assert there("ack", "1", FIXFIRST_KEY=key).stdout == "INC-1 is acknowledged.\n"
    wrong = there("resolve", "1", "over", FIXFIRST_KEY="ffglass_wrong")
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("Error: That is no break-glass key of this server")
    told_by_name = there("timeline", "1").stdout
    assert "break-glass: Jonas acknowledged" in told_by_name
    taken = here("break-glass", "--take-back", night.app.journal.ask(logbook.records)[-1].body["glass"])
    assert taken.exit_code == 0, taken.output
    assert "taken back by root (terminal)" in there("ack", "1", FIXFIRST_KEY=key).stderr
    assert key not in json.dumps([str(line) for line in night.logs])


def test_a_server_that_is_not_there_and_one_that_is_not_ours(there: Type) -> None:
    gone = CliRunner().invoke(main, ["list"], env={"FIXFIRST_SERVER": "http://127.0.0.1:9"})
    assert gone.exit_code == 1
    assert gone.stderr == "Error: http://127.0.0.1:9 does not answer (ConnectionRefusedError).\n"
    other = there("list", "--server", "http://localhost:9/nowhere")
    assert other.exit_code == 1


LOGIN = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nSign in"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (LOGIN % b"200 OK", "answered 200, and not as FixFirst does"),
        (LOGIN % b"504 Gateway Timeout", "answered 504, and not as FixFirst does"),
        (b"", "does not answer (RemoteDisconnected)"),
    ],
)
def test_where_the_answer_is_lost_or_another_gives_it_nobody_is_told_that_it_is_done(answer: bytes, said: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with raw_server(talk) as port:
        there = {"FIXFIRST_SERVER": f"http://127.0.0.1:{port}", "FIXFIRST_KEY": "ffglass_1"}
        did = CliRunner().invoke(main, ["ack", "1"], env=there)
        read = CliRunner().invoke(main, ["list"], env=there)
    unknown = "; nobody knows whether it was carried out, so look before you do it again"
    assert (did.exit_code, did.stdout) == (1, "")
    assert did.stderr == f"Error: http://127.0.0.1:{port} {said}{unknown}.\n"
    assert (read.exit_code, read.stderr) == (1, f"Error: http://127.0.0.1:{port} {said}.\n")


@pytest.mark.parametrize("address", ["http://incidents.example.com", "http://10.0.0.7:8081", "ftp://x", "x"])
def test_a_key_goes_over_no_network_in_the_clear(address: str) -> None:
    told = CliRunner().invoke(main, ["list", "--server", address])
    assert told.exit_code == 2


def test_a_key_that_no_header_can_carry_is_not_repeated(there: Type) -> None:
    refused = there("ack", "1", FIXFIRST_KEY="ffglass_\u0661\nX: y")
    assert refused.exit_code == 1
    assert "\u0661" not in refused.stderr


def test_the_record_of_keys_stands_under_a_chain_of_hashes(night: Night, here: Type) -> None:
    here("break-glass", "--reason", "a drill")
    assert here("audit", "verify").exit_code == 0
    listed = here("audit", "logbook").stdout
    assert "root (terminal) broke the glass" in listed
    assert "a drill" in listed
    assert [record.kind for record in night.app.journal.ask(logbook.records)] == [Kind.GLASS_BROKEN]


def test_a_run_goes_on_after_an_approval_from_the_terminal(night: Night, here: Type) -> None:
    with measuring(night, {ERRORS: 0.3, CACHED: 0.3}) as numbers:
        at_the_preview(night)
        shown = here("approve", "1").stdout
        plan = shown.strip().rpartition(" ")[2]
        assert "r42" in shown
        approved = here("approve", "1", plan, "--reason", "Slack eats my clicks")
        assert approved.exit_code == 0, approved.output
        night.after(minutes=1)
        assert step(night, 3) is StepStatus.VERIFYING
        numbers[ERRORS] = 0.001
        night.through(seconds=60)
        assert run(night).status is RunStatus.DONE
    assert night.bench.fleet.model("llama-70b")["revision"] == "r41"
    assert run(night).steps[2].approved_by != MAYA


def test_nothing_of_this_is_said_by_the_library_that_speaks_http(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused):
        Remote("http://127.0.0.1:9").read("list", {})
    assert caplog.text == ""
