"""What other systems send, as captured or documented: our doors take it, and what we ship fits their schemas."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from bot.health import xid
from bot.intake.reading import Reading
from bot.integrations import SOURCES
from bot.workbench.launch import MANIFEST
from tests.doors.house import open_house
from tests.story.night import Night, open_night


@pytest.mark.parametrize(
    ("name", "firing"),
    [
        ("alertmanager.json", 2),
        ("alertmanager_resolved.json", 0),
        ("alertmanager_real_firing_1.json", 1),
        ("alertmanager_real_resolved_1.json", 0),
        ("alertmanager_real_grouped_50_firing.json", 50),
        ("alertmanager_real_storm_1000_firing.json", 1000),
        ("alertmanager_real_storm_truncated_max_alerts_100.json", 100),
    ],
)
def test_every_webhook_of_a_real_alertmanager_is_read_whole(data: Path, name: str, firing: int) -> None:
    body = (data / "payloads" / name).read_bytes()
    message = SOURCES["alertmanager"](body, Reading())
    assert sum(one.firing for one in message.deliveries) == firing
    assert len(message.deliveries) == len(json.loads(body)["alerts"])


def test_a_webhook_of_a_real_alertmanager_becomes_an_incident(data: Path, tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        assert _posted(night, (data / "payloads" / "alertmanager_real_firing_1.json").read_bytes()) == 200
        assert night.incident.firing == 1


def _posted(night: Night, body: bytes) -> int:
    token = night.bench.secrets.alertmanager_token
    status, _ = night.post("/hooks/alertmanager", body, {"Authorization": f"Bearer {token}"})
    night.settle()
    return status


def test_every_documented_event_of_pagerdutys_is_welcome(data: Path, tmp_path: Path) -> None:
    told = json.loads((data / "payloads" / "pagerduty_all.json").read_text(encoding="utf-8"))
    (envelope, *_), kinds = told["events"], told["data_types"]
    with open_house(tmp_path) as house:
        for event in told["events"]:
            assert house.pager(event).status == 202, event["event"]["event_type"]
        for number, (kind, inner) in enumerate(kinds.items()):
            sent = {**envelope["event"], "id": f"01{number}", "event_type": f"incident.{kind}", "data": inner}
            assert house.pager({"event": sent}).status == 202, kind
        house.turn()


def test_the_app_manifest_fits_slacks_own_schema(data: Path) -> None:
    schema = json.loads((data / "slack" / "manifest.schema.json").read_text(encoding="utf-8"))
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    faults = [f"{e.json_path}: {e.message}" for e in Draft7Validator(schema).iter_errors({"manifest": manifest})]
    assert faults == []


def test_the_table_of_xids_holds_the_whole_catalogue(data: Path) -> None:
    with (data / "gpu" / "xid_catalog.csv").open(encoding="utf-8") as file:
        rows = {int(row["xid"]): row for row in csv.DictReader(file)}
    assert len(rows) == 172
    assert xid.XIDS.keys() == rows.keys()
    fatal = {number for number, row in rows.items() if row["eks_fatal"] == "yes"}
    mild = {n for n in fatal if xid.explain(n).severity == "ok"}
    assert mild == set(), "fatal to others, and nothing to us"
    # Where one calls for a machine and another for nothing at all, the table says that they differ.
    for number, row in rows.items():
        ignored = row["nvidia_immediate"] in ("IGNORE", "")
        if ignored and (row["gpud_event_type"] == "Fatal" or row["eks_fatal"] == "yes"):
            assert xid.explain(number).note, f"Xid {number}: NVIDIA ignores it, others call it fatal"
