"""The pages for people: incidents, postmortems and runbooks to read. Private, read-only, on loopback by default."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from bot.hands import Hands
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.journal import Journal
from bot.postmortem.render import to_html
from bot.postmortem.shelf import Shelf, TooLarge, number_of
from bot.postmortem.story import People, story
from bot.web import views
from bot.web.guard import Guard
from bot.web.hands import hands_routes
from bot.web.health import Vitals, health_routes

RECENT: Final = 30
"""Incidents on the board that are over."""
STATIC: Final = Path(__file__).parent / "static"

Clock = Callable[[], datetime]
Texts = Mapping[str, tuple[str, str]]
"""Runbooks by id: title and Markdown."""


def pages_app(
    journal: Journal,
    shelf: Shelf,
    texts: Texts,
    clock: Clock,
    *,
    policy: Policy,
    hosts: Collection[str],
    vitals: Vitals,
    hands: Hands,
) -> Starlette:
    """The application. `hosts` are the names it answers to; any other is refused, against DNS rebinding."""
    return Starlette(
        routes=[
            *pages_routes(journal, shelf, texts, clock, policy=policy),
            *health_routes(vitals, clock),
            *hands_routes(hands, clock),
        ],
        middleware=[Middleware(Guard, hosts)],
        exception_handlers={HTTPException: _problem},
    )


def pages_routes(journal: Journal, shelf: Shelf, texts: Texts, clock: Clock, *, policy: Policy) -> list[BaseRoute]:
    """The routes for people, without their guard. The handlers are synchronous; Starlette gives them threads."""
    pages = _Pages(journal, shelf, texts, clock, policy)
    return [
        Route("/", pages.board),
        Route("/incidents", lambda _: RedirectResponse("/", HTTPStatus.MOVED_PERMANENTLY)),
        Route("/incidents/{ref}", pages.incident),
        Route("/postmortems", pages.postmortems),
        Route("/postmortems/{name}", pages.postmortem),
        Route("/postmortems/{name}/source", pages.source),
        Route("/runbooks", pages.runbooks),
        Route("/runbooks/{id}", pages.runbook),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bot.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["path"] = lambda text: quote(str(text), safe="")
    environment.filters["web"] = lambda url: url if str(url).startswith(("https://", "http://")) else ""
    return environment


_TEMPLATES: Final = _environment()


def _page(template: str, status: int = HTTPStatus.OK, **values: Any) -> Response:
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status)


def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("only HTTP problems have a page") from error
    return _page("problem.html", error.status_code, here="", title="Not here", text=error.detail)


def _rendered(markdown: str) -> Mapping[str, Any]:
    """`body` and `headings` of a text to read; both are safe as they are, because `to_html` sanitized them."""
    html = to_html(markdown)
    headings = [(heading.anchor, Markup(heading.html)) for heading in views.outline(html)]  # noqa: S704
    return {"body": Markup(html), "headings": headings}  # noqa: S704


class _Pages:
    """The handlers with what they read from."""

    def __init__(self, journal: Journal, shelf: Shelf, texts: Texts, clock: Clock, policy: Policy) -> None:
        self._journal = journal
        self._shelf = shelf
        self._texts = texts
        self._clock = clock
        self._policy = policy

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
        return _page("board.html", here="incidents", now=now, live=live, recent=recent[:RECENT])

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
        before = self._journal.incident(incident.recurs) if incident.recurs else None
        return _page(
            "incident.html",
            here="incidents",
            now=now,
            incident=incident,
            card=views.card(incident, now, self._policy),
            facts=views.facts(incident, entries, now),
            troubles=views.troubles(incident),
            evidence=views.evidence(incident),
            runs=views.runs(incident, entries),
            figures=() if incident.is_live else views.figures(incident),
            lines=story(incident, entries, People(incident, entries)),
            before=before,
            books={run.runbook for run in incident.runs.values()} & set(self._texts),
        )

    def postmortems(self, _: Request) -> Response:
        """The postmortems, the newest first."""
        shown = [views.postmortem(name, self._incident_of(name)) for name in self._shelf.names()]
        return _page("postmortems.html", here="postmortems", postmortems=shown)

    def postmortem(self, request: Request) -> Response:
        """One postmortem to read and to print."""
        name, text = self._text_of(request)
        incident = self._incident_of(name)
        return _page(
            "postmortem.html",
            here="postmortems",
            name=name,
            about=views.postmortem(name, incident),
            figures=views.figures(incident) if incident else (),
            incident=incident,
            **_rendered(text),
        )

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

    def runbooks(self, _: Request) -> Response:
        """The runbooks in the order of their titles."""
        books = sorted(((title, book) for book, (title, _) in self._texts.items()), key=lambda item: item[0].lower())
        return _page("runbooks.html", here="runbooks", books=books)

    def runbook(self, request: Request) -> Response:
        """One runbook, as its file stands."""
        found = self._texts.get(request.path_params["id"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no runbook of that name.")
        title, text = found
        return _page(
            "runbook.html",
            here="runbooks",
            title=title,
            **_rendered(text),
        )
