"""Reference data that lies beside the project: real scrapes, payloads, schemas. `make reference DATA=FOLDER`."""

from pathlib import Path

import pytest

from tests.health.conftest import remembering

__all__ = ["remembering"]


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Path:
    """The folder of reference data."""
    folder = pytestconfig.getoption("--reference")
    assert isinstance(folder, Path)
    assert folder.is_dir(), f"{folder} is no folder"
    return folder
