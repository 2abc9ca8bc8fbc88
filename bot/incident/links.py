"""Where else to look: links into dashboards, logs, traces and error trackers, by templates of the settings. Pure.

[links]
Grafana = "https://grafana.example.com/d/llm?var-model={model}&from={from_ms}&to={to_ms}"
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from bot.incident.state import Incident

BEFORE: Final = timedelta(minutes=30)
"""What led up to it is seldom older."""
AFTER: Final = timedelta(minutes=10)
MEANWHILE: Final = timedelta(hours=1)
"""How far ahead of the last thing that happened a link looks while the incident lives, so that it need not change."""
MOST: Final = 8
NAME: Final = re.compile(r"[\w][\w .+-]{0,29}")
LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "namespace": ("exported_namespace", "namespace", "pod_namespace"),
    "node": ("node", "hostname", "Hostname"),
    "gpu": ("UUID", "uuid", "gpu"),
    "pod": ("exported_pod", "pod", "pod_name"),
}
"""Which labels of the alerts fill a slot; the first that is there. `exported_`: a scrape without honorLabels."""
_SLOT: Final = re.compile(r"\{([^{}]*)\}")
_TIMES: Final = tuple(f"{end}_{unit}" for end in ("from", "to") for unit in ("ms", "s", "iso"))
SLOTS: Final = ("model", "service", *LABELS, "incident", *_TIMES)

Links = Mapping[str, str]
"""Templates by the name that people read."""


def faults(name: str, template: str) -> Iterator[str]:
    """What is wrong with a link of the settings, each a clause that says what to do."""
    if not NAME.fullmatch(name):
        yield "must be named by 1 to 30 letters, digits, blanks, ., +, - and _"
    unknown = [slot for slot in _SLOT.findall(template) if slot not in SLOTS]
    for slot in dict.fromkeys(unknown):
        yield f"uses {{{slot}}}, which is no slot; known: {', '.join(SLOTS)}"
    try:
        parts = urlsplit(_SLOT.sub("x", template))
        place = urlsplit(template)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"[\s<>|]", template)
    except ValueError:
        good = False
    if not good:
        yield "must be an address such as https://grafana.example.com/d/llm?var-model={model}"
    elif "{" in place.netloc:
        yield "may have slots only behind the host: an alert's label must not choose where people are sent"


def links_of(incident: Incident, links: Links) -> tuple[tuple[str, str], ...]:
    """Name and address of each link whose slots the incident can fill, in the order of the settings."""
    values = _values(incident)
    made = ((name, _filled(template, values)) for name, template in links.items())
    return tuple((name, url) for name, url in made if url)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """The address; empty where a value is missing, since a dashboard of nothing, or of everything, misleads."""
    if not all(values.get(slot) for slot in _SLOT.findall(template)):
        return ""
    return _SLOT.sub(lambda found: quote(values[found[1]], safe=""), template)


def _values(incident: Incident) -> Mapping[str, str]:
    begin, end = _span(incident)
    labels: list[Mapping[str, Any]] = [sample.get("labels") or {} for sample in incident.samples]
    return {
        "model": incident.model,
        "service": incident.service,
        **{slot: _first(labels, names) for slot, names in LABELS.items()},
        "incident": incident.ref,
        **_times("from", begin),
        **_times("to", end),
    }


def _first(labels: list[Mapping[str, Any]], names: tuple[str, ...]) -> str:
    return next((str(one[name]) for one in labels for name in names if one.get(name)), "")


def _times(end: str, at: datetime) -> dict[str, str]:
    seconds = int(at.timestamp())
    iso = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {f"{end}_ms": str(seconds * 1000), f"{end}_s": str(seconds), f"{end}_iso": iso}


def _span(incident: Incident) -> tuple[datetime, datetime]:
    """From half an hour before it began until shortly after its end."""
    begin = min(incident.detected_at, incident.started_at or incident.detected_at) - BEFORE
    if incident.resolved is not None:
        return begin, incident.resolved.at + AFTER
    marks = (incident.acknowledged, incident.triaged, incident.mitigated, incident.communicated)
    times = [incident.opened_at, incident.alerts_changed_at, *(mark.at for mark in marks if mark)]
    return begin, max(at for at in times if at is not None) + MEANWHILE
