"""The list of commands in docs/configuration.md is one that is read."""

import os
import pwd
import re
import tomllib
from pathlib import Path

import pytest

from bot.incident.run import Risk
from bot.integrations import shell
from bot.settings import Table

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_the_list_on_the_page_has_no_fault(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(\[gpu-diag\].*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(tomllib.loads(block)) == 2
    file = tmp_path / "commands.toml"
    me = pwd.getpwuid(os.geteuid()).pw_name
    nobody = re.sub(r'^user = ".*"\n', "", block, flags=re.MULTILINE)
    file.write_text(nobody.replace("argv =", f'user = "{me}"\nargv ='))
    file.chmod(0o600)
    commands, faults = shell.read(file, lambda _: "canary-7f3a")
    assert faults == []
    assert commands["gpu-diag"].risk is Risk.READ


def test_every_key_of_a_command_is_on_the_page_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    monkeypatch.setattr(Table, "done", lambda table: asked.update(table._asked))
    file = tmp_path / "commands.toml"
    file.write_text('[a]\nargv = ["/bin/true"]\n')
    file.chmod(0o600)
    shell.read(file, lambda _: None)
    section = PAGE.partition("## The list of commands")[2].partition("## The environment")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == asked
