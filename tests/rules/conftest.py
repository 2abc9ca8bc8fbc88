"""A real Prometheus with an invented past and rules that it has loaded."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.health.conftest import Past, needed, prometheus

Loaded = Callable[[Past, str], str]


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    """Gives a function that starts a Prometheus with this past and these rules, and returns its address."""
    with ExitStack() as running:

        def start(past: Past, rules: str) -> str:
            (tmp_path / "past.om").write_text(past.text())
            (tmp_path / "loaded.rules.yml").write_text(rules)
            files = [str(tmp_path / "past.om"), str(tmp_path / "data")]
            command = [needed("promtool"), "tsdb", "create-blocks-from", "openmetrics", *files]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            config = f"global: {{evaluation_interval: 1h}}\nrule_files: ['{tmp_path / 'loaded.rules.yml'}']\n"
            return running.enter_context(prometheus(tmp_path, config))

        yield start


@pytest.fixture
def remembering(loaded: Loaded) -> Callable[[Past], str]:
    """The same without rules."""
    return lambda past: loaded(past, "groups: []\n")
