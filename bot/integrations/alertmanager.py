"""Alertmanager: its webhook, version 4, and what it says burns now.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from bot.contracts import Malformed, Permanent, Transient
from bot.incident.redact import redact, redact_texts
from bot.intake.alerts import Delivery, Message
from bot.intake.body import read_json
from bot.intake.reading import Reading, first
from bot.settings import Secret, Table

SOURCE: Final = "alertmanager"
TITLES: Final = ("summary", "message", "title")
"""Annotations that say what it is about; the first that is there counts."""
MAX_LABELS: Final = 256
"""Labels kept of an alert. Prometheus has no limit of its own; ours keeps one alert from being a document."""
MAX_NAME: Final = 200
MAX_TITLE: Final = 300
MAX_VALUE: Final = 1_000
MAX_SHOWN: Final = 60
"""Characters of a faulty value that the answer and the log repeat."""


def parse(body: bytes, reading: Reading) -> Message:
    """The alerts of one webhook, their texts redacted; one that cannot be read keeps no other from being taken in.

    Raises Malformed with a sentence that says where it is wrong, when nothing of it can be read.

    A firing alert has `endsAt` 0001-01-01 (measured on 0.25), so its end is None. What is absent from the message is
    not resolved: Alertmanager cuts it short by `max_alerts` and says so in `truncatedAlerts`.
    """
    data = read_json(body)
    if not isinstance(data, dict):
        raise Malformed("the body must be a JSON object")
    if data.get("version") != "4":
        raise Malformed(
            f'version is {_shown(data.get("version"))}, but only Alertmanager\'s webhook version "4" is understood'
        )
    alerts = data.get("alerts")
    if not isinstance(alerts, list):
        raise Malformed("alerts must be a list")
    truncated = data.get("truncatedAlerts", 0)
    if not isinstance(truncated, int) or truncated < 0:
        raise Malformed("truncatedAlerts must be a whole number")
    deliveries, fault = _readable(alerts, reading)
    return Message(SOURCE, deliveries, truncated, fault)


def _readable(items: Sequence[Any], reading: Reading) -> tuple[tuple[Delivery, ...], str]:
    """What can be read, and what is wrong with the rest. Raises Malformed when that is all of it."""
    deliveries: list[Delivery] = []
    faults: list[Malformed] = []
    for n, item in enumerate(items):
        try:
            deliveries.append(_alert(item, f"alerts[{n}]", reading))
        except Malformed as fault:
            faults.append(fault)
    if not faults:
        return tuple(deliveries), ""
    if not deliveries:
        raise faults[0]
    more = f"; {len(faults)} such alerts" if len(faults) > 1 else ""
    return tuple(deliveries), f"{faults[0]}{more}"


def _alert(item: Any, where: str, reading: Reading) -> Delivery:
    if not isinstance(item, dict):
        raise Malformed(f"{where} must be an object")
    status = item.get("status")
    if status not in ("firing", "resolved"):
        raise Malformed(f"{where}.status is {_shown(status)}, but must be firing or resolved")
    fingerprint = item.get("fingerprint")
    if not isinstance(fingerprint, str) or not 1 <= len(fingerprint) <= 80:
        raise Malformed(f"{where}.fingerprint is missing or longer than 80 characters")
    labels = _texts(item.get("labels"), f"{where}.labels", ("alertname", *reading.names))
    notes = _texts(item.get("annotations") or {}, f"{where}.annotations", (*TITLES, *reading.runbook))
    name = labels.get("alertname", "alert")[:MAX_NAME]
    title = first(notes, TITLES) or name
    ends_at = _time(item.get("endsAt"), f"{where}.endsAt") if status == "resolved" else None
    return Delivery(
        fingerprint=fingerprint,
        firing=status == "firing",
        name=name,
        title=title[:MAX_TITLE],
        severity=reading.severity_of(labels),
        service=first(labels, reading.service)[:MAX_NAME],
        model=first(labels, reading.model)[:MAX_NAME],
        runbook=first(notes, reading.runbook)[:MAX_NAME] or first(labels, reading.runbook)[:MAX_NAME],
        labels=labels,
        starts_at=_time(item.get("startsAt"), f"{where}.startsAt"),
        ends_at=ends_at,
    )


def _texts(value: Any, where: str, wanted: Sequence[str]) -> Mapping[str, str]:
    """MAX_LABELS of them at most: first what is wanted, then as they come."""
    if not isinstance(value, dict):
        raise Malformed(f"{where} must be an object of texts")
    if len(value) > MAX_LABELS:
        kept = {**{key: value[key] for key in wanted if key in value}, **value}
        value = dict(islice(kept.items(), MAX_LABELS))
    for key, text in value.items():
        if not isinstance(text, str):
            raise Malformed(f"{where}.{_shown(key)} must be a text")
    return redact_texts(value, MAX_NAME, MAX_VALUE)


def _time(value: Any, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"{where} is {_shown(value)}, but must be a time such as 2026-11-21T03:04:05Z") from error


def _shown(value: Any) -> str:
    """The beginning of what came, for the answer and the log."""
    if isinstance(value, str):
        return redact(repr(value))[:MAX_SHOWN]
    return repr(value) if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"


LONGEST_TIMEOUT: Final = timedelta(seconds=10)
LARGEST_ANSWER: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[alertmanager]`: where to ask what burns. `receiver` is our own name there; `timeout` in seconds."""

    url: str
    receiver: str
    timeout: float
    token: Secret

    @classmethod
    def from_table(cls, table: Table, secret: Callable[[str], str | None]) -> "Settings | None":
        """The settings, None without an address; faults go to the table."""
        url = table.url("url").rstrip("/")
        timeout = table.span("timeout", timedelta(seconds=5))
        if not timedelta(0) < timeout <= LONGEST_TIMEOUT:
            table.fault("timeout", f"must be longer than nothing and at most {LONGEST_TIMEOUT.seconds}s")
        receiver, token = table.text("receiver", "fixfirst"), table.secret("token_env", secret)
        return cls(url, receiver, timeout.total_seconds(), token) if url else None


