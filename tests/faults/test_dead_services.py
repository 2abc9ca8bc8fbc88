"""A service outside is dead for long: people are woken all the same, nothing is lost, and its return is no flood."""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path

from bot.incident import events as ev
from bot.incident.state import Incident, Status
from bot.workbench.server import bind
from bot.workbench.slack.faults import Fault
from tests.doors.house import alert as house_alert
from tests.doors.house import webhook
from tests.faults.process import eventually, started
from tests.story.night import INTAKE, MAYA, Night, alert, open_night, told
from tests.story.outage import open_outage

WHOLE = os.environ.get("CHAOS") == "all"
ALERTS = 500
GROUPS = 50 if WHOLE else 10
BEFORE = GROUPS // 2
"""Groups that burn before Slack is gone."""
SLACK_WAS_AWAY = timedelta(minutes=15)
HANGING = 30
GIVEN_UP_AFTER_S = 7
UNANSWERED = "did not answer within"
PAGED_WITHIN = timedelta(seconds=30)
SLACK_DOWN = {"service_unavailable", "ratelimited", "fatal_error", "internal_error", "name_taken"}


def incidents(night: Night) -> tuple[Incident, ...]:
    return night.app.journal.recent(GROUPS)


def accepted_after(night: Night, incident: Incident) -> timedelta:
    """From the incident's beginning to the first page that PagerDuty took."""
    page = next(e for e in night.app.journal.entries(incident.id) if isinstance(e.event, ev.PageAccepted))
    return page.recorded_at - incident.opened_at


def called_since(night: Night, incident: Incident, at: datetime) -> int:
    """How often somebody was called after this because nobody had it."""
    entries = night.app.journal.entries(incident.id)
    return sum(isinstance(entry.event, ev.AckDeadlineMissed) and entry.recorded_at > at for entry in entries)


def burn(night: Night) -> None:
    """500 alerts, spread over Slack's absence; each group begins with one and grows."""
    waves = ALERTS // GROUPS
    began = night.clock.now
    for wave in range(waves):
        for group in range(GROUPS):
            night.alerts(alert(f"f{group}-{wave}", model_name=f"model-{group}"))
        while night.clock.now < began + SLACK_WAS_AWAY * (wave + 1) / waves:
            night.after(seconds=15)


