"""The workspace as a whole: a local Slack that an unchanged app talks to, and that tests and pages drive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from . import people, responses
from .config import WorkspaceConfig
from .deliver import Attempt, Poster, http_post
from .faults import Faults
from .methods import METHODS, Reply, WebApi
from .model import Call, Channel, Json, Message, SlackError, User, View
from .pace import Pace
from .people import Outcome
from .state import State

# How long the courier of events sleeps when nothing is due: a new event or `stop` wakes it at once.
IDLE_S = 60.0


class Workspace:
    """One team with one app installed, in memory.

    `clock` gives wall time in Unix seconds and may be driven by hand; `post` carries signed requests to the
    app. Users and channels are named by id or by name. Every method may be called from any thread, and none
    holds the lock while the app is at work.

    Events for the app wait in a queue: `start` has a thread deliver them as they fall due, or a test calls
    `deliver_events` itself; the acts of people below deliver what they caused when no thread runs.
    """

    def __init__(self, config: WorkspaceConfig, *, clock: Callable[[], float], post: Poster = http_post) -> None:
        self.config = config
        self.state = State(config, clock, post)
        self.pace = Pace(enabled=config.paced)
        self.faults = Faults()
        self.web_api = WebApi(self.state, self.pace, self.faults, METHODS)
        self._courier: Thread | None = None
        self._stopping = False
        self._woken = Condition()
        self.state.events.on_put = self._wake

    # -- the app's side --------------------------------------------------------------------------------

    def api(self, method: str, args: Mapping[str, Any] | None = None, *, token: str | None = None) -> Reply:
        """A Web API call made in this process; the bot's own token unless another is given."""
        return self.web_api.call(method, args or {}, self.config.bot_token if token is None else token)

    def respond(self, token: str, body: bytes) -> tuple[int, Json]:
        """An answer at a response_url, by the token at its end; HTTP status and body."""
        if self.faults.down:
            return 503, {"ok": False, "error": "service_unavailable"}
        return responses.respond(self.state, token, body)

    @property
    def calls(self) -> list[Call]:
        """The Web API calls so far (the latest 20,000), oldest first."""
        return list(self.web_api.calls)

    @property
    def event_attempts(self) -> list[Attempt]:
        """The tries at delivering an event so far (the latest 20,000), oldest first."""
        return list(self.state.events.attempts)

    def verify_request_url(self) -> bool:
        """Whether the app answers Slack's challenge at its events address, as app settings ask."""
        url = self.state.events_url
        if url is None:
            return False
        challenge = self.state.new_id("ch")
        token = self.config.verification_token
        body = f'{{"token":"{token}","challenge":"{challenge}","type":"url_verification"}}'.encode()
        answer = self.state.outbound.json(url, body, {})
        return answer.status == 200 and challenge in answer.body.decode("utf-8", "replace")

    # -- people's side ---------------------------------------------------------------------------------

    def say(self, user: str, channel: str, text: str, *, thread_ts: str | None = None) -> Message:
        """Write a message; raises SlackError when the channel is archived or out of sight."""
        message = people.say(self.state, self.user(user).id, self.channel(channel).id, text, thread_ts)
        self._deliver_by_hand()
        return message

    def command(self, user: str, channel: str, text: str) -> Outcome:
        """Type a slash command, e.g. `/incident ack`."""
        outcome = people.command(self.state, self.user(user).id, self.channel(channel).id, text)
        self._deliver_by_hand()
        return outcome

    def click(
        self, user: str, channel: str, ts: str, action_id: str, value: Any = None, *, block_id: str | None = None
    ) -> Outcome:
        """Press a button of a message, or choose `value` (an option's value or label, an id) in a menu."""
        container = {"type": "message", "channel": self.channel(channel).id, "ts": ts}
        return self.act(user, container, {"action_id": action_id, "block_id": block_id, "value": value})

    def click_in_view(
        self, user: str, view_id: str, action_id: str, value: Any = None, *, block_id: str | None = None
    ) -> Outcome:
        """Press a button, or choose in a menu, in an open modal or in the home tab."""
        container = {"type": "view", "view_id": view_id}
        return self.act(user, container, {"action_id": action_id, "block_id": block_id, "value": value})

    def act(self, user: str, container: Mapping[str, str], action: Mapping[str, Any]) -> Outcome:
        """Use a control, in the page's own terms (see people.act)."""
        outcome = people.act(self.state, self.user(user).id, container, action)
        self._deliver_by_hand()
        return outcome

    def submit(self, user: str, view_id: str, values: Mapping[str, Any]) -> Outcome:
        """Submit an open modal: block_id -> plain value, or Slack's own state values."""
        outcome = people.submit(self.state, self.user(user).id, view_id, values)
        self._deliver_by_hand()
        return outcome

    def close_view(self, user: str, view_id: str, *, whole_stack: bool = False) -> Outcome:
        """Close a modal without submitting it."""
        return people.close(self.state, self.user(user).id, view_id, whole_stack=whole_stack)

    def react(self, user: str, channel: str, ts: str, name: str, *, on: bool = True) -> Outcome:
        """Put an emoji on a message, or take it off."""
        where = self.channel(channel).id
        outcome = people.react(self.state, self.user(user).id, where, ts, name, on=on)
        self._deliver_by_hand()
        return outcome

    def open_home(self, user: str) -> View | None:
        """Open the app's home tab; returns what is shown once the app has heard of it."""
        people.open_home(self.state, self.user(user).id)
        self._deliver_by_hand()
        return self.state.homes.get(self.user(user).id)

    def read(self, user: str, channel: str) -> None:
        """Mark a channel as read."""
        people.read(self.state, self.user(user).id, self.channel(channel).id)

    # -- looking ---------------------------------------------------------------------------------------

    def user(self, name: str) -> User:
        """A member by id or name; raises KeyError."""
        return self.state.user(name)

    def channel(self, name: str) -> Channel:
        """A channel by id or name; raises KeyError. Its `messages` are in order, replies among them."""
        with self.state.lock:
            return self.state.channel(name)

    def ephemerals(self, user: str) -> list[Message]:
        """What only this person was shown, oldest first."""
        return [message for _, message in self.state.ephemerals[self.user(user).id]]

    def open_views(self, user: str) -> list[View]:
        """The modals open for a person, the top of the latest stack last."""
        return [view for view in self.state.views.values() if view.user == self.user(user).id]

    # -- running ---------------------------------------------------------------------------------------

    def publish(self, event: Json) -> None:
        """Send an event of another kind to every watching page."""
        self.state.hub.publish(event)

    def deliver_events(self) -> int:
        """Send the app every event that is due by the clock; returns the number of tries."""
        return self.state.events.deliver_due(self.state.events_url)

    def start(self) -> None:
        """Have a thread deliver events as they fall due; harmless when it already does."""
        if self._courier is not None:
            return
        self._stopping = False
        self._courier = Thread(target=self._deliver_always, name="workspace-events", daemon=True)
        self._courier.start()

    def stop(self) -> None:
        """End the thread, let hanging calls go and close the pages' streams."""
        self._stopping = True
        self._wake()
        self.faults.release()
        self.state.hub.close()
        self.state.sockets.stop()
        if self._courier is not None:
            self._courier.join(timeout=10)
            self._courier = None

    def __enter__(self) -> Workspace:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wake(self) -> None:
        with self._woken:
            self._woken.notify_all()

    def _deliver_by_hand(self) -> None:
        if self._courier is None:
            self.deliver_events()

    def _deliver_always(self) -> None:
        while not self._stopping:
            self.deliver_events()
            with self._woken:
                due = self.state.events.next_due()
                wait = IDLE_S if due is None else due - self.state.clock()
                if wait > 0 and not self._stopping:
                    self._woken.wait(min(wait, IDLE_S))


__all__ = ["Outcome", "SlackError", "Workspace", "WorkspaceConfig"]
