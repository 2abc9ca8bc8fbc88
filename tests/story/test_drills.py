"""Practice: a fault on purpose, an incident that says so, its end, and how well it went."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from bot.drills import Scenario
from bot.incident.logbook import Kind
from bot.incident.state import Status
from bot.journal import logbook
from tests.failover.look import looks
from tests.story.night import INTAKE, MAYA, SAM, Night, alert, told, webhook

LLAMA = {"service": "chat", "model_name": "llama-70b"}


class Switch(HTTPServer):
    """What a drill breaks: each word it was sent, in order; `refuses` is what it says no with.

    `says` is its yes, and `then` happens before it says so.
    """

    def __init__(self) -> None:
        self.heard: list[bool] = []
        self.refuses = 0
        self.loses_answers = False
        self.says = (204, b"")
        self.then: Callable[[], object] = lambda: None

        class Ear(BaseHTTPRequestHandler):
            server: "Switch"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.server.refuses:
                    self.send_error(self.server.refuses)
                    return
                self.server.heard.append(body["on"])
                if self.server.loses_answers:
                    self.send_error(500)
                    return
                self.server.then()
                status, said = self.server.says
                self.send_response(status)
                if said:
                    self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Nothing is said of it."""

        super().__init__(("127.0.0.1", 0), Ear)
        Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def switch() -> Iterator[Switch]:
    server = Switch()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def night(night: Night, switch: Switch, tmp_path: Path) -> Night:
    """A night on which three things can be practised: one that is broken, one that seems to be, one that once was."""
    (tmp_path / "storm.json").write_text(json.dumps(webhook(alert("f1"), alert("f2"))), encoding="utf-8")
    url = f"http://127.0.0.1:{switch.server_address[1]}/faults/bad-deploy"
    scenarios = {}
    tables: dict[str, dict[str, Any]] = {
        "bad-deploy": {"alerts": ["LLMErrorRatioHigh"], "labels": LLAMA, "url": url},
        "xid-79": {"alerts": ["GPUXidNeedsDrain"], "labels": {"node": "node-2"}, "about": "A GPU falls off the bus"},
        "the-storm-of-may": {"recorded": "storm.json"},
    }
    for name, values in tables.items():
        scenarios[name], faults = Scenario.from_toml(name, values, lambda _: None, tmp_path)
        assert faults == []
    night.stop_bot()
    night.config = replace(night.config, drills=scenarios)
    night.start_bot()
    return night


def test_a_fault_on_purpose_makes_a_marked_incident_and_is_taken_back_when_that_is_over(
    night: Night, switch: Switch
) -> None:
    assert "The drill bad-deploy has begun" in night.types(MAYA, "/incident drill bad-deploy")
    assert switch.heard == [True]
    night.burns()
    assert night.incident.title.startswith("Drill bad-deploy: ")
    assert night.incident.drill.startswith("bad-deploy-")
    channel = night.incident.channel
    night.after(seconds=40).types(MAYA, "/incident ack", channel)
    night.recovers()
    night.after(minutes=3).types(MAYA, "/incident mitigated rolled back", channel)
    night.types(MAYA, "/incident resolve it was practice", channel)
    (said,) = night.said("How the drill went")
    assert "acknowledged after 4" in told(said)
    assert "mitigated after 3 min" in told(said)
    assert "0 runbook steps taken: none" in told(said)
    night.app.drills.tidy()
    assert switch.heard == [True, False]
    assert night.app.drills.under_way() == []


def test_what_burns_beside_a_drill_is_none(night: Night) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.burns(service="search", model_name="mistral-small")
    assert night.incident.drill == ""
    assert not night.incident.title.startswith("Drill")


def test_what_only_seems_to_be_broken_fires_its_own_alerts_and_ends_them(night: Night) -> None:
    night.types(MAYA, "/incident drill xid-79")
    incident = night.incident
    assert incident.title == "Drill xid-79: A GPU falls off the bus"
    assert (incident.firing, incident.samples[0]["labels"]["node"]) == (1, "node-2")
    night.after(seconds=30)
    assert "1 drill ended" in night.types(MAYA, "/incident drill stop")
    night.settle()
    assert night.incident.firing == 0


def test_what_once_was_is_fired_again_as_it_was_said_and_nothing_of_it_joins_what_burns_now(night: Night) -> None:
    night.burns()
    real = night.incident
    night.types(MAYA, "/incident drill the-storm-of-may")
    practice = night.incident
    assert practice.id != real.id
    assert (practice.firing, practice.severity) == (2, real.severity)
    assert practice.title.startswith("Drill the-storm-of-may: ")
    assert practice.model == "llama-70b"
    assert practice.samples[0]["labels"]["alertname"] == "LLMErrorRatioHigh"
    night.after(seconds=30).types(MAYA, "/incident drill stop")
    found = night.app.journal.incident(practice.id), night.app.journal.incident(real.id)
    assert [one.firing for one in found if one] == [0, 1]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "recorded: gone.json cannot be read"),
        ("[]", "recorded: gone.json is no webhook of Alertmanager: the body must be a JSON object"),
        (json.dumps(webhook()), "recorded: gone.json holds no alert that fires"),
    ],
)
def test_a_recording_that_cannot_be_played_is_a_fault_of_the_configuration(
    tmp_path: Path, content: str | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "gone.json").write_text(content, encoding="utf-8")
    _, faults = Scenario.from_toml("x", {"recorded": "gone.json"}, lambda _: None, tmp_path)
    assert [one for one in faults if one.startswith(fault)] != []


def test_a_drill_that_nobody_ends_is_over_in_half_an_hour(night: Night, switch: Switch) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.after(minutes=29).app.drills.tidy()
    assert switch.heard == [True]
    night.after(seconds=70).app.drills.tidy()
    assert switch.heard == [True, False]
    kinds = [record.kind for record in night.app.journal.ask(logbook.records)]
    assert kinds == [Kind.DRILL_STARTED, Kind.DRILL_ENDED]


