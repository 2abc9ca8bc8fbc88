"""What PagerDuty knows of our pages, for comparing it with the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from pagerduty import Error, HttpError, RestApiV2Client

from bot.incident.redact import redact
from bot.integrations.pagerduty.wire import failure_of, silence_of

TRIGGERED, ACKNOWLEDGED, RESOLVED = "triggered", "acknowledged", "resolved"
PAGES_ASKED: Final = 100
"""The most that PagerDuty gives in one answer."""


@dataclass(frozen=True, slots=True)
class Paged:
    """An incident there, as much as is compared with ours; `key` is empty for what was not opened by an event."""

    key: str
    status: str
    name: str
    link: str


def known(rest: RestApiV2Client, keys: Sequence[str]) -> list[Paged]:
    """Every page that is open there, and the latest under each of these keys. Raises Transient, Permanent."""
    try:
        asked = {"statuses[]": [TRIGGERED, ACKNOWLEDGED], "limit": PAGES_ASKED}
        found = {page.key: page for page in map(_paged, rest.rget("incidents", params=asked))}
        for key in keys[:PAGES_ASKED]:
            if key not in found:
                under_it = rest.rget("incidents", params={"incident_key": key})
                found |= {page.key: page for page in map(_paged, under_it[:1])}
    except HttpError as error:
        raise failure_of(error) from error
    except (Error, httpx2.HTTPError) as error:
        raise silence_of(error) from error
    return list(found.values())


def _paged(theirs: Mapping[str, Any]) -> Paged:
    return Paged(
        key=str(theirs.get("incident_key") or ""),
        status=str(theirs.get("status") or ""),
        name=f"#{theirs.get('incident_number')} “{redact(str(theirs.get('title') or ''))[:120]}”",
        link=str(theirs.get("html_url") or ""),
    )
