"""`fixfirst health` as people type it: the report, all of it, its picture, and how right the verdicts have been."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.config import load
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.change import Change, ChangeKind
from bot.incident.events import Severity
from bot.incident.people import BOT, Actor, ActorKind, Right
from bot.opening import open_journal
from tests.health.conftest import Past
from tests.servers import free_port

MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya", frozenset({Right.RESPOND}))
MODEL = {"model_name": "llama-70b", "job": "vllm", "instance": "i0"}
Type = Callable[..., Result]


@pytest.fixture
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command in a folder whose configuration names the Prometheus at this address."""
    monkeypatch.chdir(tmp_path)

    def run(url: str, *words: str) -> Result:
        (tmp_path / "fixfirst.toml").write_text(f'workspace = "night-shift"\n[prometheus]\nurl = "{url}"\n')
        return CliRunner().invoke(main, words)

    return run


@pytest.fixture
def serving(remembering: Callable[[Past], str]) -> str:
    """The address of a Prometheus that remembers a model in which a tenth of the requests fail."""
    past = Past()
    past.gauge("vllm:num_requests_running", MODEL, 40)
    past.gauge("vllm:num_requests_waiting", MODEL, 3)
    for status, rate in (("2xx", 9.0), ("5xx", 1.5)):
        past.counter("http_requests_total", {**MODEL, "handler": "/v1/chat/completions", "status": status}, rate)
    return remembering(past)


def test_the_picture_is_written_where_it_was_wanted(types: Type, serving: str, tmp_path: Path) -> None:
    told = types(serving, "health", "llama-70b", "--picture", "night.png")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("[OUTAGE] llama-70b")
    assert (tmp_path / "night.png").read_bytes().startswith(b"\x89PNG")
    refused = types(serving, "health", "--picture", str(tmp_path / "nowhere" / "night.png"))
    assert refused.exit_code == 1
    assert "No such file or directory" in refused.output


def test_all_of_it_has_the_queries(types: Type, serving: str) -> None:
    assert "http_requests_total" not in types(serving, "health").output
    assert "http_requests_total" in types(serving, "health", "--full").output


def test_what_a_pipeline_told_the_server_of_is_a_suspect_in_the_terminal_too(
    types: Type, serving: str, tmp_path: Path
) -> None:
    before = types(serving, "health", "llama-70b")
    assert "nothing tells when it was deployed" in before.output
    assert "Not checked: what pipelines told of: there is no journal at " in before.output
    assert not (tmp_path / "data" / "fixfirst.db").exists(), "to ask makes no database"
    config, faults = load(tmp_path / "fixfirst.toml")
    assert config is not None, faults
    journal = open_journal(config)
    flag = Change("f1", "ci", datetime.now(UTC), ChangeKind.FLAG, model="llama-70b", revision="chunked-prefill on")
    Desk(journal, config.policy, config.reading, lambda: None).note_change(flag).result()
    journal.close()
    (line,) = (line for line in types(serving, "health", "llama-70b").output.splitlines() if " E4 " in line)
    assert "changed " in line
    assert line.endswith("[llama-70b chunked-prefill on]")


def test_a_database_that_cannot_be_read_costs_the_report_only_what_is_in_it(
    types: Type, serving: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "fixfirst.db").write_bytes(b"this is no database, whatever it is called" * 100)
    told = types(serving, "health", "llama-70b")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("[OUTAGE] llama-70b")
    assert "Not checked: what pipelines told of: the database " in told.output


def test_without_an_answer_there_is_still_a_picture_that_says_so(types: Type, tmp_path: Path) -> None:
    told = types(f"http://127.0.0.1:{free_port()}", "health", "--picture", "dark.png")
    assert told.output.startswith("[BLIND] fleet")
    assert (tmp_path / "dark.png").read_bytes().startswith(b"\x89PNG")


def test_how_right_the_verdicts_were_is_told_by_cause_with_every_miss(types: Type, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert "Error: there is no journal at " in types(address, "health", "--ratings").output
    config, faults = load(tmp_path / "fixfirst.toml")
    assert config is not None, faults
    journal = open_journal(config)
    assert "No verdict has been rated yet" in types(address, "health", "--ratings").output
    desk = Desk(journal, config.policy, config.reading, lambda: None)
    common = {"incident": "i1", "at": datetime.now(UTC), "source": "slack"}
    desk.handle(cmd.Declare(**common, by=MAYA, key="d", title="llama-70b fails", severity=Severity.SEV1))  # type: ignore[arg-type]
    for name in ("EV-AAAAAAAA", "EV-BBBBBBBB"):
        looked = ev.EvidenceCollected("OUTAGE", "all fail", "x", "", {"cause_id": "recent-change"}, name)
        desk.handle(cmd.RecordReceipt(**common, by=BOT, key=f"r{name}", events=(looked,)))  # type: ignore[arg-type]
    desk.handle(cmd.RateVerdict(**common, by=MAYA, key="1", evidence="EV-AAAAAAAA", right=True))  # type: ignore[arg-type]
    wrong = {"evidence": "EV-BBBBBBBB", "right": False, "actual": "hardware", "text": "node-2 burnt"}
    desk.handle(cmd.RateVerdict(**common, by=MAYA, key="2", **wrong))  # type: ignore[arg-type]
    journal.close()
    told = types(address, "health", "--ratings").output
    assert "1 of 2 rated verdicts were right (50%)" in told
    assert "recent-change  1 of 2   50%" in told
    assert "INC-1 EV-BBBBBBBB  said recent-change, was hardware: node-2 burnt" in told
