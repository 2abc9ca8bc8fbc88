"""The install steps of the Dockerfile, run as they stand there in an empty folder, and what they install, started.

Building the image needs a Docker daemon, which build machines need not have; its steps need only Python and an index.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bot.workbench.children import Child, is_up
from tests.servers import free_ports

ROOT: Final = Path(__file__).parents[2]
PREFIX: Final = "/opt/fixfirst"
PASSED_ON: Final = ("PIP_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http", "no_proxy")
"""What a machine may need to reach its package index; of everything else only PATH and HOME are there."""
LONGEST_S: Final = 300


def first_stage(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The instructions of the stage that installs, each with its arguments."""
    stages = 0
    for line in dockerfile.replace("\\\n", " ").splitlines():
        instruction, _, arguments = line.partition(" ")
        stages += instruction == "FROM"
        if stages == 1 and instruction not in ("", "#", "FROM", "WORKDIR"):
            yield instruction, arguments


def bare_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHON_OF_THE_IMAGE": sys.executable,
        **kept,
    }


def run(step: str, folder: Path, prefix: Path) -> None:
    """One RUN; `python` is the one that runs this test, and the prefix lies in the test's own folder."""
    script = f'python() {{ "$PYTHON_OF_THE_IMAGE" "$@"; }}\n{step.replace(PREFIX, str(prefix))}'
    ended = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    if ended.returncode and "Retrying (Retry(" in ended.stdout + ended.stderr:
        pytest.skip("no package index can be reached, so the install steps were not run")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the Dockerfile's steps have installed the bot."""
    folder, prefix = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("opt") / "fixfirst"
    for instruction, arguments in first_stage((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if instruction == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                copy(ROOT / source, folder / target)
        else:
            assert instruction == "RUN", f"{instruction} is not known to this test"
            run(arguments, folder, prefix)
    return prefix


def copy(source: Path, target: Path) -> None:
    """As COPY does: a folder's content, or a file into a folder."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def test_what_the_dockerfile_installs_serves_both_listeners(installed: Path, tmp_path: Path) -> None:
    doors, pages = free_ports(2)
    config = tmp_path / "fixfirst.toml"
    config.write_text(f"[doors]\nport = {doors}\n[pages]\nport = {pages}\n", encoding="utf-8")
    bot = Child(
        "The installed bot",
        ["env", "-i", str(installed / "bin" / "fixfirst"), "serve", "--config", str(config)],
        log=tmp_path / "bot.log",
        ready_url=f"http://127.0.0.1:{doors}/healthz",
    )
    bot.start()
    try:
        bot.wait_ready(90)
        for path in ("/", "/postmortems", "/runbooks", "/static/pages.css", "/health/ready", "/metrics"):
            assert is_up(f"http://127.0.0.1:{pages}{path}", timeout=5), bot.log_tail()
    finally:
        bot.stop()
    assert (tmp_path / "data" / "fixfirst.db").exists()


def test_the_shipped_runbooks_come_along(installed: Path) -> None:
    shipped = installed / "share" / "fixfirst" / "runbooks"
    assert sorted(path.name for path in shipped.iterdir()) == sorted(
        path.name for path in (ROOT / "runbooks").glob("*.md")
    )


def test_what_is_installed_knows_its_version_and_checks_the_example(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "fixfirst.example.toml", tmp_path / "fixfirst.toml")
    text = (tmp_path / "fixfirst.toml").read_text(encoding="utf-8")
    secrets = [f"{name}=secret-for-a-test-0123" for name in sorted(set(re.findall(r"[A-Z]+_[A-Z_]+(?<!_)", text)))]
    for arguments, expected in (
        (["--version"], "fixfirst, version "),
        (["check"], "16  runbooks in " + str(installed / "share" / "fixfirst" / "runbooks")),
    ):
        ended = subprocess.run(
            ["env", "-i", *secrets, str(installed / "bin" / "fixfirst"), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert expected in ended.stdout
