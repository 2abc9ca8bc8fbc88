"""All incidents and alerts in the plainest words: which alert belongs where, and what is news."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from tests.model.plain import CHANGES_WITHIN, OVERTAKEN_WITHIN, No, Plain, Words


@dataclass
class PlainAlert:
    group: str
    severity: str
    began: datetime
    ended: datetime | None = None
    began_before: datetime | None = None
    home: int | None = None

    @property
    def fires(self) -> bool:
        return self.ended is None


@dataclass
class World:
    proves: bool = False
    """Whether a telemetry is there to be asked before anything is resolved."""
    incidents: list[Plain] = field(default_factory=list)
    alerts: dict[str, PlainAlert] = field(default_factory=dict)
    news: dict[str, int] = field(default_factory=dict)
    """By group: how many alerts began since its news were last worked in."""
    changes: list[datetime] = field(default_factory=list)
    """When something was changed, as pipelines told it; a change is known by its place."""
    known: set[str] = field(default_factory=set)
    """Keys of commands that made something happen; such a command counts once."""

    def latest_in(self, group: str) -> Plain | None:
        """The group's live incident, else its newest."""
        found = [incident for incident in self.incidents if group and incident.group == group]
        return max(found, key=lambda incident: (incident.live, incident.number), default=None)

    def elsewhere(self, number: int) -> bool:
        mine = self.incidents[number - 1]
        other = self.latest_in(mine.group)
        return other is not None and other.live and other is not mine

    def opens(self, at: datetime, group: str, severity: str) -> Plain:
        number = len(self.incidents) + 1
        incident = Plain(number, group, severity, at, partial(self.elsewhere, number), proves=self.proves)
        self.incidents.append(incident)
        return incident

    # Alerts

    def fires(self, name: str, group: str, severity: str, began: datetime, now: datetime) -> None:
        known = self.alerts.get(name)
        if known is None:
            self.alerts[name] = PlainAlert(group, severity, began)
            self._is_news(group, 1)
            return
        if known.fires:
            known.severity = severity
            return
        assert known.ended is not None
        if began < known.ended and now - known.ended < OVERTAKEN_WITHIN:
            return
        known.began_before, known.began, known.ended = known.began, began, None
        known.severity, known.group = severity, group
        self._is_news(group, 1)

    def ends(self, name: str, began: datetime, now: datetime) -> None:
        known = self.alerts.get(name)
        if known is None or not known.fires or began < known.began:
            return
        known.ended = now
        self._is_news(known.group, 0)

    def _is_news(self, group: str, began: int) -> None:
        self.news[group] = self.news.get(group, 0) + began

    def drains(self, group: str, now: datetime) -> tuple[Plain | None, Words]:
        """A group's news are worked into its incident, or into a new one."""
        began = self.news.pop(group, None)
        if began is None:
            return None, []
        burning = [alert for alert in self.alerts.values() if alert.group == group and alert.fires]
        last = self.latest_in(group)
        joins = last is not None and (not began or last.keeps_alerts(now))
        if not joins and not burning:
            return None, []
        worst = min((alert.severity for alert in burning), default="SEV3")
        incident, words = last, []
        if not joins or last is None:
            incident = self.opens(now, group, worst)
            words = incident.open(now)
        assert incident is not None
        if began:
            for alert in burning:
                alert.home = incident.number
        over = [one for one in self.alerts.values() if one.group == group and not one.fires]
        ended = sum(alert.home == incident.number for alert in over)
        words += incident.hears_of_alerts(now, len(burning), ended, began, worst)
        words = self.with_changes(incident, now, words)
        incident.story += words
        return incident, words

    # Changes

    def is_changed(self, at: datetime) -> list[Plain]:
        """A pipeline tells of a change; the live incidents that hear of it."""
        self.changes.append(at)
        heard = [incident for incident in self.incidents if incident.live]
        for incident in heard:
            incident.changes.add(len(self.changes) - 1)
            incident.story += ["incident.change_found"]
        return heard

    def with_changes(self, incident: Plain, now: datetime, words: Words) -> Words:
        """Who opens or returns hears at once of what was changed in the two hours before."""
        if not {"incident.opened", "incident.reopened"} & set(words):
            return words
        new = {n for n, at in enumerate(self.changes) if now - at <= CHANGES_WITHIN} - incident.changes
        incident.changes |= new
        return words + ["incident.change_found"] * len(new)

    # People

    def counts(self, key: str, words: Words, incident: Plain) -> Words:
        """What a command made happen is kept, and its key with it."""
        if words:
            self.known.add(key)
        incident.story += words
        return words

    def declares(self, at: datetime, severity: str, title: str, impact: str) -> tuple[Plain, Words]:
        if not title.strip():
            raise No
        incident = self.opens(at, "", severity)
        words = incident.open(at)
        words += incident.impact_is(impact) if impact else []
        return incident, self.with_changes(incident, at, words)
