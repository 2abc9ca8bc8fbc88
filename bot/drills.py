"""Drills: a fault on purpose, the incident it makes, its end, and how well it went."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from bot.contracts import Malformed, Permanent, Transient
from bot.desk import PATIENCE_S, Desk
from bot.incident.drill import LABEL, Drill, scenario_of, score
from bot.incident.events import Severity
from bot.incident.people import BOT, Actor, Refused, require_responder
from bot.incident.plain import one_line
from bot.incident.state import Incident
from bot.intake.alerts import Delivery, Message
from bot.intake.reading import Reading, first
from bot.integrations import alertmanager
from bot.integrations.http.switch import Switch
from bot.journal import Busy, Unsure, in_time
from bot.journal import drill as record
from bot.settings import Table

log = structlog.get_logger()

LASTS: Final = timedelta(minutes=30)
"""A drill that nobody ends is over after this."""
TIDY_EVERY_S: Final = 10.0
SOURCE: Final = "drill"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One table `[drills.NAME]`.

    With a `switch` the fault is real, its alerts come from the monitors and are known by name and labels. Without one
    the bot fires alerts itself, each marked as the drill's own: those of a webhook that Alertmanager once sent
    (`recorded`), or one for each name in `alerts`.
    """

    name: str
    about: str
    alerts: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: Severity = Severity.SEV3
    runbook: str = ""
    lasts: timedelta = LASTS
    switch: Switch | None = None
    recorded: bytes = b""

    @classmethod
    def from_toml(
        cls, name: str, values: Mapping[str, Any], secret: Callable[[str], str | None], base: Path
    ) -> tuple["Scenario", list[str]]:
        """The scenario, and every fault as "key: what is wrong; what to do". A relative file is below `base`."""
        faults: list[str] = []
        table = Table("", values, faults)
        labels = {key: str(value) for key, value in table.mapping("labels").items()}
        alerts = table.texts("alerts")
        recorded = _recorded(table, base)
        if not alerts and "recorded" not in table.values:
            table.fault("alerts", "is missing; name the alerts that the fault raises")
        scenario = cls(
            name=name,
            about=table.text("about", name),
            alerts=alerts,
            labels=labels,
            severity=Severity(table.choice("severity", Severity.SEV3.value, tuple(Severity))),
            runbook=table.text("runbook"),
            lasts=table.span("lasts", LASTS),
            switch=Switch.from_table(f"drills.{name}", table, secret),
            recorded=recorded,
        )
        table.done()
        return scenario, faults


def _recorded(table: Table, base: Path) -> bytes:
    """The body of the webhook in the file that the table names; empty when it names none. Faults go to the table."""
    name = table.text("recorded")
    if not name:
        return b""
    try:
        body = (base / name).read_bytes()
        message = alertmanager.parse(body, Reading())
        if message.fault:
            raise Malformed(message.fault)
        if not any(delivery.firing for delivery in message.deliveries):
            table.fault("recorded", f"{name} holds no alert that fires; record a webhook of Alertmanager that does")
    except OSError as error:
        table.fault("recorded", f"{name} cannot be read ({error.strerror}); name a file beside fixfirst.toml")
    except Malformed as error:
        table.fault("recorded", f"{name} is no webhook of Alertmanager: {error}")
    else:
        return body
    return b""


