"""The pipeline that builds the fleet's models: it tells the bot of every new revision, as a team's CI would."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from bot.workbench.fleet import Fleet
from bot.workbench.slack.deliver import Poster

TIMEOUT_S = 5.0


class Pipeline:
    """Watches the fleet for revisions that have never run, and posts each to `url` until it is taken.

    Who goes back to an old revision needs no pipeline for it, and none tells of it.
    """

    def __init__(self, fleet: Fleet, url: str, token: str, clock: Callable[[], float], post: Poster) -> None:
        self._fleet = fleet
        self._url = url
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        self._clock = clock
        self._post = post
        self._known = {status["model"]: set(status["revisions"]) for status in fleet.models()}
        self._untold: list[dict[str, str]] = []

    def look(self) -> None:
        """One look; a bot that does not answer hears of it at the next."""
        for status in self._fleet.models():
            known = self._known[status["model"]]
            target = status["rolling_to"] or status["revision"]
            if target not in known:
                known.add(target)
                previous = status["revision"] if status["rolling_to"] else status["previous"]
                self._untold.append(self._change(status["model"], status["service"], target, previous))
        self._untold = [change for change in self._untold if not self._tell(change)]

    def _change(self, model: str, service: str, revision: str, previous: str) -> dict[str, str]:
        return {
            "id": f"pipeline-{model}-{revision}",
            "title": f"Deploy {model} {revision}",
            "model": model,
            "service": service,
            "environment": "production",
            "revision": revision,
            "previous": previous,
            "image": self._fleet.image(model, revision),
            "previous_image": self._fleet.image(model, previous),
            "by": "Jonas",
            "at": datetime.fromtimestamp(self._clock(), UTC).isoformat(),
        }

    def _tell(self, change: dict[str, str]) -> bool:
        """Whether there is no more to be done about it: it was taken, or refused for good."""
        try:
            status, _, _ = self._post(self._url, self._headers, json.dumps(change).encode(), TIMEOUT_S)
        except OSError:
            return False
        return status < 500