def test_five_hundred_alerts_in_the_fifteen_minutes_without_slack(tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.foretold |= SLACK_DOWN
        for group in range(BEFORE):
            night.alerts(alert(f"f{group}-before", model_name=f"model-{group}"))
        night.through(minutes=1)
        known = {incident.id for incident in incidents(night)}
        announcements = len(night.messages(INTAKE))
        assert {len(night.messages(incident.channel)) for incident in incidents(night)} == {2}, "the call and the card"

        night.bench.workspace.faults.down = True
        burn(night)
        for incident in incidents(night):
            assert incident.firing == ALERTS // GROUPS + (incident.id in known)
            assert accepted_after(night, incident) <= PAGED_WITHIN
        assert len(night.bench.pagerduty.incidents) == GROUPS
        assert len(night.messages(INTAKE)) == announcements

        before, returned = len(night.bench.workspace.calls), night.clock.now
        night.bench.workspace.faults.clear()
        night.through(minutes=2)
        after = [call for call in night.bench.workspace.calls[before:] if call.answer.get("ok")]
        edits = Counter((call.args["channel"], call.args["ts"]) for call in after if call.method == "chat.update")
        posts = Counter(call.args["channel"] for call in after if call.method == "chat.postMessage")
        for incident in incidents(night):
            was_there = incident.id in known
            card = incident.cards["incident"]
            (shown,) = [m for m in night.messages(incident.channel) if is_card(m.metadata)]
            assert f"{incident.firing} firing" in told(shown), told(shown)
            assert int(was_there) <= edits[card.channel, card.ts] <= 1, "one edit, however much had happened"
            others = [times for (channel, _), times in edits.items() if channel == incident.channel]
            assert max(others, default=0) <= 1, "nor of the call, into which the first look comes"
            since = called_since(night, incident, returned)
            said = night.said(f"Nobody has {incident.ref} yet", incident.channel)
            assert len(said) <= 1 + since, "of several calls for Jonas only the latest is told late"
            assert 1 <= posts[incident.channel] - since <= (1 if was_there else 4), "call, card and look, if not there"
        of_announcements = sum(times for (channel, _), times in edits.items() if channel == INTAKE)
        assert of_announcements <= GROUPS, "one for each incident"
        announced = [(message.metadata or {})["event_payload"]["incident"] for message in night.messages(INTAKE)]
        opened_within = timedelta(seconds=GROUPS - BEFORE)  # one a second
        assert len(announced) - announcements == ceil(opened_within / night.config.policy.announce_every)
        assert {incident.announced_with or incident.id for incident in incidents(night)} == set(announced)
        assert set(night.app.journal.numbers()["outbox"]["states"]) == {"done"}
        assert len(night.bench.pagerduty.incidents) == GROUPS


def is_card(metadata: object) -> bool:
    return isinstance(metadata, dict) and metadata.get("event_payload", {}).get("surface") == "incident"


def test_in_the_hour_without_pagerduty_everybody_is_still_woken(tmp_path: Path) -> None:
    with open_outage(tmp_path) as outage:
        night, bridge = outage.night, outage.bridge
        woken = []
        for number in range(6):
            burning = night.burns(f"f{number}", model_name=f"model-{number}")
            night.through(minutes=2)
            assert bridge.accepted[-1]["incident"] == burning.ref, "the next pager has it within two minutes"
            woken.append(burning.ref)
            if number % 2:
                night.types(MAYA, "/incident ack", burning.channel)
            for _ in range(8):
                night.after(minutes=1)
        triggers = [(body["incident"], body["level"]) for body in bridge.accepted if body["action"] == "trigger"]
        assert [ref for ref, level in triggers if level == 0] == woken, "each once"
        further = [(ref, level) for ref, level in triggers if level]
        assert len(further) == len(set(further)), "and the next person of each once"
        assert {ref for ref, _ in further} == set(woken[::2]), "where nobody had it"
        assert night.pages() == []

        night.bench.pagerduty.outage = "none"
        night.through(minutes=1)
        open_still = [one for one in incidents(night) if one.status is Status.OPEN]
        assert len(open_still) == 3
        assert [status for _, status in night.pages()].count("triggered") == len(open_still)
        assert len({incident.key for incident in night.bench.pagerduty.incidents}) == len(night.pages())
        for incident in open_still:
            night.types(MAYA, "/incident ack", incident.channel)
        assert "triggered" not in [status for _, status in night.pages()]
        assert set(night.app.journal.numbers()["outbox"]["states"]) == {"done"}


@contextmanager
def silent_at(port: int) -> Iterator[None]:
    """Whoever connects there is never answered."""
    with bind(port, "--prometheus-port") as listener:
        kept: list[socket.socket] = []

        def take() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in kept:
            connection.close()


def test_a_prometheus_that_hangs_keeps_no_page_no_click_and_no_alert_waiting(tmp_path: Path) -> None:
    with (
        started(tmp_path, instead={'timeout = "5s"': f'timeout = "{GIVEN_UP_AFTER_S}s"'}) as bot,
        silent_at(bot.bench.ports.prometheus),
    ):
        for number in range(5):
            name = f"model-{number}"
            labels = {"alertname": name, "severity": "critical", "model_name": name}
            sent = house_alert(name, labels=labels, annotations={"summary": name})
            assert bot.street.alerts(webhook([sent])).status == 200
        eventually(lambda: bot.paged() == {f"model-{number}" for number in range(5)})
        assert "INC-1" in bot.types(MAYA, "/incident ack INC-1")
        assert UNANSWERED not in said(bot.bench.workspace.state.channels), "nobody has waited for it"
        assert bot.health("/health/engine")[0] == 200
        eventually(lambda: UNANSWERED in said(bot.bench.workspace.state.channels), within_s=60)


def test_with_every_call_to_slack_hanging_thirty_pages_are_out_within_thirty_seconds(tmp_path: Path) -> None:
    with started(tmp_path) as bot:
        faults = bot.bench.workspace.faults
        faults.plan(Fault.HANG, times=1_000_000)
        try:
            answered: dict[str, float] = {}
            for number in range(HANGING):
                name = f"model-{number}"
                labels = {"alertname": name, "severity": "critical", "model_name": name}
                sent = house_alert(f"f{number}", labels=labels, annotations={"summary": name})
                assert bot.street.alerts(webhook([sent])).status == 200
                answered[name] = time.monotonic()
            paged: dict[str, float] = {}
            while len(paged) < HANGING and time.monotonic() < answered["model-0"] + PAGED_WITHIN.total_seconds():
                paged |= {name: time.monotonic() for name in bot.paged() - paged.keys()}
                time.sleep(0.05)
            assert paged.keys() == answered.keys()
            assert max(paged[name] - answered[name] for name in paged) < PAGED_WITHIN.total_seconds()
            assert faults.suffered[Fault.HANG], "Slack was called, and has not answered"
            assert bot.bench.workspace.channel(INTAKE).messages == []
        finally:
            faults.clear()


def said(channels: object) -> str:
    assert isinstance(channels, dict)
    return "\n".join(told(message) for channel in channels.values() for message in channel.messages)
