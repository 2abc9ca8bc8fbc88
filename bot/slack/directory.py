"""Who is who: from a Slack user id to an Actor with rights, without ever making an acknowledgement wait."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from slack_sdk import WebClient

from bot.contracts import Transient
from bot.incident.people import Actor, ActorKind, Refused, Right
from bot.slack.client import Refusal, call
from bot.slack.settings import Settings

log = structlog.get_logger()

FRESH: Final = timedelta(seconds=60)
"""Rights older than this are asked for again before they count."""
KNOWN_FOR: Final = timedelta(hours=12)
"""What kind of account somebody has changes rarely."""

CANNOT_ASK: Final = "Slack does not tell me who may respond right now; use `fixfirst ack` on the server meanwhile."


@dataclass(frozen=True, slots=True)
class _Person:
    kind: ActorKind
    name: str
    asked_at: datetime


class Directory:
    """Knows people and responder groups for a while. `known` never calls Slack; `look_up` does. Thread-safe."""

    def __init__(self, client: WebClient, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._people: dict[str, _Person] = {}
        self._responders: frozenset[str] = frozenset()
        self._responders_at: datetime | None = None

    def stranger(self, user_id: str, team_id: str) -> Actor | None:
        """An Actor for somebody of another workspace, told from the request alone; None for our own people."""
        if team_id in ("", self._settings.team_id):
            return None
        return Actor(ActorKind.STRANGER, user_id)

    def known(self, user_id: str) -> Actor | None:
        """The person with rights, if all of it is known and fresh; else None, and `look_up` has to be asked."""
        now = self._clock()
        with self._lock:
            person = self._people.get(user_id)
            if person is None or abs(now - person.asked_at) > KNOWN_FOR or not self._fresh(now):
                return None
            return self._actor(user_id, person)

    def look_up(self, user_id: str) -> Actor:
        """As `known`, asking Slack for what is missing. Raises Refused when Slack does not answer."""
        found = self.known(user_id)
        if found is not None:
            return found
        try:
            self.refresh()
            person = self._ask(user_id)
        except (Transient, Refusal) as failure:
            log.warning("directory_unavailable", reason=str(failure))
            raise Refused(CANNOT_ASK) from failure
        with self._lock:
            self._people[user_id] = person
            return self._actor(user_id, person)

    def refresh(self) -> None:
        """Asks for the members of the responder groups, and for who they are. Raises Transient, Refusal."""
        members: set[str] = set()
        for group in self._settings.responders:
            members.update(call(self._client.usergroups_users_list, usergroup=group).get("users", []))
        now = self._clock()
        with self._lock:
            self._responders = frozenset(members)
            self._responders_at = now
            unknown = [user for user in members if user not in self._people]
        for user in unknown:
            person = self._ask(user)
            with self._lock:
                self._people[user] = person

    def responders(self) -> frozenset[str]:
        """The members of the responder groups as last heard."""
        with self._lock:
            return self._responders

    def _fresh(self, now: datetime) -> bool:
        if not self._settings.responders:
            return True
        return self._responders_at is not None and abs(now - self._responders_at) <= FRESH

    def _actor(self, user_id: str, person: _Person) -> Actor:
        may = not self._settings.responders or user_id in self._responders
        rights = frozenset({Right.RESPOND}) if may and person.kind is ActorKind.MEMBER else frozenset[Right]()
        return Actor(person.kind, user_id, person.name, rights)

    def _ask(self, user_id: str) -> _Person:
        user = call(self._client.users_info, user=user_id)["user"]
        return _Person(self._kind(user), _name(user), self._clock())

    def _kind(self, user: Mapping[str, Any]) -> ActorKind:
        if user.get("is_bot"):
            return ActorKind.APP
        foreign = user.get("team_id") not in (None, "", self._settings.team_id)
        if foreign or user.get("is_stranger"):
            return ActorKind.STRANGER
        if user.get("is_restricted") or user.get("is_ultra_restricted") or user.get("deleted"):
            return ActorKind.GUEST
        return ActorKind.MEMBER


def _name(user: Mapping[str, Any]) -> str:
    profile = user.get("profile") or {}
    return str(
        user.get("real_name") or profile.get("real_name") or profile.get("display_name") or user.get("name") or ""
    )
