"""The bot's own figures in Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from itertools import accumulate, product
from typing import Final

from bot.audit.findings import Check
from bot.audit.waking import waits_since
from bot.incident.effects import EFFECTS
from bot.incident.policy import Policy
from bot.incident.state import Status
from bot.journal import Busy, Journal
from bot.journal.post import DEAD, DONE, WAITING
from bot.journal.ratings import tally
from bot.outbox import RESULTS
from bot.web.patience import WHY
from bot.web.traffic import EDGES, REASONS, Durations, Traffic

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"
LISTENERS: Final = ("doors", "pages")
COURIERS: Final = sorted({effect.courier for effect in EFFECTS.values()})


@dataclass(frozen=True, slots=True)
class Held:
    """What the journal holds at a moment.

    `effects` and `oldest` are the outbox by courier and state, and since when the oldest of a courier waits; `called`
    is since when somebody is to be woken who could not be told, None when nobody is;
    `verdicts` are what people said of the telemetry's, `right` or `wrong`.
    """

    incidents: Mapping[str, int]
    alerts: Mapping[str, int]
    news_waiting: int
    effects: Mapping[tuple[str, str], int]
    oldest: Mapping[str, datetime]
    verdicts: Mapping[str, int] = field(default_factory=dict)
    called: datetime | None = None

    @classmethod
    def of(cls, journal: Journal, policy: Policy) -> "Held | None":
        """None while the journal cannot be read: whoever watches us must see all the rest just then."""
        try:
            told, said, called = journal.numbers(), journal.ask(tally), waits_since(journal, policy)
        except Busy:
            return None
        outbox = told["outbox"]
        effects, oldest = outbox["effects"], outbox["oldest"]
        return cls(told["incidents"], told["alerts"], told["news_waiting"], effects, oldest, said, called)

    def waits(self, courier: str, now: datetime) -> float:
        """Seconds since the courier's oldest waiting effect was decided; 0 when nothing waits."""
        return _age(self.oldest.get(courier), now)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The bot at a moment. What is counted is counted since the start, and all the rest is as it stands.

    `held` is None while the journal cannot be read; `deliveries` are attempts by courier and result; `findings` are
    those of the audit by check; `refused` are connections by listener and why; `unopened` is how often alerts opened
    nothing, being over already.
    """

    started_at: datetime
    unopened: int
    held: Held | None
    deliveries: Mapping[tuple[str, str], int]
    findings: Mapping[str, int]
    turned_at: datetime | None
    audited_at: datetime | None
    heartbeats: Mapping[str, int]
    refused: Mapping[tuple[str, str], int]
    traffic: Traffic


def exposition(numbers: Numbers, now: datetime) -> str:
    """The figures as Prometheus reads them. What does not occur is 0, not missing: its first change must be seen."""
    return "".join(_families(numbers, now))


def _families(numbers: Numbers, now: datetime) -> Iterator[str]:
    build = _labels(version=version("fixfirst"), python=platform.python_version())
    yield _family("build_info", "gauge", "The version that runs.", [(build, 1)])
    yield _moment("start_time_seconds", "When the bot started.", numbers.started_at)

    answers = numbers.traffic.answers.items()
    asked = [(_labels(door=door, code=str(code)), count) for (door, code), count in sorted(answers)]
    yield _family("requests_total", "counter", "Requests of machines by door and answer.", asked)
    yield _histogram("request_duration_seconds", "How long a door took to answer.", numbers.traffic.durations)

    untaken = dict.fromkeys(product(numbers.traffic.hooks, REASONS), 0) | dict(numbers.traffic.untaken)
    left = [(_labels(door=door, reason=reason), count) for (door, reason), count in sorted(untaken.items())]
    yield _family("hooks_untaken_total", "counter", "What was sent to a hook and not taken, by door and why.", left)

    why = dict.fromkeys(product(LISTENERS, WHY), 0) | dict(numbers.refused)
    cut = [(_labels(listener=name, reason=reason), count) for (name, reason), count in sorted(why.items())]
    yield _family("connections_refused_total", "counter", "Connections that were cut or not taken, by why.", cut)

    over = "How often a group's alerts were over before they were worked in, and opened no incident."
    yield _family("intake_unopened_total", "counter", over, [("", numbers.unopened)])
    readable = [("", int(numbers.held is not None))]
    yield _family(
        "journal_readable", "gauge", "Whether the journal can be read; else what it holds is left out.", readable
    )
    if numbers.held is not None:
        yield from _held(numbers.held, now)

    tries = dict.fromkeys(product(COURIERS, RESULTS), 0) | dict(numbers.deliveries)
    tried = [(_labels(courier=courier, result=result), count) for (courier, result), count in sorted(tries.items())]
    yield _family("deliveries_total", "counter", "Attempts to carry an effect out, by courier and result.", tried)

    yield _moment("engine_last_turn_timestamp_seconds", "When the engine last completed a turn.", numbers.turned_at)
    yield _moment("audit_last_timestamp_seconds", "When the last audit was made.", numbers.audited_at)
    findings = {check.value: 0 for check in Check} | dict(numbers.findings)
    yield _family("audit_findings", "gauge", "What the audit finds late, by check.", _by("check", findings))
    beats = _by("result", numbers.heartbeats)
    yield _family("heartbeats_total", "counter", "Signs of life sent to the service outside.", beats)


def _held(held: Held, now: datetime) -> Iterator[str]:
    incidents = {status.value: 0 for status in Status} | dict(held.incidents)
    alerts = {"firing": 0, "resolved": 0} | dict(held.alerts)
    yield _family("incidents", "gauge", "Incidents by status.", _by("status", incidents))
    yield _family("alerts", "gauge", "Alerts in the ledger by status.", _by("status", alerts))
    yield _family("intake_news_waiting", "gauge", "Groups with news to work in.", [("", held.news_waiting)])

    effects = dict.fromkeys(product(COURIERS, (WAITING, DONE, DEAD)), 0)
    effects |= held.effects
    states = [(_labels(courier=courier, state=state), count) for (courier, state), count in sorted(effects.items())]
    yield _family("outbox_effects", "gauge", "Effects in the outbox by courier and state.", states)
    ages = {courier: held.waits(courier, now) for courier in {*COURIERS, *held.oldest}}
    yield _family("outbox_oldest_seconds", "gauge", "Age of the oldest waiting effect.", _by("courier", ages))
    text = "Age of the oldest page or call that somebody is still to be woken by."
    yield _family("pages_waiting_seconds", "gauge", text, [("", _age(held.called, now))])
    rated = {"right": 0, "wrong": 0} | dict(held.verdicts)
    yield _family("verdicts_rated", "gauge", "Verdicts by what people say of them now.", _by("said", rated))


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _moment(name: str, text: str, at: datetime | None) -> str:
    return _family(name, "gauge", text, [("", at.timestamp() if at else 0)])


def _histogram(name: str, text: str, of: Mapping[str, Durations]) -> str:
    lines = _head(name, "histogram", text)
    for door, durations in sorted(of.items()):
        upto = [*accumulate(durations.counts)]
        for edge, count in zip([*map(str, EDGES), "+Inf"], upto, strict=True):
            lines.append(f"fixfirst_{name}_bucket{_labels(door=door, le=edge)} {count}")
        lines.append(f"fixfirst_{name}_sum{_labels(door=door)} {durations.total}")
        lines.append(f"fixfirst_{name}_count{_labels(door=door)} {upto[-1]}")
    return _text(lines)


def _by(label: str, values: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(_labels(**{label: name}), value) for name, value in sorted(values.items())]


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> str:
    return _text([*_head(name, kind, text), *(f"fixfirst_{name}{labels} {value}" for labels, value in samples)])


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP fixfirst_{name} {text}", f"# TYPE fixfirst_{name} {kind}"]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
