"""A canary against real servers: the fleet's models, and endpoints that are dead, slow, or talk nonsense."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.quality import prompts
from bot.quality.canary import Canary, Round, figures
from bot.quality.endpoint import Endpoint
from bot.quality.prompts import Prompt
from bot.settings import Secret
from tests.quality_jobs.models import TOKEN, Rig, Scripted, dripping, events, fleet, scripted, spoken
from tests.quality_jobs.outside import fixfirst
from tests.servers import free_port, raw_server

HELLO = Prompt("hello", (("user", "Say hello."),), contains=("hello",))
SHIPPED, _ = prompts.read(prompts.SHIPPED)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fleet() as made:
        yield made


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as made:
        yield made


def done(endpoint: Endpoint, *asked: Prompt, samples: int = 1) -> Round:
    found = Canary("c", endpoint, asked or (HELLO,), samples=samples).round(lambda: datetime.now(UTC))
    assert found is not None
    return found


def of(rig: Rig, model: str = "llama-70b") -> Endpoint:
    return Endpoint(rig.url, model, token=Secret(TOKEN))


def muddle(rig: Rig) -> None:
    """A revision with the wrong chat template goes out."""
    with rig.fleet.held() as world:
        deployment = world.deployments["llama-70b"]
        deployment.roll(deployment.new_revision(deployment.spec.muddled, world.now), world.now, 0.0)


def test_a_healthy_model_answers_every_shipped_prompt_as_expected(rig: Rig) -> None:
    found = done(of(rig), *SHIPPED)
    assert found.failed == [], "\n".join(found.lines())
    assert found.pass_ratio == found.quality == 1.0
    assert found.tokens > len(SHIPPED)
    assert all(one.first_token_s is not None for one in found.tried), "it was streamed"


def test_the_canary_sees_a_wrong_template_that_no_metric_of_the_engine_shows(rig: Rig) -> None:
    muddle(rig)
    rig.now += 120
    found = done(of(rig), *SHIPPED)
    assert {"system", "stop", "fact"} <= set(found.failed)
    assert found.pass_ratio < 0.5
    with rig.fleet.held() as world:
        deployment = world.deployments["llama-70b"]
        assert deployment.error_ratio() < 0.01
        assert deployment.state(world.now) == "ok"


def test_a_dead_endpoint_is_a_failed_round_and_no_word_on_quality() -> None:
    found = done(Endpoint(f"http://127.0.0.1:{free_port()}/v1", "m"))
    assert found.pass_ratio == 0
    assert found.quality is None
    assert found.tried[0].unanswered == 1
    assert "no answer" in found.tried[0].faults[0].got
    names = {figure.name for figure in figures([found])}
    assert "model_canary_pass_ratio" in names
    assert "model_quality_score" not in names


def test_a_stream_that_drips_for_ever_ends_at_the_timeout() -> None:
    with raw_server(dripping) as port:
        found = done(Endpoint(f"http://127.0.0.1:{port}/v1", "m", timeout=0.4))
    assert found.tried[0].faults[0].got == "no answer in 0.4 s"


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (401, "application/json", b'{"error": {"message": "no such key: sesame"}}', "no such key: ***"),
        (500, "text/plain", b"EngineDeadError", "it answered 500: EngineDeadError"),
        (200, "text/html", b"<html>login</html>", "without a choice"),
        (200, "text/event-stream", b"data: nonsense\n\n", "something else than JSON"),
        (200, "text/event-stream", b"data: 3\n\n", "something else than a JSON object"),
        (200, "text/event-stream", b'data: {"choices": [7]}\n\n', "without a choice"),
        (200, "text/event-stream", events({"error": {"message": "CUDA out of memory"}}), "broke off: CUDA"),
        (200, "application/json", b"x" * 1_100_000, "more than 1024 KiB"),
    ],
)
def test_an_endpoint_that_talks_nonsense_gives_no_answer(
    server: Scripted, status: int, kind: str, body: bytes, said: str
) -> None:
    server.answers = [(status, kind, body)]
    (tried,) = done(Endpoint(server.url, "m", token=Secret("sesame"))).tried
    assert tried.unanswered == 1
    assert said in tried.faults[0].got


def test_an_answer_in_one_piece_is_taken_too(server: Scripted) -> None:
    whole = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}], "usage": {"total_tokens": 9}}
    server.answers = [(200, "application/json; charset=utf-8", json.dumps(whole).encode())]
    (tried,) = done(Endpoint(server.url, "m")).tried
    assert tried.is_well
    assert (tried.first_token_s, tried.tokens) == (None, 9)


def test_models_that_complete_are_asked_as_such(server: Scripted) -> None:
    server.stream(events({"choices": [{"text": "Hello there", "finish_reason": "stop"}]}))
    found = done(Endpoint(server.url, "base", api="completions"), replace(HELLO, seed=7))
    assert found.failed == []
    ((path, _, body),) = server.asked
    assert path == "/v1/completions"
    assert (body["prompt"], body["model"], body["temperature"], body["seed"]) == ("Say hello.", "base", 0.0, 7)


def test_the_token_goes_along_and_usage_is_counted(server: Scripted) -> None:
    server.stream(spoken("Hello.", usage={"total_tokens": 21}, choices=[]))
    found = done(Endpoint(server.url, "m", token=Secret("sesame")))
    assert server.asked[0][1]["Authorization"] == "Bearer sesame"
    assert found.tokens == 21


def test_a_thought_is_the_first_token_but_no_part_of_the_answer(server: Scripted) -> None:
    server.stream(
        events(
            {"choices": [{"delta": {"reasoning_content": "They want goodbye, no, "}}]},
            {"choices": [{"delta": {"content": "Hello."}, "finish_reason": "stop"}]},
        )
    )
    (tried,) = done(Endpoint(server.url, "m"), replace(HELLO, not_contains=("goodbye",))).tried
    assert tried.is_well
    assert tried.first_token_s is not None


def test_samples_that_should_be_the_same_and_are_not_fail(server: Scripted) -> None:
    server.stream(spoken("Hello."), spoken("Hello!"))
    (tried,) = done(Endpoint(server.url, "m"), replace(HELLO, same=True)).tried
    assert (tried.asked, tried.passed) == (2, 0)
    assert tried.faults[0].expected == 'the same answer each time, as "Hello."'


def test_a_share_of_samples_is_a_share_of_the_prompt(server: Scripted) -> None:
    server.stream(spoken("Hello."), spoken("Bye."), spoken("Hello."), spoken("Hello."))
    found = done(Endpoint(server.url, "m"), samples=4)
    assert found.pass_ratio == 0.75
    assert found.failed == ["hello"]


def test_a_round_is_kept_and_read_as_it_was(server: Scripted) -> None:
    server.stream(spoken("Bye."))
    found = done(Endpoint(server.url, "m"))
    assert Round.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def configured(folder: Path, url: str, *, prompts_file: str = "") -> Path:
    path = folder / "fixfirst.toml"
    file = f'prompts = "{prompts_file}"\n' if prompts_file else ""
    path.write_text(f'[[canary]]\nname = "chat"\nmodel = "llama-70b"\nurl = "{url}"\ntoken_env = "MODEL_TOKEN"\n{file}')
    return path


def test_the_command_shows_what_was_expected_and_what_came(tmp_path: Path, rig: Rig) -> None:
    path = configured(tmp_path, rig.url)
    well = fixfirst("canary", "--config", path, MODEL_TOKEN=TOKEN)
    assert well.returncode == 0, well.stdout + well.stderr
    assert f"chat (llama-70b): {len(SHIPPED)} of {len(SHIPPED)} prompts as expected" in well.stdout
    muddle(rig)
    target = tmp_path / "canary.prom"
    ill = fixfirst("canary", "chat", "--config", path, "--textfile", target, MODEL_TOKEN=TOKEN)
    assert ill.returncode == 1
    assert 'expected  contains "ready"' in ill.stdout
    assert 'got       "You said: Hello, how are you today?' in ill.stdout
    assert 'model_quality_score{model="llama-70b",metric="canary"}' in target.read_text()


def test_the_command_ends_with_2_where_nobody_answers(tmp_path: Path) -> None:
    path = configured(tmp_path, f"http://127.0.0.1:{free_port()}/v1")
    ended = fixfirst("canary", "--config", path, MODEL_TOKEN=TOKEN)
    assert ended.returncode == 2
    assert "no answer" in ended.stdout
    assert fixfirst("canary", "other", "--config", path, MODEL_TOKEN=TOKEN).returncode == 2


def test_a_fault_of_the_prompts_is_one_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[prompt]]\nname = "a"\n')
    told = fixfirst("check", "--config", configured(tmp_path, "http://x/v1", prompts_file="mine.toml"), MODEL_TOKEN="t")
    assert told.returncode == 2
    assert "canary[1].prompts: mine.toml prompt[1].prompt: is missing; set it" in told.stderr
