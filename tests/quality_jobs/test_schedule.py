"""Canaries in the running bot: one round a slot whatever the number of servers, within the day's tokens, and kept."""

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bot.app import App
from bot.canaries import Canaries, last_rounds
from bot.config import read
from bot.quality.canary import Canary
from bot.quality.endpoint import Endpoint
from bot.quality.prompts import Prompt
from tests.databases import PostgreSQL
from tests.hands import HandClock
from tests.health.conftest import needed
from tests.journal.conftest import House
from tests.quality_jobs.models import Scripted, scripted, spoken
from tests.quality_jobs.outside import fixfirst
from tests.servers import free_port

HELLO = Prompt("hello", (("user", "Say hello."),), contains=("hello",))
TEN = timedelta(minutes=10)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as made:
        made.stream(spoken("Hello.", usage={"total_tokens": 40}))
        yield made


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.journal.close()


def landed() -> None:
    """Every round that is under way has ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("canary-"):
            thread.join(20)
            assert not thread.is_alive()


def canary(server: Scripted, name: str = "chat", tokens_per_day: int = 1_000_000) -> Canary:
    return Canary(name, Endpoint(server.url, "llama-70b"), (HELLO,), every=TEN, tokens_per_day=tokens_per_day)


def looks(canaries: Canaries, clock: HandClock, *, minutes: int) -> None:
    """The bot looks every minute for so long."""
    for _ in range(minutes):
        canaries.look()
        landed()
        clock.after(minutes=1)


def test_a_round_is_done_once_in_each_slot(house: House, server: Scripted) -> None:
    looks(Canaries(house.journal, [canary(server)]), house.clock, minutes=30)
    assert len(server.asked) == 3


def test_a_restart_within_a_slot_asks_no_more(house: House, server: Scripted) -> None:
    looks(Canaries(house.journal, [canary(server)]), house.clock, minutes=1)
    house.reopen()
    looks(Canaries(house.journal, [canary(server)]), house.clock, minutes=1)
    assert len(server.asked) == 1


def test_of_two_servers_one_asks_and_both_tell(tmp_path: Path, postgres: PostgreSQL, server: Scripted) -> None:
    url, clock = postgres.new(), HandClock()
    houses = [House(tmp_path, url, clock), House(tmp_path, url, clock)]
    try:
        both = [Canaries(house.journal, [canary(server)]) for house in houses]
        for _ in range(3):
            threads = [threading.Thread(target=one.look) for one in both]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            landed()
            clock.after(minutes=10)
        assert len(server.asked) == 3
        assert both[0].text() == both[1].text()
    finally:
        for house in houses:
            house.journal.close()


def test_the_days_tokens_are_a_bound_that_a_restart_does_not_lift(house: House, server: Scripted) -> None:
    house.clock.now = house.clock.now.replace(hour=22, minute=0, second=0, microsecond=0)
    for _ in range(2):
        looks(Canaries(house.journal, [canary(server, tokens_per_day=100)]), house.clock, minutes=50)
        house.reopen()
    assert len(server.asked) == 3, "two rounds are below a hundred tokens, the third is the last"
    canaries = Canaries(house.journal, [canary(server, tokens_per_day=100)])
    assert 'model_canary_tokens_today{model="llama-70b",canary="chat"} 120' in canaries.text()
    looks(canaries, house.clock, minutes=30)
    assert len(server.asked) == 4, "another day has begun; the slot at midnight, and one whose time is not over yet"


def test_what_is_not_answered_in_time_counts_against_the_days_tokens_too(house: House) -> None:
    from tests.quality_jobs.models import dripping
    from tests.servers import raw_server

    house.clock.now = house.clock.now.replace(hour=22, minute=0, second=0, microsecond=0)
    with raw_server(dripping) as port:
        hangs = Canary("hangs", Endpoint(f"http://127.0.0.1:{port}/v1", "m", timeout=0.5), (HELLO,), every=TEN)
        away = replace(hangs, name="away", endpoint=Endpoint(f"http://127.0.0.1:{free_port()}/v1", "m"))
        canaries = Canaries(house.journal, [replace(one, tokens_per_day=200) for one in (hangs, away)])
        looks(canaries, house.clock, minutes=60)
    most = len("Say hello.") // 4 + 1 + 128
    told = canaries.text()
    assert f'model_canary_tokens_today{{model="m",canary="hangs"}} {2 * most}' in told, "the second round is the last"
    assert 'model_canary_tokens_today{model="m",canary="away"} 0' in told, "what was never reached has cost nothing"


def test_one_model_that_hangs_holds_up_no_other(house: House, server: Scripted) -> None:
    from tests.servers import raw_server

    over = threading.Event()

    def silent(_: socket.socket) -> None:
        over.wait(60)

    with raw_server(silent) as port:
        hangs = Canary("hangs", Endpoint(f"http://127.0.0.1:{port}/v1", "m", timeout=60), (HELLO,), every=TEN)
        canaries = Canaries(house.journal, [hangs, canary(server)])
        canaries.look()
        quick = next(thread for thread in threading.enumerate() if thread.name == "canary-chat")
        quick.join(20)
        assert not quick.is_alive()
        assert [one.canary for one in last_rounds(house.journal)] == ["chat"]
        over.set()
        landed()
    assert {one.canary: one.pass_ratio for one in last_rounds(house.journal)} == {"chat": 1.0, "hangs": 0.0}


def test_a_stop_ends_a_round_without_a_result(house: House, server: Scripted) -> None:
    canaries = Canaries(house.journal, [canary(server)])
    canaries.stop()
    looks(canaries, house.clock, minutes=1)
    assert server.asked == []
    assert last_rounds(house.journal) == []


def settings(folder: Path, url: str) -> dict[str, list[dict[str, object]]]:
    (folder / "mine.jsonl").write_text('{"name": "hello", "prompt": "Say hello.", "contains": ["hello"]}\n')
    return {"canary": [{"name": "chat", "model": "llama-70b", "url": url, "prompts": "mine.jsonl"}]}


def app_of(folder: Path, values: Mapping[str, object]) -> App:
    config, faults = read(values, folder, lambda _: None)
    assert config is not None, faults
    return App(config)


@pytest.fixture
def opened(tmp_path: Path, server: Scripted) -> Iterator[App]:
    app = app_of(tmp_path, settings(tmp_path, server.url))
    yield app
    app.close()


def page(app: App) -> str:
    return TestClient(app.pages, base_url="http://127.0.0.1").get("/metrics").text


def look(app: App) -> None:
    assert app.canaries is not None
    app.canaries.look()
    landed()


def test_the_bots_own_metrics_tell_of_the_last_round(opened: App, server: Scripted) -> None:
    assert "model_canary_pass_ratio" not in page(opened), "nothing is said before anything was asked"
    look(opened)
    text = page(opened)
    assert 'model_canary_pass_ratio{model="llama-70b",canary="chat"} 1.0' in text
    assert 'model_canary_prompt_pass{model="llama-70b",canary="chat",prompt="hello"} 1.0' in text
    assert 'model_quality_score{model="llama-70b",metric="canary"} 1.0' in text
    checked = subprocess.run(
        [needed("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    ours = [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("model_")]
    assert ours == []


def test_the_terminal_tells_how_the_bots_last_round_went(tmp_path: Path, server: Scripted) -> None:
    server.answers.clear()
    server.stream(spoken("Goodbye."))
    values = settings(tmp_path, server.url)
    app = app_of(tmp_path, values)
    look(app)
    app.close()
    (tmp_path / "fixfirst.toml").write_text(
        f'[[canary]]\nname = "chat"\nmodel = "llama-70b"\nurl = "{server.url}"\nprompts = "mine.jsonl"\n'
    )
    told = fixfirst("canary", "--last", "--config", tmp_path / "fixfirst.toml")
    assert told.returncode == 1, told.stderr
    assert 'expected  contains "hello"' in told.stdout
    assert 'got       "Goodbye."' in told.stdout
    assert len(server.asked) == 1, "nobody was asked again"


def test_a_model_is_as_good_as_the_worst_of_its_canaries_that_got_answers(tmp_path: Path, server: Scripted) -> None:
    values = settings(tmp_path, server.url)
    (first,) = values["canary"]
    (tmp_path / "other.jsonl").write_text('{"name": "bye", "prompt": "Say goodbye.", "contains": ["goodbye"]}\n')
    fails = {**first, "name": "bad", "prompts": "other.jsonl"}
    dead = {**first, "name": "dead", "url": f"http://127.0.0.1:{free_port()}/v1"}
    app = app_of(tmp_path, {"canary": [first, fails, dead]})
    look(app)
    text = page(app)
    app.close()
    assert [line for line in text.splitlines() if line.startswith("model_quality_score{")] == [
        'model_quality_score{model="llama-70b",metric="canary"} 0.0'
    ]
    assert 'model_canary_unanswered{model="llama-70b",canary="dead"} 1' in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "A b"}, "canary[1].name: is 'A b', but must be"),
        ({"every": "5s"}, "canary[1].every: must be from 10s to 1d"),
        ({"timeout": "9m"}, "canary[1].timeout: must be longer than nothing and at most 5m"),
        ({"url": "llm:8000"}, "canary[1].url: is 'llm:8000', but must be an address"),
        ({"api": "responses"}, "canary[1].api: is 'responses', but must be one of chat, completions"),
        ({"prompts": "none.toml"}, "canary[1].prompts: none.toml cannot be read"),
        ({"modle": "x"}, "canary[1].modle: is not a setting; did you mean model?"),
    ],
)
def test_every_fault_of_a_canary_is_told_with_its_fix(tmp_path: Path, change: dict[str, object], said: str) -> None:
    (values,) = settings(tmp_path, "http://llm:8000/v1")["canary"]
    _, faults = read({"canary": [{**values, **change}]}, tmp_path, lambda _: None)
    assert [fault for fault in faults if fault.startswith(said)], faults
