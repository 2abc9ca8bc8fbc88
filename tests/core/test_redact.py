"""What is blanked and what is left: each rule by its own examples, and a day's logs with nothing in them to find."""

import json
import re
import time

import pytest

from bot.incident.redact import BLANK, holds_secret, redact, redact_all, redact_named, redact_texts
from bot.incident.secret_kinds import RULES, Rule
from tests.core.everyday import VALUES, lines
from tests.core.planted import heart_of

HITS = [(rule, example) for rule in RULES for example in rule.examples]
NAMES = [f"{rule.name} {nth}" for rule in RULES for nth, _ in enumerate(rule.examples, start=1)]


@pytest.mark.parametrize(("rule", "example"), HITS, ids=NAMES)
def test_each_rule_blanks_its_examples_wherever_they_stand(rule: Rule, example: str) -> None:
    gone = heart_of(example)
    for text in (example, f"the log said: {example}", f"llama-70b, {example}\nand more", f"\\n{example}"):
        assert gone not in redact(text), rule.name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_leaves_alone_what_only_looks_alike(rule: Rule) -> None:
    assert redact(rule.miss) == rule.miss


@pytest.mark.parametrize(("rule", "example"), HITS, ids=NAMES)
def test_what_is_blanked_stays_as_it_is(rule: Rule, example: str) -> None:
    once = redact(example)
    assert redact(once) == once, rule.name


def test_on_an_ordinary_day_less_than_one_line_in_a_hundred_is_touched() -> None:
    day = lines()
    touched = [(line, redact(line)) for line in day if redact(line) != line]
    assert len(day) >= 1_000
    assert len(touched) < len(day) / 100, touched[:5]


@pytest.mark.parametrize(
    "shape", ["{digest}", "{uuid}", "{trace}", "{span}", "{commit}", "{gpu}", "{pod}", "{node}", "{nanoseconds}"]
)
def test_what_people_look_things_up_by_always_survives(shape: str) -> None:
    for _ in range(200):
        value = VALUES[shape.strip("{}")]()
        assert redact(f"see {value}.") == f"see {value}."


def test_what_is_left_says_what_was_there() -> None:
    assert redact("password=correct-horse host=db") == f"password={BLANK} host=db"
    assert redact("postgresql://app:hunter22@db/inference") == f"postgresql://app:{BLANK}@db/inference"
    assert redact("redis://default:hun/ter22@host:1/0") == f"redis://default:{BLANK}@host:1/0"
    assert redact("https://user:p@ss:w/ord@host") == f"https://user:{BLANK}@host"
    assert redact("pip git+https://x:a/b@github.com/org/repo@v1") == f"pip git+https://x:{BLANK}@github.com/org/repo@v1"
    assert redact("redis://u:p@cache,redis://u:q@other") == f"redis://u:{BLANK}@cache,redis://u:{BLANK}@other"
    assert redact("curl -su admin:hunter22 http://x") == f"curl -su admin:{BLANK} http://x"
    assert redact("ask maya@example.com") == "ask [e-mail]"
    assert redact("paid with 4111 1111 1111 1111") == "paid with [card]"


def test_a_label_with_a_secret_s_name_is_blanked_whatever_it_holds() -> None:
    assert redact_named("db_password", "tulip") == BLANK
    assert redact_named("token", "abcdefgh") == BLANK
    assert redact_named("max_tokens", "4096") == "4096"
    assert redact_named("service", "chat") == "chat"


def test_a_document_stays_a_document() -> None:
    key = "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0"
    document = {
        "labels": {"api_key": "abcdefgh", "note": key, "version": "r42"},
        "values": [4111111111111111, 0.3, None],
    }
    again = json.loads(json.dumps(redact_all(document)))
    assert again == {"labels": {"api_key": BLANK, "note": BLANK, "version": "r42"}, "values": document["values"]}


def test_a_secret_is_told_from_an_address_of_a_person() -> None:
    assert holds_secret({"deploy": {"token": "abcdefgh"}})
    assert not holds_secret({"owner": "maya@example.com", "revision": "r42"})


BAITS = (
    *(
        "a",
        "a@",
        "a@b.",
        "://",
        "4111 ",
        "password ",
        "token: a ",
        "eyJaaaaaaaaaaa",
        "sk-",
        "cookie: a",
        "bearer aaaaa",
    ),
    *("authorization: ", "hooks.slack.com/services/", "-----BEGIN PRIVATE KEY-----"),
    *("token:", "token:.", "secret:", "api_key:", "credentials:", "cookie:a"),
    *("curl ", "curl -u a", "curl -u:", "://a:a/", "://a:@", "://a:b@a.", "a://a:a@a.a@"),
)


@pytest.mark.parametrize("bait", BAITS)
def test_a_text_made_to_be_slow_is_read_in_one_go(bait: str) -> None:
    before = time.thread_time()
    redact(bait * (100_000 // len(bait)))
    assert time.thread_time() - before < 1.0


def spent_on(text: str) -> float:
    before = time.thread_time()
    redact(text)
    return time.thread_time() - before


SEPARATORS = ("", ":", "=", ": ", ":.", ":a", ":'", ': "', "://", "@", "@a.", ".", "-", "_", " ", "\n", " -u ")


def fragments_of(rule: Rule) -> set[str]:
    """What the rule's examples begin with, and their words with what may stand between two of them."""
    words = {word for example in rule.examples for word in re.findall(r"[A-Za-z]{1,15}", example)}
    begun = {example[: end.end()] for example in rule.examples for end in re.finditer(r"\w+|\W+", example, re.ASCII)}
    return begun | {f"{word}{separator}" for word in words for separator in SEPARATORS}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_twice_as_much_of_what_a_rule_begins_with_takes_twice_as_long(rule: Rule) -> None:
    """A first look at 8,000 characters leaves out what is quick; quadratic is what takes four times as long."""
    for fragment in fragments_of(rule):
        for tail in ("!", "\n"):
            if spent_on(fragment * (8_000 // len(fragment)) + tail) < 0.016:
                continue
            once, twice = (
                min(spent_on(fragment * (length // len(fragment)) + tail) for _ in range(3))
                for length in (20_000, 40_000)
            )
            assert twice < max(0.1, 3 * once), (fragment, tail)


TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3


@pytest.mark.parametrize("shows", [4, 14, 20])
def test_a_key_across_the_place_where_a_text_is_cut_leaves_no_beginning(shows: int) -> None:
    kept = redact_texts({"summary": "x" * (999 - shows) + " " + TOKEN}, 100, 1_000)
    assert kept["summary"].rstrip("]secrt[") == "x" * (999 - shows) + " "


def test_a_key_in_the_name_of_a_label_is_blanked() -> None:
    assert redact_texts({f"was {TOKEN}": "x"}, 100, 100) == {"was [secret]": "x"}
    assert redact_texts({"y" * 90 + f" {TOKEN}": "x"}, 100, 100) == {"y" * 90 + " [secret]": "x"}
    assert redact_all({"labels": {TOKEN: "x", 1: ["y"]}}) == {"labels": {"[secret]": "x", 1: ["y"]}}