@dataclass(frozen=True, slots=True)
class Burning(Message):
    """What Alertmanager would send us now. `quieted` are the fingerprints of what burns there too and is not sent,
    because it is silenced or inhibited."""

    quieted: frozenset[str] = frozenset()


def firing(settings: Settings, reading: Reading) -> Burning:
    """What burns by Alertmanager's own list, for our receiver. Raises Transient, Permanent, Malformed.

    https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
    """
    # A tenth of a second to import, and the bot must accept its first webhook within two.
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    from bot.punctual import Punctual

    asked = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "false"}
    headers = {"Authorization": f"Bearer {settings.token.reveal()}"} if settings.token else {}
    try:
        with (
            Punctual() as session,
            session.get(
                f"{settings.url}/api/v2/alerts",
                params=asked,
                headers=headers,
                timeout=settings.timeout,
                stream=True,
                allow_redirects=False,
            ) as answer,
        ):
            if answer.status_code != 200:
                kind = Transient if answer.status_code >= 500 else Permanent
                raise kind(f"Alertmanager answered {answer.status_code}")
            body = answer.raw.read(LARGEST_ANSWER + 1, decode_content=True)
    except (RequestException, HTTPError) as failure:  # the head's by requests, the body's by urllib3
        raise Transient(f"Alertmanager does not answer ({type(failure).__name__})") from failure
    if len(body) > LARGEST_ANSWER:
        raise Malformed("its answer is too large")
    alerts = read_json(body)
    if not isinstance(alerts, list):
        raise Malformed("its answer is no list of alerts")
    ours = [item for item in alerts if isinstance(item, dict) and _is_for(item, settings.receiver)]
    deliveries, fault = _readable([{**item, "status": "firing"} for item in ours], reading)
    quieted = frozenset(str(item.get("fingerprint")) for item in ours if _is_quieted(item))
    sent = tuple(delivery for delivery in deliveries if delivery.fingerprint not in quieted)
    return Burning(SOURCE, sent, fault=fault, quieted=quieted)


def _is_quieted(item: Mapping[str, Any]) -> bool:
    status = item.get("status")
    return isinstance(status, dict) and status.get("state") == "suppressed"


def _is_for(item: Mapping[str, Any], receiver: str) -> bool:
    receivers = item.get("receivers")
    return isinstance(receivers, list) and any(isinstance(r, dict) and r.get("name") == receiver for r in receivers)
