"""`fixfirst run ... --plan`: the whole of a runbook in a terminal, before anything is done."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from tests.story.night import Night, measuring
from tests.story.test_runbooks import CACHED, ERRORS, LLAMA, ROLLBACK

Types = Callable[..., Result]


@pytest.fixture
def types(night: Night) -> Types:
    """Types `fixfirst run ...` on the host of the night's bot, with its secrets in the environment."""

    def run(*words: str) -> Result:
        config = ("--config", str(night.bench.bot_config))
        return CliRunner().invoke(main, ["run", *words, *config], env=night.bench.secrets.bot_environment())

    return run


def test_every_step_is_shown_as_the_world_is_now_and_nothing_is_done(night: Night, types: Types) -> None:
    with measuring(night, {ERRORS: 0.3, CACHED: 0.3}):
        result = types(ROLLBACK, f"model={LLAMA}", "--plan")
    assert result.exit_code == 0, result.output
    title, *steps = result.stdout.split("\n\n")
    assert title == (
        f"Roll back a model deploy, on deploy/{LLAMA}. Nothing is done; each step is shown as the world is now."
    )
    check, look, act = steps
    assert check.startswith(f"1. Are the errors of {LLAMA} really up?  (only looks)\n   0.3 (want > 0.01): holds")
    assert look.startswith("2. Look at the change  (for a person)\n   [ ] The newest revision")
    assert act.startswith(f"3. Roll back {LLAMA}  (can be undone; undo: revision back to r41)")
    assert "revision: r41 → r40" in act
    assert "! New replicas load the weights first" in act
    assert "< 0.01 for 15 s, within 5 min; now 0.3 (want < 0.01)" in act
    assert night.bench.fleet.model(LLAMA)["revision"] == "r41"


def test_what_cannot_be_planned_is_said_and_the_rest_is_shown(night: Night, types: Types) -> None:
    result = types(ROLLBACK, "model=nobody", "--plan")
    assert result.exit_code == 1
    assert "could not be planned: " in result.stdout
    assert "2. Look at the change" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((ROLLBACK, f"model={LLAMA}"), 2, "carried out in an incident, by /incident run"),
        ((ROLLBACK, LLAMA, "--plan"), 2, "write the value of a parameter as NAME=VALUE"),
        ((ROLLBACK, "--plan"), 1, "model: a value is needed"),
        ((ROLLBACK, f"modle={LLAMA}", "--plan"), 1, "modle: this runbook has no such parameter"),
        ((ROLLBACK, 'model=x"} or vector(1) #', "--plan"), 1, "model: "),
        (("roll-forward", "--plan"), 1, "There is no runbook roll-forward; there are"),
    ],
)
def test_a_mistake_is_a_sentence(types: Types, words: tuple[str, ...], code: int, said: str) -> None:
    result = types(*words)
    assert result.exit_code == code, result.output
    assert said in result.stderr
