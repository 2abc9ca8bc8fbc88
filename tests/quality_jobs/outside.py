"""Files and programs that these tests hold the jobs against."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

ROOT = Path(__file__).parents[2]


def csv_file(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """A CSV file; None is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def parquet_file(path: Path, columns: Mapping[str, Sequence[object]], rows_per_group: int = 1_000) -> Path:
    """A Parquet file of several row groups."""
    parquet.write_table(pa.table(dict(columns)), path, row_group_size=rows_per_group)
    return path


def fixfirst(*arguments: str | Path, folder: Path | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, as cron starts it."""
    return subprocess.run(
        [sys.executable, "-m", "bot.cli", *map(str, arguments)],
        cwd=folder or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
