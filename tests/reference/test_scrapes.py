"""What real exporters once said, as the last half hour of a real Prometheus: the report must read it rightly."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.health import Observation, Telemetry
from tests.health.conftest import PAST, Past

Remembering = Callable[[Past], str]

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
COUNTS = re.compile(r".*(_bucket|_count|_sum|_total)$|nv_inference_(request_success|request_failure|.*_us|count)$")


def samples(path: Path) -> Iterator[tuple[str, dict[str, str], float]]:
    """Every sample of a scrape."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") and (match := SAMPLE.fullmatch(line.strip())):
            yield match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"])


def read(past: Past, path: Path, job: str) -> None:
    """The scrape as it would be met three hours after the exporter's start: counters have grown to what they say."""
    for name, labels, value in samples(path):
        scraped = {**labels, "job": job, "instance": f"{job}:9000"}
        if COUNTS.match(name):
            past.gauge(name, scraped, lambda t, value=value: value * t / PAST)  # type: ignore[misc]
        else:
            past.gauge(name, scraped, value)


def seen(url: str) -> dict[str, Observation]:
    return {one.check: one for one in Telemetry(url).survey()}


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("sglang_overloaded_docs.prom", {"U2": "crit", "U2b": "crit", "U3": "crit", "U4": "ok", "E1": "ok"}),
        ("triton_excerpt_datadog.prom", {"U1": "ok", "U2": "ok"}),
        ("vllm_opt125m_datadog.prom", {"U2": "ok", "U3": "ok", "U4": "ok", "E1": "ok", "E2": "ok"}),
        ("dcgm_exporter_t4_datadog.prom", {"H1": "ok", "H2": "ok", "H3": "ok"}),
    ],
)
def test_what_a_real_exporter_said_is_read_as_documented(
    data: Path, remembering: Remembering, name: str, checks: dict[str, str]
) -> None:
    past = Past()
    read(past, data / "gpu" / name, "scraped")
    found = seen(remembering(past))
    assert {check: found[check].status for check in checks} == checks, {c: found[c].text for c in checks}


def test_the_overloaded_server_waits_longer_than_its_histogram_can_say(data: Path, remembering: Remembering) -> None:
    """Mean 213.7 s, and the last finite bucket ends at 30 s."""
    past = Past()
    read(past, data / "gpu" / "sglang_overloaded_docs.prom", "scraped")
    found = seen(remembering(past))
    assert "30" in found["U2"].text
    assert "least" in found["U2"].text or "≥" in found["U2"].text or ">=" in found["U2"].text
    assert found["U2b"].value == pytest.approx(0.987, abs=0.002)
    assert found["U3"].value == 2826
