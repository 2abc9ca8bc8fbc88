"""Where else to look: templates of the settings, filled from the incident."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.incident import commands as cmd
from bot.incident.links import SLOTS, faults, links_of
from tests.core.case import START, Case

BOARD = "https://grafana.example.com/d/llm?var-model={model}&from={from_ms}&to={to_ms}"
SAMPLE = {"name": "LLMErrorRatioHigh", "labels": {"pod": "exporter-1", "exported_pod": "vllm-0", "Hostname": "node-7"}}


def burning(**fields: Any) -> Case:
    return Case().alerts(firing=1, new=1, model="llama-70b", samples=(SAMPLE,), **fields)


def test_a_link_leads_to_the_model_in_the_time_of_the_incident() -> None:
    case = burning()
    ((name, url),) = links_of(case.inc, {"Grafana": BOARD})
    asked = parse_qs(urlsplit(url).query)
    assert name == "Grafana"
    assert asked["var-model"] == ["llama-70b"]
    assert asked["from"] == [str(int(START.timestamp() - 30 * 60) * 1000)]
    assert asked["to"] == [str(int(START.timestamp() + 60 * 60) * 1000)]


def test_after_its_end_a_link_looks_no_further() -> None:
    case = burning().after(minutes=7).do(cmd.Resolve, reason="over", despite_firing=True)
    ((_, url),) = links_of(case.inc, {"Logs": "https://logs.example.com/?to={to_iso}"})
    assert url.endswith("to=2026-11-21T03%3A17%3A00Z")


def test_pod_and_node_are_those_that_the_alert_is_about() -> None:
    template = "http://logs.example.com/{pod}/{node}"
    assert links_of(burning().inc, {"Logs": template}) == (("Logs", "http://logs.example.com/vllm-0/node-7"),)


def test_a_link_that_the_incident_cannot_fill_is_left_out() -> None:
    assert links_of(burning().inc, {"GPU": "https://gpus.example.com/{gpu}", "All": "https://all.example.com"}) == (
        ("All", "https://all.example.com"),
    )


def test_whatever_a_label_holds_stays_a_value() -> None:
    case = Case().alerts(firing=1, new=1, model="a&admin=1#/../{node}|<script>")
    ((_, url),) = links_of(case.inc, {"Grafana": BOARD})
    parts = urlsplit(url)
    assert parts.netloc == "grafana.example.com"
    assert parts.path == "/d/llm"
    assert parts.fragment == ""
    assert parse_qs(parts.query)["var-model"] == ["a&admin=1#/../{node}|<script>"]
    assert not set("<>| ") & set(url)


@pytest.mark.parametrize(
    ("name", "template", "why"),
    [
        ("Grafana", "https://g.example.com/{modell}", "uses {modell}, which is no slot"),
        ("Grafana", "javascript:alert({model})", "must be an address"),
        ("Grafana", "ftp://g.example.com/", "must be an address"),
        ("Grafana", "https://{node}.example.com/", "only behind the host"),
        ("Grafana", "https://g.example.com/a b", "must be an address"),
        ("<b>", "https://g.example.com/", "must be named by"),
    ],
)
def test_a_template_that_cannot_lead_anywhere_good_is_a_fault(name: str, template: str, why: str) -> None:
    assert why in "; ".join(faults(name, template))


def test_every_slot_is_one_that_an_incident_can_fill() -> None:
    labels = {"namespace": "chat", "node": "node-7", "gpu": "3", "pod": "vllm-0"}
    case = Case().alerts(firing=1, new=1, model="m", service="s", samples=({"name": "A", "labels": labels},))
    for slot in SLOTS:
        template = f"https://x.example.com/{{{slot}}}"
        assert not list(faults("X", template))
        assert links_of(case.inc, {"X": template}), slot
