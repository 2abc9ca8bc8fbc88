"""A fleet on a clock that only moves when a test says so, and a reader of what it exports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.fleet.exposition import metrics

TOKEN = "fleet-token"
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass
class Clock:
    """Wall time that stands still until `tick`."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """The fleet, its clock, and what a scrape would say."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.fleet.advance(self.clock.now)

    def scrape(self) -> list[tuple[str, dict[str, str], float]]:
        found = []
        for line in self.fleet.render(metrics).splitlines():
            if not line.startswith("#"):
                match = SAMPLE.match(line)
                assert match, line
                found.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
        return found

    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Every sample of `name` whose labels include these."""
        return [
            (found, value)
            for metric, found, value in self.scrape()
            if metric == name and labels.items() <= found.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.samples(name, **labels))

    def error_ratio(self, model: str, seconds: float) -> float:
        """Share of 5xx among the requests of the next `seconds`."""
        before = self.total("http_requests_total", model_name=model)
        before_bad = self.total("http_requests_total", model_name=model, status="5xx")
        self.wait(seconds)
        requests = self.total("http_requests_total", model_name=model) - before
        return (self.total("http_requests_total", model_name=model, status="5xx") - before_bad) / requests


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def client(rig: Rig) -> Iterator[TestClient]:
    """Whoever may repair the fleet, at its doors."""
    with TestClient(Starlette(routes=fleet_app(rig.fleet, TOKEN))) as http:
        http.headers["authorization"] = f"Bearer {TOKEN}"
        yield http