@dataclass(frozen=True, slots=True)
class Drills:
    """The scenarios, bound to a desk. Raises Refused with a sentence for who asked."""

    desk: Desk
    scenarios: Mapping[str, Scenario]

    def under_way(self) -> list[Drill]:
        """The drills that go on now, the oldest first."""
        return self.desk.journal.ask(record.drills_on_record)

    def incident_of(self, drill: Drill) -> Incident | None:
        """The incident it has made; None before its alert has come."""
        return next((item for item in self.desk.journal.recent(50) if item.drill == drill.id), None)

    def start(self, name: str, by: Actor) -> Drill:
        """Breaks something, or fires the alerts. One drill of a scenario at a time."""
        require_responder(by)
        scenario = self.scenarios.get(name)
        if scenario is None:
            known = ", ".join(self.scenarios) or "none; add a table [drills.NAME] to fixfirst.toml"
            raise Refused(f"There is no drill `{name[:60]}`; there are {known}.")
        real = scenario.switch is not None
        until = self.desk.journal.clock() + scenario.lasts
        seen, said = (scenario.alerts, scenario.labels) if real else ((), {})
        drill = self.desk.soon(lambda txn: record.begin(txn, by, name, until=until, alerts=seen, labels=said))
        try:
            self._turn(scenario, drill, on=True)
        except (Transient, Permanent, Busy) as failure:
            why = "the journal does not take its alerts" if isinstance(failure, Busy) else str(failure)
            raise Refused(f"The drill {name} could not begin: {why}{self._undone(drill, failure)}") from failure
        return drill

    def stop(self, by: Actor) -> list[Drill]:
        """Ends every drill that goes on, and makes whole what it broke; what did not work is in the Refused."""
        require_responder(by)
        ended, failures = [], []
        for drill in self.under_way():
            try:
                self._end(drill, by)
                ended.append(drill)
            except (Transient, Permanent) as failure:
                failures.append(f"{drill.scenario}: {failure}")
            except Busy:
                failures.append(f"{drill.scenario}: the journal does not take it, so it may be on record still")
        if failures:
            raise Refused(f"Not all could be made whole again: {'; '.join(failures)}.")
        return ended

    def tidy(self) -> None:
        """Ends what is over: its incident has ended, or its time is up."""
        now = self.desk.journal.clock()
        for drill in self.under_way():
            incident = self.incident_of(drill)
            if now >= drill.until or (incident is not None and not incident.is_live):
                try:
                    self._end(drill, BOT)
                except (Transient, Permanent, Busy) as failure:
                    log.warning("drill_not_ended", drill=drill.id, reason=str(failure))

    def score(self, ref: str) -> str:
        """How it went, as lines of text."""
        incident = self.desk.journal.find(ref)
        if incident is None or not incident.drill:
            raise Refused(f"{ref[:40]} is no drill.")
        told = [f"{incident.ref}, drill {scenario_of(incident.drill)}: {one_line(incident.title)}"]
        return "\n".join([*told, *(f"  {line}" for line in score(incident).lines)])

    def _end(self, drill: Drill, by: Actor) -> None:
        scenario = self.scenarios.get(drill.scenario)
        if scenario is not None:
            self._turn(scenario, drill, on=False)
        self.desk.soon(lambda txn: record.end(txn, by, drill))
        if scenario is None:
            raise Permanent("it is not in fixfirst.toml any more; make whole by hand what it broke")

    def _undone(self, drill: Drill, failure: Transient | Permanent | Busy) -> str:
        """Takes back what may have got through although no good answer came; what people are told where that fails."""
        unclear = isinstance(failure, Unsure) if isinstance(failure, Busy) else failure.ambiguous
        try:
            if unclear:
                self._end(drill, BOT)
            else:
                self.desk.soon(lambda txn: record.end(txn, BOT, drill))
        except (Transient, Permanent, Busy):
            if unclear:
                return "; it may be broken all the same: `/incident drill stop` makes it whole"
            return "; it may be on record all the same: `/incident drill stop` ends it"
        return ""

    def _turn(self, scenario: Scenario, drill: Drill, *, on: bool) -> None:
        if scenario.switch is not None:
            scenario.switch.turn(on=on)
            return
        now = self.desk.journal.clock()
        deliveries = tuple(
            replace(
                alert,
                fingerprint=f"{drill.id}:{alert.fingerprint}",
                firing=on,
                labels={**alert.labels, LABEL: drill.id},
                starts_at=drill.started_at,
                ends_at=None if on else now,
                group_key=f"v1:drill={drill.id}",
            )
            for alert in self._alerts(scenario, now)
        )
        in_time(self.desk.receive([Message(SOURCE, deliveries)]), PATIENCE_S)

    def _alerts(self, scenario: Scenario, now: datetime) -> list[Delivery]:
        """What the bot fires by itself, as a monitor would."""
        reading = self.desk.reading
        if scenario.recorded:
            message = alertmanager.parse(scenario.recorded, reading)
            return [delivery for delivery in message.deliveries if delivery.firing]
        labels = dict(scenario.labels)
        return [
            Delivery(
                fingerprint=name,
                firing=True,
                name=name,
                title=scenario.about,
                severity=scenario.severity,
                service=first(labels, reading.service),
                model=first(labels, reading.model),
                runbook=scenario.runbook,
                labels={**labels, "alertname": name},
                starts_at=now,
                ends_at=None,
            )
            for name in scenario.alerts
        ]
