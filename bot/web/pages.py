"""The pages for people: incidents, postmortems and runbooks to read. Private, read-only, on loopback by default."""

from collections.abc import Callable, Collection
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from bot.hands import Hands
from bot.incident.links import Links, links_of
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.journal import Busy, Journal, Unreadable
from bot.postmortem.shelf import Shelf, TooLarge, number_of
from bot.postmortem.story import People, story
from bot.web import views
from bot.web.evidence import EvidencePages
from bot.web.guard import Guard
from bot.web.hands import hands_routes
from bot.web.health import Vitals, health_routes
from bot.web.render import page, rendered
from bot.web.runbooks import RunbookPages, Runbooks

RECENT: Final = 30
"""Incidents on the board that are over."""
RETRY_S: Final = 5
STATIC: Final = Path(__file__).parent / "static"

log = structlog.get_logger()

Clock = Callable[[], datetime]


def pages_app(
    journal: Journal,
    shelf: Shelf,
    runbooks: Runbooks,
    clock: Clock,
    *,
    policy: Policy,
    hosts: Collection[str],
    vitals: Vitals,
    hands: Hands,
    links: Links | None = None,
) -> Starlette:
    """The application. `hosts` are the names it answers to; any other is refused, against DNS rebinding."""
    return Starlette(
        routes=[
            *pages_routes(journal, shelf, runbooks, clock, policy=policy, links=links),
            *health_routes(vitals, clock),
            *hands_routes(hands, clock),
        ],
        middleware=[Middleware(Guard, hosts)],
        exception_handlers={HTTPException: _problem, Busy: _away, Unreadable: _unreadable},
    )


def pages_routes(
    journal: Journal, shelf: Shelf, runbooks: Runbooks, clock: Clock, *, policy: Policy, links: Links | None = None
) -> list[BaseRoute]:
    """The routes for people, without their guard. The handlers are synchronous; Starlette gives them threads."""
    pages = _Pages(journal, shelf, runbooks, clock, policy=policy, links=links or {})
    return [
        Route("/", pages.board),
        Route("/incidents", lambda _: RedirectResponse("/", HTTPStatus.MOVED_PERMANENTLY)),
        Route("/incidents/{ref}", pages.incident),
        Route("/postmortems", pages.postmortems),
        Route("/postmortems/{name}.png", pages.picture),
        Route("/postmortems/{name}", pages.postmortem),
        Route("/postmortems/{name}/source", pages.source),
        *EvidencePages(journal, clock).routes(),
        *RunbookPages(journal, runbooks, clock).routes(),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("only HTTP problems have a page") from error
    return page("problem.html", error.status_code, here="", title="Not here", text=error.detail, back=True)


def _away(_: Request, busy: Exception) -> Response:
    log.warning("page_without_journal", reason=str(busy))
    answer = page(
        "problem.html",
        HTTPStatus.SERVICE_UNAVAILABLE,
        here="",
        title="The journal cannot be read right now",
        text=f"Its database does not answer. Try again in {RETRY_S} seconds; /health/engine says what the bot knows.",
        back=False,
    )
    answer.headers["Retry-After"] = str(RETRY_S)
    return answer


def _unreadable(_: Request, error: Exception) -> Response:
    return page("problem.html", HTTPStatus.CONFLICT, here="", title="Not readable here", text=str(error), back=True)


class _Pages:
    """The handlers with what they read from."""

    def __init__(
        self, journal: Journal, shelf: Shelf, runbooks: Runbooks, clock: Clock, *, policy: Policy, links: Links
    ) -> None:
        self._journal = journal
        self._shelf = shelf
        self._readable = runbooks.readable
        self._clock = clock
        self._policy = policy
        self._links = links

    def board(self, _: Request) -> Response:
        """What burns now, then what is over."""
        now = self._clock()
        live = [views.card(incident, now, self._policy) for incident in self._journal.live()]
        live.sort(key=lambda card: (card.severity, -card.detected_at.timestamp()))
        recent = [
            views.card(incident, now, self._policy)
            for incident in self._journal.recent(RECENT + len(live))
            if not incident.is_live
        ]
        return page("board.html", here="incidents", now=now, live=live, recent=recent[:RECENT])

    def incident(self, request: Request) -> Response:
        """Everything about one incident."""
        ref: str = request.path_params["ref"]
        incident = self._journal.find(ref)
        if incident is None:
            archived = self._journal.archived(ref)
            if archived is not None:
                raise HTTPException(HTTPStatus.GONE, f"{archived}.")
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no incident {ref}.")
        if ref != incident.ref:
            return RedirectResponse(f"/incidents/{incident.ref}")
        now = self._clock()
        entries = self._journal.entries(incident.id)
        try:
            before = self._journal.incident(incident.recurs) if incident.recurs else None
        except Unreadable:
            before = None  # this page is about another one
        return page(
            "incident.html",
            elsewhere=links_of(incident, self._links),
            here="incidents",
            now=now,
            incident=incident,
            card=views.card(incident, now, self._policy),
            facts=views.facts(incident, entries, now),
            troubles=views.troubles(incident),
            evidence=views.evidence(incident),
            changes=views.changes(incident),
            looks=views.looks(incident),
            runs=views.runs(incident, entries),
            figures=() if incident.is_live else views.figures(incident),
            lines=story(incident, entries, People(incident, entries)),
            before=before,
            books={run.runbook for run in incident.runs.values()} & set(self._readable),
        )

    def postmortems(self, _: Request) -> Response:
        """The postmortems, the newest first."""
        shown = [views.postmortem(name, self._incident_of(name)) for name in self._shelf.names()]
        return page("postmortems.html", here="postmortems", postmortems=shown)

    def postmortem(self, request: Request) -> Response:
        """One postmortem to read and to print."""
        name, text = self._text_of(request)
        incident = self._incident_of(name)
        return page(
            "postmortem.html",
            here="postmortems",
            name=name,
            about=views.postmortem(name, incident),
            figures=views.figures(incident) if incident else (),
            incident=incident,
            **rendered(text),
        )

    def picture(self, request: Request) -> Response:
        """A picture that lies beside the drafts."""
        try:
            content = self._shelf.picture(f"{request.path_params['name']}.png")
        except (OSError, TooLarge):
            content = None
        if content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no picture of that name.")
        return Response(content, media_type="image/png")

    def source(self, request: Request) -> Response:
        """The Markdown itself, to be saved."""
        name, text = self._text_of(request)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)

    def _text_of(self, request: Request) -> tuple[str, str]:
        name: str = request.path_params["name"]
        name = name if name.endswith(".md") else f"{name}.md"
        try:
            text = self._shelf.read(name)
        except (OSError, TooLarge) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise HTTPException(HTTPStatus.INTERNAL_SERVER_ERROR, f"{name} cannot be read: {reason}.") from error
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no postmortem of that name.")
        return name, text

    def _incident_of(self, name: str) -> Incident | None:
        return self._journal.find(str(number_of(name)))
