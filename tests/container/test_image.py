"""What the Dockerfile says about the image: who runs it, how it is known to live, and that it holds no secret.

Its install steps are run by tests/docs/test_install.py. Building and starting the image itself needs a container
engine, which the machines that test this project do not have; that was not done.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from bot.config import read
from tests.doors.house import open_house
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
IMAGE = DOCKERFILE.split("\nFROM ")[-1]
"""The last stage, which is what runs."""


def said(instruction: str) -> list[str]:
    """What the image's stage says with this instruction."""
    return re.findall(rf"^{instruction}\s+(.*)$", IMAGE, flags=re.MULTILINE)


def test_it_runs_as_a_user_of_its_own_that_owns_only_the_data_folder() -> None:
    (user,) = said("USER")
    (made,) = [step for step in said("RUN") if "useradd" in step]
    assert user not in ("root", "0")
    assert made.endswith(f" {user}")
    (home,) = re.findall(r"--home-dir (\S+)", made)
    assert said("VOLUME") == said("WORKDIR") == [home]
    assert not re.search(r"--chown|chmod", IMAGE)


def health_check(port: int) -> int:
    command = json.loads(said("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[0] == "python"
    script = [part.replace(":8080/", f":{port}/") for part in command[1:]]
    return subprocess.run([sys.executable, *script], capture_output=True, timeout=20, check=False).returncode


def test_its_health_check_knows_a_living_bot_from_a_dead_one(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        assert health_check(house.port) == 0
    assert health_check(free_port()) != 0


def test_the_ports_it_names_are_the_default_ones(tmp_path: Path) -> None:
    config, faults = read({"runbooks_dir": str(tmp_path)}, tmp_path, lambda _: None)
    assert config is not None, faults
    assert str(config.doors.port) in said("EXPOSE")
    assert f":{config.doors.port}/healthz" in said("HEALTHCHECK")[0]


def test_it_holds_no_secret_and_copies_only_what_it_names() -> None:
    assert not re.search(r"^(ARG|ENV)\s.*(FIXFIRST_|TOKEN|SECRET|KEY|PASSWORD)", DOCKERFILE, flags=re.MULTILINE)
    copied = {
        source for line in re.findall(r"^COPY (.*)$", DOCKERFILE, flags=re.MULTILINE) for source in line.split()[:-1]
    }
    assert copied == {
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "bot",
        "runbooks",
        "--from=build",
        "/opt/fixfirst",
    }
    assert not re.search(r"index-url|trusted-host|extra-index", DOCKERFILE)


def test_every_requirement_of_the_image_is_pinned_with_its_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) > 20
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ;]+", line), line
        assert "--hash=sha256:" in line, line
    assert "://" not in lock
