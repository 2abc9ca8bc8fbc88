"""The quick reading of YAML and the slow one give the same; the slow one alone says what is wrong."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.runbook import strict_yaml
from bot.runbook.strict_yaml import Block, read

PIECES = st.sampled_from(
    [
        *"\n\n\n\n  :,-[]{}\"'|>#&*!%@?~\t",
        "a",
        "b: ",
        "c: 1\n",
        "  d: x\n",
        "- e\n",
        "on",
        "010",
        "1.5",
        "{{ n }}",
        "f: >-\n",
        "g: |\n",
        "---\n",
        "...\n",
        '"\\n"',
        "''",
        ": ",
        " #",
        "{h: i}",
        "[j, k]",
        "é",
        "\U0001f600",
    ]
)


def slowly(text: str, monkeypatch: pytest.MonkeyPatch) -> Block:
    with monkeypatch.context() as patch:
        patch.setattr(strict_yaml, "_QUICK", None)
        return read(text, 1)


@settings(deadline=None, max_examples=1_500)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_both_readings_give_the_same_values_lines_and_faults(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert read(text, 1) == slowly(text, patch)


def test_libyaml_is_there_to_read_quickly() -> None:
    assert yaml.__with_libyaml__