def test_what_could_not_be_broken_is_no_drill(night: Night, switch: Switch) -> None:
    switch.refuses = 403
    assert "could not begin: drills.bad-deploy" in night.types(MAYA, "/incident drill bad-deploy")
    assert night.app.drills.under_way() == []


def test_what_may_be_broken_although_no_good_answer_came_is_made_whole_or_said_to_be_open(
    night: Night, switch: Switch
) -> None:
    switch.loses_answers = True
    refused = night.types(MAYA, "/incident drill bad-deploy")
    assert "it may be broken all the same: `/incident drill stop` makes it whole" in refused
    assert switch.heard == [True, False], "it was tried"
    switch.loses_answers = False
    assert "1 drill ended" in night.types(MAYA, "/incident drill stop")
    assert switch.heard == [True, False, False]


@pytest.mark.parametrize("says", [(200, b"<html>It is broken now</html>"), (303, b"")])
def test_a_switch_that_was_turned_and_answers_strangely_is_turned_back(
    night: Night, switch: Switch, says: tuple[int, bytes]
) -> None:
    switch.says = says
    assert "it may be broken all the same" in night.types(MAYA, "/incident drill bad-deploy")
    assert switch.heard == [True, False]
    assert len(night.app.drills.under_way()) == 1, "nobody knows that it is whole"


def stands_still(night: Night) -> Callable[[], None]:
    """Nothing more is written until what comes back is called."""
    goes_on, at_it = Event(), Event()

    def holds(_: object) -> None:
        at_it.set()
        goes_on.wait(20)

    night.app.journal.write(holds)
    assert at_it.wait(5)
    return goes_on.set


def test_a_drill_whose_alerts_the_journal_does_not_take_is_not_said_to_be_nowhere_on_record(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, let_go = night.app.desk.receive, []

    def meanwhile(messages: Any) -> Future[list[int]]:
        let_go.append(stands_still(night))
        return receive(messages)

    with monkeypatch.context() as while_it_stands:
        while_it_stands.setattr(night.app.desk, "receive", meanwhile)
        night.bench.workspace.command(MAYA, INTAKE, "/incident drill xid-79")
        night.afterwards.run()
        let_go[0]()
    night.settle()
    refused = night.whispers(MAYA)[-1]
    assert "could not begin: the journal does not take its alerts; it may be on record all the same" in refused
    assert "nothing was recorded" not in refused
    assert len(night.app.drills.under_way()) == 1
    assert "1 drill ended" in night.types(MAYA, "/incident drill stop"), "as people were told"
    assert "has begun" in night.types(MAYA, "/incident drill xid-79")


def test_a_drill_whose_end_the_journal_does_not_take_is_said_to_go_on_and_the_others_end(
    night: Night, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.types(MAYA, "/incident drill xid-79")
    receive, let_go = night.app.desk.receive, []
    switch.then = lambda: let_go.append(stands_still(night))

    def at_last(messages: Any) -> Future[list[int]]:
        let_go[0]()
        return receive(messages)

    with monkeypatch.context() as while_it_stands:
        while_it_stands.setattr(night.app.desk, "receive", at_last)
        refused = night.types(MAYA, "/incident drill stop")
    assert "Not all could be made whole again: bad-deploy: the journal does not take it" in refused
    assert "xid-79" not in refused
    assert [one.scenario for one in night.app.drills.under_way()] == ["bad-deploy"]


def test_a_drill_whose_time_is_up_is_ended_however_late_somebody_looks(night: Night, switch: Switch) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.after(hours=9).crash()
    night.app.drills.tidy()
    assert switch.heard == [True, False]


def test_a_scenario_that_is_gone_is_said_to_be_so(night: Night, switch: Switch) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.stop_bot()
    night.config = replace(night.config, drills={"xid-79": night.config.drills["xid-79"]})
    night.start_bot()
    assert "not in fixfirst.toml any more; make whole by hand" in night.types(MAYA, "/incident drill stop")
    assert night.app.drills.under_way() == []


def test_what_could_not_be_made_whole_goes_on_being_a_drill_and_is_tried_again(night: Night, switch: Switch) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    switch.refuses = 503
    assert "Not all could be made whole again: bad-deploy" in night.types(MAYA, "/incident drill stop")
    assert len(night.app.drills.under_way()) == 1
    switch.refuses = 0
    assert "1 drill ended" in night.types(MAYA, "/incident drill stop")
    assert switch.heard == [True, False]


def test_everybody_hears_that_it_is_practice(night: Night) -> None:
    night.types(MAYA, "/incident drill xid-79")
    looks(night)
    assert night.said("began the drill xid-79", INTAKE) != []
    assert "xid-79" in night.types(SAM, "/incident drill")


def test_only_a_responder_begins_one_and_one_of_a_kind_goes_on_at_a_time(night: Night) -> None:
    assert "Only responders" in night.types(SAM, "/incident drill xid-79")
    night.types(MAYA, "/incident drill xid-79")
    assert "goes on already" in night.types(MAYA, "/incident drill xid-79")
    assert "There is no drill `earthquake`; there are bad-deploy, xid-79, the-storm-of-may." in night.types(
        MAYA, "/incident drill earthquake"
    )


def test_a_drill_survives_a_restart(night: Night, switch: Switch) -> None:
    night.types(MAYA, "/incident drill bad-deploy")
    night.crash()
    night.burns()
    assert night.incident.drill.startswith("bad-deploy-")
    assert night.stands(Status.OPEN)
    assert timedelta() < night.app.drills.under_way()[0].until - night.clock.now
