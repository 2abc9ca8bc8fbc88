"""The `fixfirst` command as people type it: what it prints, and how it ends."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.config import DATABASE, Config, load
from bot.desk import Desk
from bot.hands import ANSWER
from bot.incident.events import Severity
from bot.intake.alerts import Delivery, Message
from bot.journal import Journal
from bot.journal.database import conninfo
from bot.opening import open_journal
from bot.settings import SecretOf
from tests.databases import PostgreSQL
from tests.servers import free_ports

EXAMPLE = Path(__file__).parents[2] / "fixfirst.example.toml"
RUNBOOKS = Path(__file__).parents[2] / "runbooks"
START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
Type = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fixfirst.toml").write_text('workspace = "night-shift"\n', encoding="utf-8")
    return tmp_path


@pytest.fixture
def types(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in the folder, with no secret in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOGNAME", "maya")

    def run(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(main, words, env=environment)

    return run


def started_once(folder: Path, secret: SecretOf = os.environ.get) -> tuple[Config, Journal]:
    """The journal that a server makes when it starts."""
    config, faults = load(folder / "fixfirst.toml", secret)
    assert config is not None, faults
    return config, open_journal(config)


def burn(folder: Path, secret: SecretOf = os.environ.get, title: str = "llama-70b answers with errors") -> None:
    """Lets an alert reach the journal, as the doors would."""
    config, journal = started_once(folder, secret)
    desk = Desk(journal, config.policy, config.reading, lambda: None)
    delivery = Delivery(
        fingerprint="f1",
        firing=True,
        name="LLMErrorRatioHigh",
        title=title,
        severity=Severity.SEV1,
        service="chat",
        model="llama-70b",
        runbook="",
        labels={},
        starts_at=START,
        ends_at=None,
    )
    desk.receive([Message("alertmanager", (delivery,))]).result(10)
    for group in journal.waiting_groups():
        desk.drain(group).result(10)
    journal.close()


@pytest.fixture
def burning(folder: Path) -> Path:
    burn(folder)
    return folder


def test_check_tells_what_is_connected(types: Type) -> None:
    told = types("check")
    assert told.exit_code == 0
    assert "not connected  Slack" in told.stdout
    assert "not connected  PagerDuty" in told.stdout
    assert told.stdout.endswith("No faults.\n")


def test_check_of_the_example_finds_every_runbook(types: Type) -> None:
    secrets = {
        "FIXFIRST_SLACK_BOT_TOKEN": "xoxb-canary",
        "FIXFIRST_SLACK_SIGNING_SECRET": "canary",
        "FIXFIRST_PAGERDUTY_ROUTING_KEY": "canary",
        "FIXFIRST_ALERTMANAGER_TOKENS": "canary-0123456789",
        "PAGERDUTY_FALLBACK_KEY": "canary",
        "BRIDGE_SECRET": "canary",
        "SMTP_PASSWORD": "canary",
        "DEPLOY_TOKEN": "canary",
        "GATEWAY_TOKEN": "canary",
        "CACHE_PASSWORD": "canary",
        "FLEET_TOKEN": "canary",
        "UNLEASH_TOKEN": "canary",
    }
    told = types("check", "--config", str(EXAMPLE), **secrets)
    assert told.exit_code == 0, told.output
    assert "     connected  Slack" in told.stdout
    assert f"16  runbooks in {RUNBOOKS}" in told.stdout
    assert "canary" not in told.output


def test_check_reports_every_fault_with_its_file_and_ends_with_2(types: Type, folder: Path) -> None:
    (folder / "fixfirst.toml").write_text("[doors]\nprot = 1\n[slack]\n", encoding="utf-8")
    told = types("check")
    assert told.exit_code == 2
    assert told.stderr.splitlines()[0] == "fixfirst.toml: doors.prot: is not a setting; did you mean port?"
    assert len(told.stderr.splitlines()) == 5
    assert "No faults" not in told.output


@pytest.mark.parametrize("command", [["check"], ["list"], ["health"], ["verify"], ["serve"]])
def test_without_a_file_every_command_says_so_once_and_ends_with_2(types: Type, command: list[str]) -> None:
    told = types(*command, "--config", "nowhere.toml")
    assert told.exit_code == 2
    assert told.stderr == (
        "nowhere.toml: cannot be read (No such file or directory); name another file with --config\n"
    )


def test_the_file_may_be_named_by_the_environment(types: Type, folder: Path) -> None:
    (folder / "fixfirst.toml").rename(folder / "other.toml")
    assert types("check", FIXFIRST_CONFIG="other.toml").exit_code == 0


def test_an_incident_is_worked_from_the_terminal_without_a_single_secret(types: Type, burning: Path) -> None:
    listed = types("list")
    assert listed.exit_code == 0
    assert listed.stdout.startswith("INC-1    SEV1 open ")
    assert listed.stdout.endswith("1 firing  llama-70b answers with errors\n")
    assert types("ack", "INC-1", "--reason", "Slack is down").stdout == "INC-1 is acknowledged.\n"
    assert types("ack", "INC-1").stdout == "INC-1 is acknowledged.\n"
    refused = types("resolve", "INC-1", "rolled back")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")
    assert "1 alert" in refused.stderr
    assert types("resolve", "INC-1", "rolled back", "--despite-firing").stdout == "INC-1 is resolved.\n"
    assert types("list").stdout == "No incident is open.\n"
    assert types("list", "--all").stdout.startswith("INC-1 ")
    told = types("timeline", "INC-1").stdout
    assert "break-glass: maya acknowledged" in told
    assert "rolled back" in told
    assert types("verify").stdout == "1 chains checked, 0 broken.\n"


def test_secrets_that_the_file_names_and_nobody_has_set_do_not_close_the_terminal(types: Type, folder: Path) -> None:
    (folder / "fixfirst.toml").write_text(EXAMPLE.read_text(encoding="utf-8").replace("/var/lib/fixfirst/", ""))
    started_once(folder, lambda name: f"a-secret-of-the-server-{name}" if name != DATABASE else None)[1].close()
    told = types("list")
    assert told.exit_code == 0, told.output


@pytest.mark.parametrize(
    "command", [["ack", "INC-9", "--reason", "x"], ["resolve", "INC-9", "x"], ["timeline", "INC-9"]]
)
def test_an_unknown_incident_is_a_sentence(types: Type, burning: Path, command: list[str]) -> None:
    told = types(*command)
    assert told.exit_code == 1
    assert told.stderr == "Error: there is no incident INC-9; fixfirst list shows them\n"


@pytest.mark.parametrize("command", ["verify", "audit verify", "audit verify INC-1"])
def test_verify_names_the_entry_that_was_changed(types: Type, burning: Path, command: str) -> None:
    with closing(sqlite3.connect(burning / "data" / "fixfirst.db")) as database:
        database.execute("UPDATE event SET source = 'nobody' WHERE seq = 2")
        database.commit()
    told = types(*command.split())
    assert told.exit_code == 1
    assert told.stderr == "INC-1: entry 2 was changed\n"
    assert told.stdout == "1 chains checked, 1 broken.\n"


def overwrites(folder: Path, table: str) -> None:
    """As a failing disk does: nothing that is in this table can be read any more."""
    file = folder / "data" / "fixfirst.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        asked = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,), (size,) = database.execute(asked, [table]).fetchone(), database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xff" * size)


@pytest.mark.parametrize("command", ["verify", "audit verify", "audit verify INC-1"])
def test_a_damaged_file_is_named_as_such_and_not_as_a_record_that_somebody_changed(
    types: Type, burning: Path, command: str
) -> None:
    overwrites(burning, "event")
    told = types(*command.split())
    said = "(sqlite3.DatabaseError) database disk image is malformed"
    assert told.stderr == f"Error: the journal could not be read: {said}\n"
    assert (told.exit_code, told.stdout) == (2, "")


@pytest.mark.parametrize(
    ("table", "command"),
    [("sqlite_autoindex_logbook_1", "audit logbook"), ("incident", "archive run --older-than 400")],
)
def test_what_a_damaged_file_keeps_from_being_done_is_a_sentence(
    types: Type, burning: Path, table: str, command: str
) -> None:
    overwrites(burning, table)
    told = types(*command.split())
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith("Error: the journal could not be read: (sqlite3.DatabaseError) database disk image")


def test_health_without_prometheus_says_what_to_add(types: Type) -> None:
    told = types("health", "llama-70b")
    assert told.exit_code == 1
    assert told.stderr == "Error: no Prometheus is configured; add [prometheus] with its url\n"


def test_health_with_a_prometheus_that_is_gone_says_unknown_and_not_fine(types: Type, folder: Path) -> None:
    (folder / "fixfirst.toml").write_text('[prometheus]\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    told = types("health", "llama-70b")
    assert told.exit_code == 0
    assert told.stdout.startswith("[BLIND] llama-70b\n")
    assert "18 unknown" in told.stdout


def test_a_terminal_without_a_name_still_works(types: Type, burning: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert types("ack", "INC-1", "--reason", "Slack is down").stdout == "INC-1 is acknowledged.\n"
    assert "uid " in types("timeline", "INC-1").stdout


def test_the_version_and_the_help(types: Type) -> None:
    assert types("--version").stdout.startswith("fixfirst, version ")
    commands = types("-h").stdout
    words = "serve check lint list ack approve resolve failover break-glass timeline health verify audit try"
    for name in words.split():
        assert f"  {name} " in commands


def fails_with(words: tuple[str, ...]) -> int:
    """For whoever examines the journal, 1 is the word for one that was changed."""
    return 2 if "verify" in words else 1


@pytest.mark.parametrize(
    "words",
    [
        *(("list",), ("timeline", "42"), ("ack", "42", "--reason", "chat is down"), ("approve", "42"), ("changes",)),
        *(("resolve", "42", "rolled back"), ("runbooks",), ("runbooks", "stop", "all burns"), ("failover",)),
        *(("failover", "confirm", "--reason", "looked"), ("break-glass", "--reason", "x"), ("drill",)),
        *(("verify",), ("audit", "verify"), ("audit", "logbook"), ("redact", "42", "3", "--reason", "x")),
        *(("backup", "copy.db"), ("archive", "run", "--older-than", "90"), ("health", "--ratings")),
    ],
)
def test_where_no_server_has_made_a_journal_a_command_says_so_and_makes_none(
    types: Type, folder: Path, words: tuple[str, ...]
) -> None:
    told = types(*words)
    assert told.exit_code == fails_with(words), told.output
    where = folder / "data" / "fixfirst.db"
    assert told.stderr == (
        f"Error: there is no journal at {where.relative_to(folder)}; "
        "is FIXFIRST_DATABASE set here as it is for the server?\n"
    )
    assert [file.name for file in folder.iterdir()] == ["fixfirst.toml"]


@pytest.mark.parametrize("words", [("list",), ("health",)])
def test_an_empty_postgresql_stays_empty(
    types: Type, folder: Path, postgres: PostgreSQL, words: tuple[str, ...]
) -> None:
    (folder / "fixfirst.toml").write_text('[prometheus]\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    url = postgres.empty()
    told = types(*words, FIXFIRST_DATABASE=url)
    assert "there is no journal at postgresql+psycopg://" in told.output
    with psycopg.connect(conninfo(url)) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert not (folder / "data").exists()


def test_with_the_servers_address_of_the_database_its_incidents_are_there(
    types: Type, folder: Path, postgres: PostgreSQL
) -> None:
    url = postgres.new()
    burn(folder, {DATABASE: url}.get)
    assert types("list", FIXFIRST_DATABASE=url).stdout.startswith("INC-1 ")
    assert types("list").exit_code == 1


@pytest.mark.parametrize(
    "words", [("serve",), ("list",), ("ack", "42", "--reason", "chat is down"), ("audit", "verify")]
)
def test_a_database_that_does_not_answer_is_named_without_its_password(
    types: Type, folder: Path, words: tuple[str, ...]
) -> None:
    doors, pages = free_ports(2)
    (folder / "fixfirst.toml").write_text(f"[doors]\nport = {doors}\n[pages]\nport = {pages}\n", encoding="utf-8")
    result = types(*words, FIXFIRST_DATABASE="postgresql://bot:hunter2@127.0.0.1:1/incidents?password=hunter2")
    assert result.exit_code == fails_with(words), result.output
    assert "the database postgresql+psycopg://bot:***@127.0.0.1:1/incidents cannot be opened" in result.stderr
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.output


HOSTILE = "down\nINC-2    SEV1 open \x1b[2J\x1b]0;owned\x07\x9b31m \u202egnp.exe\u2066\u2028\r end"


@pytest.mark.parametrize("words", [("list",), ("timeline", "1"), ("audit", "logbook")])
def test_the_words_of_others_forge_no_line_and_give_the_terminal_no_order(
    types: Type, folder: Path, words: tuple[str, ...]
) -> None:
    burn(folder, title=HOSTILE)
    assert types("ack", "1", "--reason", HOSTILE).exit_code == 0
    told = types(*words)
    assert all(line.isprintable() for line in told.output.split("\n")), told.output
    assert not any(line.startswith("INC-2") for line in told.output.splitlines())


def test_a_server_that_answers_with_orders_for_the_terminal_gives_none(types: Type) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = HOSTILE.encode()
            self.send_response(200 if self.path.endswith("list") else 409)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header(ANSWER, "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for words in (("list",), ("timeline", "1")):
                told = types(*words, FIXFIRST_SERVER=f"http://127.0.0.1:{server.server_port}")
                assert "owned" in told.output
                assert all(line.isprintable() for line in told.output.split("\n")), told.output
        finally:
            server.shutdown()
            thread.join(10)


NO_INCIDENTS = ("INC-99999999999999999999999", "2147483648", "9" * 5_000, "\udcff", "a\0b", "\u0663" * 20)


@pytest.mark.parametrize("ref", NO_INCIDENTS, ids=range(len(NO_INCIDENTS)))
def test_a_name_that_no_incident_can_have_is_that_of_none(types: Type, folder: Path, ref: str) -> None:
    burn(folder)
    for words in (("timeline", ref), ("ack", ref, "--reason", "Slack is down"), ("verify", ref)):
        told = types(*words)
        assert (told.exit_code, told.stderr[:27]) == (fails_with(words), "Error: there is no incident"), told.exception
