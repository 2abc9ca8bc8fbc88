"""`flag.set` on a file of flags, evaluated by OpenFeature's own flagd provider."""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType

from bot.contracts import Observed, Permanent, Plan
from bot.integrations.flags import Set, Target

FLAGS = """\
{ "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "other":   {"state":"ENABLED","variants":{"on":true,"off":false},   "defaultVariant":"off"},
    "serve-from-cache": {
      "state": "ENABLED",
      "variants": {"on": "cache \\u00fc", "off": "model", "defaultVariant": "decoy"},
      "defaultVariant" : "off"
    },
    "aimed": {"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
              "targeting": {"if": [{"==": [{"var": "tier"}, "batch"]}, "on", "off"]}},
    "asleep": {"state": "DISABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"}
  }
}
"""
STEP = {"target": "gateway", "flag": "serve-from-cache", "variant": "on"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    path.write_text(FLAGS)
    path.chmod(0o640)
    return path


@pytest.fixture
def act(file: Path) -> Set:
    names = ["serve-from-cache", "aimed", "asleep", "missing"]
    target, faults = Target.from_toml("gateway", {"file": str(file), "flags": names}, lambda _: None)
    assert faults == []
    assert target is not None
    return Set({"gateway": target})


@pytest.fixture
def evaluated(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What an application that uses OpenFeature gets for the flag."""
    monkeypatch.setenv("FLAGD_OFFLINE_POLL_MS", "50")
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file))
    api.set_provider_and_wait(provider)
    yield api.get_client()
    api.shutdown()


def comes_to(client: Any, wanted: str) -> bool:
    limit, pause = time.monotonic() + 30, threading.Event()
    while (found := client.get_string_value("serve-from-cache", "nothing")) != wanted and time.monotonic() < limit:
        pause.wait(0.02)
    return bool(found == wanted)


def stored(plan: Plan) -> Plan:
    return replace(plan, **json.loads(json.dumps({"request": plan.request, "before": plan.before})))


def test_an_application_sees_the_flag_switched_and_switched_back(act: Set, evaluated: Any) -> None:
    assert comes_to(evaluated, "model")
    plan = stored(act.plan(STEP))
    assert act.observe(plan) is Observed.NOT_DONE
    act.apply(plan, "k")
    assert act.observe(plan) is Observed.DONE
    assert comes_to(evaluated, "cache ü")
    act.undo(plan, "u")
    act.undo(plan, "u")
    assert comes_to(evaluated, "model")


def test_only_the_one_word_changes(act: Set, file: Path) -> None:
    plan = act.plan(STEP)
    assert plan.lines == ("serve-from-cache: off → on", f"in {file}")
    assert plan.undo == "serve-from-cache back to off"
    assert file.read_text() == FLAGS
    act.apply(plan, "k")
    assert file.read_text() == FLAGS.replace('"defaultVariant" : "off"', '"defaultVariant" : "on"')
    assert file.stat().st_mode & 0o7777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["flags.json"]
    act.undo(plan, "u")
    assert file.read_text() == FLAGS


def test_a_second_apply_writes_nothing(act: Set, file: Path) -> None:
    plan = act.plan(STEP)
    act.apply(plan, "k")
    written = file.stat().st_ino
    act.apply(plan, "k")
    assert file.stat().st_ino == written
    assert act.plan(STEP).warnings == ("it is so already: nothing will be written",)


def test_what_somebody_else_switched_meanwhile_is_left_alone(act: Set, file: Path) -> None:
    plan = act.plan(STEP)
    theirs = FLAGS.replace('"defaultVariant" : "off"', '"defaultVariant" : "defaultVariant"')
    file.write_text(theirs)
    with pytest.raises(Permanent, match="serve-from-cache was off, is defaultVariant; preview"):
        act.apply(plan, "k")
    assert act.observe(plan) is Observed.UNKNOWN
    with pytest.raises(Permanent, match="is defaultVariant now, which this step did not set; look before undoing"):
        act.undo(plan, "u")
    assert file.read_text() == theirs


def test_a_link_stays_a_link(act: Set, file: Path) -> None:
    real = file.with_name("real.json")
    file.rename(real)
    file.symlink_to(real)
    act.apply(act.plan(STEP), "k")
    assert file.is_symlink()
    assert '"defaultVariant" : "on"' in real.read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"flag": "other"}, "'gateway' does not let 'other' be switched; it lets serve-from-cache"),
        ({"flag": "missing"}, "holds no flag 'missing'"),
        ({"flag": "asleep"}, "asleep is not ENABLED, so no variant of it holds"),
        ({"variant": 'on", "x": "'}, 'has no variant \'on", "x": "\'; it has defaultVariant, off, on'),
        ({"target": "x"}, r"no target 'x' is configured under \[flags\]; known: gateway"),
    ],
)
def test_what_cannot_be_switched_is_a_sentence(act: Set, file: Path, args: dict[str, str], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        act.plan(STEP | args)
    assert file.read_text() == FLAGS


def test_targeting_rules_are_said(act: Set) -> None:
    warnings = act.plan(STEP | {"flag": "aimed"}).warnings
    assert warnings == ("it has targeting rules: whom they match does not follow the default variant",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"flags": {"a": 1, "a": 2}}', "is not JSON: 'a' stands there twice"),
        (b'{"flags": []}', "holds no flag"),
        (b"\xff", "is not UTF-8"),
        (b'{"flags": {"serve-from-cache": {"variants": {"on": 1}}}}', "has no default variant"),
        (b" " * 5_000_000, "is larger than 4 MiB"),
    ],
)
def test_a_file_that_is_no_file_of_flags_is_a_sentence(act: Set, file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(Permanent, match=words):
        act.plan(STEP)
    assert file.read_bytes() == content


def test_a_file_that_is_gone_is_a_sentence(act: Set, file: Path) -> None:
    file.unlink()
    with pytest.raises(Permanent, match="cannot be read: No such file"):
        act.plan(STEP)


def test_a_crash_in_the_middle_leaves_the_old_file_whole(act: Set, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment before the rename, as a lost machine would have it."""
    plan = act.plan(STEP)

    def dies(_: int) -> None:
        assert file.read_text() == FLAGS
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", dies)
        with pytest.raises(KeyboardInterrupt):
            act.apply(plan, "k")
    assert file.read_text() == FLAGS
    assert act.observe(plan) is Observed.NOT_DONE
    act.apply(plan, "k")
    assert act.observe(plan) is Observed.DONE


def test_what_somebody_writes_at_the_same_moment_stays(act: Set, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = act.plan(STEP)
    theirs = FLAGS.replace('"state":"ENABLED"', '"state":"DISABLED"')

    def meanwhile(_: int) -> None:
        file.write_text(theirs)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(Permanent, match="was changed by somebody else at this very moment; try again"):
        act.apply(plan, "k")
    assert file.read_text() == theirs
    assert [path.name for path in file.parent.iterdir()] == ["flags.json"]
