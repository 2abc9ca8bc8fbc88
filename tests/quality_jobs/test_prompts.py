"""Prompts and the properties of their answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.quality import prompts
from bot.quality.judge import Answer, differing, judge
from bot.quality.prompts import Prompt


def prompt(folder: Path, **values: Any) -> Prompt:
    (folder / "p.jsonl").write_text(json.dumps({"name": "p", "prompt": "Go on.", **values}))
    found, faults = prompts.read(folder / "p.jsonl")
    assert faults == []
    return found[0]


def answer(text: str, finish: str = "stop", first: float | None = 0.2, whole: float = 1.0) -> Answer:
    return Answer(text, finish, first, whole, 10)


@pytest.mark.parametrize(
    ("wanted", "good", "bad", "expected"),
    [
        ({"contains": ["Paris"]}, answer("It is paris."), answer("It is Rome."), 'contains "Paris"'),
        ({"any_of": ["4", "four"]}, answer("Four."), answer("Five."), 'contains one of "4", "four"'),
        ({"not_contains": ["<|"]}, answer("Hello."), answer("Hello.<|im_end|>"), 'does not contain "<|"'),
        ({"regex": r"\A\d+\Z"}, answer(" 42 "), answer("about 42"), r"matches \A\d+\Z"),
        ({"json": True}, answer("[1, 2]"), answer("Sure! [1, 2]"), "valid JSON"),
        ({"json_keys": ["a"]}, answer('```json\n{"a": 1}\n```'), answer('{"b": 1}'), "a JSON object with a"),
        ({"letters": "latin"}, answer("Süß, 3 km."), answer("The sky สวัสดี"), "latin letters only"),
        ({"max_chars": 5}, answer("Hello"), answer("Hello!"), "1 to 5 characters"),
        ({}, answer("Hello"), answer("   "), "1 to 20000 characters"),
        ({}, answer("Hello", finish=""), answer("Hello", finish="length"), "ends with stop"),
        ({"finish_reason": ["length"]}, answer("Hello", finish="length"), answer("Hello"), "ends with length"),
        ({"first_token_within": "1s"}, answer("a", first=0.9), answer("a", first=1.1), "first token within 1 s"),
        ({"answer_within": "2s"}, answer("a", whole=1.9), answer("a", whole=2.1), "answered within 2 s"),
        ({"contains": ["b"]}, answer("<think>a?</think>b"), answer("<think>b?</think>a"), 'contains "b"'),
    ],
)
def test_each_property_tells_a_good_answer_from_a_bad_one(
    tmp_path: Path, wanted: dict[str, Any], good: Answer, bad: Answer, expected: str
) -> None:
    asked = prompt(tmp_path, **wanted)
    assert judge(asked, good) == []
    assert [fault.expected for fault in judge(asked, bad)] == [expected]


def test_an_answer_that_came_in_one_piece_has_its_first_token_at_the_end(tmp_path: Path) -> None:
    asked = prompt(tmp_path, first_token_within="1s")
    assert [fault.got for fault in judge(asked, answer("a", first=None, whole=3.0))] == ["3.00 s"]


def test_what_is_shown_of_an_answer_is_short_and_holds_no_secret(tmp_path: Path) -> None:
    asked = prompt(tmp_path, contains=["no"])
    (fault,) = judge(asked, answer("password=hunter2-hunter2 " + "x" * 500))
    assert "hunter2" not in fault.got
    assert len(fault.got) < 200


def test_answers_that_should_be_the_same_are_compared(tmp_path: Path) -> None:
    asked = prompt(tmp_path, same=True)
    assert differing(asked, [answer("a"), answer("a ")]) == []
    assert [fault.got for fault in differing(asked, [answer("a"), answer("b")])] == ['"b"']
    assert differing(prompt(tmp_path), [answer("a"), answer("b")]) == []


def test_the_shipped_set_is_read_from_toml() -> None:
    found, faults = prompts.read(prompts.SHIPPED)
    assert faults == []
    assert 8 <= len(found) <= 12
    repeats = next(one for one in found if one.name == "repetition")
    assert repeats.regex is not None
    assert repeats.regex.search("A bicycle has two wheels.\nIt has pedals, pedals are good.")
    assert not repeats.regex.search("A bicycle.\nIt has wheels wheels wheels wheels.")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"name": "A", "prompt": "x"}', "prompt[1].name: is 'A', but must be 1 to 40 small letters"),
        ('{"name": "a"}', "prompt[1].prompt: is missing"),
        ('{"name": "a", "prompt": "x", "contain": ["y"]}', "did you mean contains?"),
        ('{"name": "a", "prompt": "x", "regex": "("}', "is no regular expression"),
        ('{"name": "a", "prompt": "x"}\n{"name": "a", "prompt": "y"}', "prompt[2].name: is a, as another's"),
        ("", "holds 0 prompts"),
        ("[1]", "each prompt must be a table"),
        ("{", "is neither TOML with [[prompt]] nor JSON lines"),
    ],
)
def test_every_fault_of_a_file_is_a_sentence(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "p.jsonl").write_text(text)
    assert fault in "\n".join(prompts.read(tmp_path / "p.jsonl")[1])
