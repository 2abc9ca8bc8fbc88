"""The pages of the evidence: one look at the telemetry with its picture and its numbers, and how right it has been."""

import json
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bot.incident.entry import Entry
from bot.incident.events import EvidenceCollected
from bot.incident.rating import CAUSES, hit_rates, misses
from bot.incident.state import Incident
from bot.journal import Journal
from bot.journal.evidence import Kept, find
from bot.journal.ratings import ratings
from bot.web import views
from bot.web.render import page

ASK_FIRST = {"Cache-Control": "private, no-cache"}
"""What was kept never changes, but it can be redacted, and then no browser shows it any more."""


class EvidencePages:
    """The handlers with what they read from."""

    def __init__(self, journal: Journal, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        one = "/incidents/{ref}/evidence/{id}"
        return [
            Route(f"{one}.json", self.data),
            Route(f"{one}.png", self.picture),
            Route(one, self.one),
            Route("/verdicts", self.verdicts),
        ]

    def one(self, request: Request) -> Response:
        """What the telemetry said then, all of it, with what was asked."""
        incident, entry, looked, kept = self._found(request)
        parts = kept.parts if kept else ()
        return page(
            "evidence.html",
            here="incidents",
            now=self._clock(),
            incident=incident,
            id=looked.evidence,
            at=entry.at,
            seen=views.evidence_of(looked),
            frozen=incident.frozen.get(looked.evidence),
            has_picture=any(part.kind == "picture" and part.content for part in parts),
            series=[part for part in parts if part.kind == "series"],
            ratings=[said for (of, _), said in incident.ratings.items() if of == looked.evidence],
            causes=CAUSES,
        )

    def data(self, request: Request) -> Response:
        """All of it for a program: the report, and every series with its points."""
        incident, entry, looked, kept = self._found(request)
        series = [
            json.loads(part.content) for part in (kept.parts if kept else ()) if part.kind == "series" and part.content
        ]
        body: dict[str, Any] = {
            "id": looked.evidence,
            "incident": incident.ref,
            "at": entry.at.isoformat(),
            "report": dict(looked.report),
            "series": series,
        }
        return JSONResponse(body)

    def picture(self, request: Request) -> Response:
        """The PNG."""
        *_, kept = self._found(request)
        part = next((part for part in (kept.parts if kept else ()) if part.kind == "picture"), None)
        if part is None or part.content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no picture of it.")
        headers = {**ASK_FIRST, "ETag": f'"{part.sha256}"'}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(part.content, media_type="image/png", headers=headers)

    def verdicts(self, _: Request) -> Response:
        """How often each cause was right, and every miss."""
        rated = self._journal.ask(ratings)
        return page(
            "verdicts.html",
            here="verdicts",
            now=self._clock(),
            rated=len(rated),
            right=sum(one.said.right for one in rated),
            rates=hit_rates(rated),
            misses=misses(rated),
            causes=CAUSES,
        )

    def _found(self, request: Request) -> tuple[Incident, Entry, EvidenceCollected, Kept | None]:
        ref, name = request.path_params["ref"], request.path_params["id"]
        incident = self._journal.find(ref)
        look = incident.looks.get(name) if incident else None
        entry = self._journal.entry(look.entry) if look else None
        if incident is None or entry is None or not isinstance(entry.event, EvidenceCollected):
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no evidence {name} of {ref}.")
        kept = self._journal.ask(lambda direct, whose: find(direct, whose, incident.id, name))
        return incident, entry, entry.event, kept
