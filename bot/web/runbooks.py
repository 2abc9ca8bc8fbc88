"""The pages of the runbooks: the catalogue, with what has become of each, and one of them to read."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.journal import Journal
from bot.journal import catalogue as records
from bot.runbook.kinds import Targets
from bot.runbook.shelf import Book
from bot.web import catalogue
from bot.web.render import page, rendered

LOOKED_BACK: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Runbooks:
    """The runbooks as they were read at the start, with the targets that say what their steps cost."""

    books: Sequence[Book]
    targets: Targets

    @property
    def readable(self) -> Collection[str]:
        """The names of those that have a page."""
        return catalogue.keyed(self.books).keys()


class RunbookPages:
    """The handlers with what they read from."""

    def __init__(self, journal: Journal, runbooks: Runbooks, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._books = runbooks.books
        self._targets = runbooks.targets
        self._clock = clock
        self._pages = catalogue.keyed(runbooks.books)

    def routes(self) -> list[BaseRoute]:
        return [Route("/runbooks", self.list), Route("/runbooks/{id}", self.one)]

    def list(self, _: Request) -> Response:
        """Every runbook, and the alerts that have none."""
        now = self._clock()
        runs = records.runs(self._journal, now, LOOKED_BACK)
        alerts = records.alerts(self._journal, now, LOOKED_BACK)
        books = catalogue.catalogue(self._books, runs, self._targets, now)
        return page(
            "runbooks.html",
            here="runbooks",
            now=now,
            days=LOOKED_BACK.days,
            books=books,
            faulty=sum(bool(book.faults) for book in books),
            total=catalogue.standing(runs, now),
            orphans=catalogue.orphans(alerts, self._books, now),
        )

    def one(self, request: Request) -> Response:
        """One runbook: what its steps cost, how it has done, and its file as it stands."""
        name: str = request.path_params["id"]
        book = self._pages.get(name)
        if book is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no runbook of that name.")
        now = self._clock()
        runs = [run for run in records.runs(self._journal, now, LOOKED_BACK) if run.runbook == name]
        return page(
            "runbook.html",
            here="runbooks",
            days=LOOKED_BACK.days,
            book=catalogue.book_view(book, runs, self._targets, now, self._pages),
            **rendered(book.text),
        )
