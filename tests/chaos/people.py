"""People on shift while servers die: they start a runbook on each incident, answer its steps, take it, and write notes.

They see what stands in Slack and press what is there. Who gets no answer tries again, as people do.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bot.slack.actions import StepDo, StepRef, read_step_value
from bot.workbench.launch import Workbench
from bot.workbench.pagerduty.model import ApiError
from bot.workbench.slack.inputs import NoSuchChoice
from bot.workbench.slack.model import Message, SlackError, View
from tests.chaos.plant import RUNBOOK
from tests.story.night import JONAS, MAYA, PRIYA, action_ids

AGAIN_S: Final = 2.0
"""Nobody presses the same button, or types the same word, faster than this."""
FORM_S: Final = 1.5
"""A form is there within 3 s of the word or never: so long is a trigger good for."""
ENOUGH: Final = 2
"""Times that somebody wants a step previewed again before they give it up."""


HERE_S: Final = 2.0
"""An answer within this is of who did it: later our door answers in its stead, and goes on trying."""
SEEN_S: Final = 1.0
"""So long after an answer it shows whether it was given before the work: whispers come then, and who is unknown to a
server is asked for."""
WHO_IS: Final = frozenset({"users.info", "usergroups.users.list"})
"""Calls by which a server that has just begun learns who somebody is; until then it answers before it does anything."""


@dataclass(frozen=True)
class Taken:
    """Somebody was told between these two times that the incident of this channel is theirs, or another's already."""

    channel: str
    asked: datetime
    told: datetime


@dataclass(frozen=True)
class Approved:
    """A press of "approve" that was answered 200 at once, with nothing said against it, by a server that knew them."""

    ref: StepRef
    asked: datetime
    told: datetime


class Responder:
    """One person, who looks after a part of the incidents, and the `second` one, who approves what cannot be undone.

    `noted` are the notes of which they were told that they are in the journal, `unsure` the others. `taken` and
    `approved` are what else they were told or answered, so that it must be so.
    """

    def __init__(self, bench: Workbench, user: str, second: str, share: tuple[int, int], seed: int) -> None:
        self._bench = bench
        self._user = user
        self._second = second
        self._which, self._of = share
        self._dice = random.Random(seed)
        self._last: dict[str, float] = {}
        self._taken: set[str] = set()
        self._tries: dict[str, int] = {}
        self._runs: set[str] = set()
        self.noted: list[str] = []
        self.unsure: list[str] = []
        self.taken: list[Taken] = []
        self.approved: list[Approved] = []
        self._pressed: list[Approved] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._shift, daemon=True)
        self._thread.start()

    def go_home(self) -> None:
        self._ending.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _shift(self) -> None:
        while not self._ending.wait(0.05):
            for channel, messages in self._mine():
                if self._ending.is_set():
                    return
                # A button may be gone by the time it is pressed, and a channel out of sight.
                with suppress(SlackError, NoSuchChoice, KeyError):
                    self._look_after(channel, messages)
            self._see_what_came_of_it()

    def _mine(self) -> Iterator[tuple[str, list[Message]]]:
        state = self._bench.workspace.state
        with state.lock:
            channels = [(c.id, c.name, list(c.messages)) for c in state.channels.values()]
        for ident, name, messages in channels:
            if name.startswith("inc-") and int(name.split("-")[1]) % self._of == self._which:
                yield ident, messages

    def _look_after(self, channel: str, messages: Sequence[Message]) -> None:
        steps = [message for message in messages if "step" in mark(message)]
        if steps:
            self._runs.add(channel)
        if channel not in self._runs:
            if self._may(f"run {channel}"):
                self._start_a_run(channel)
            return
        for message in steps:
            self._answer(channel, message)
        if len(steps) == 3 and channel not in self._taken and self._may(f"ack {channel}"):
            self._take(channel)

    def _start_a_run(self, channel: str) -> None:
        workspace = self._bench.workspace
        if not workspace.command(self._user, channel, f"/incident run {RUNBOOK}").ok:
            return
        deadline = time.monotonic() + FORM_S
        while not any(_is_filled(view) for view in workspace.open_views(self._user)) and time.monotonic() < deadline:
            time.sleep(0.02)
        values = {"runbook": RUNBOOK, "param.machine": workspace.channel(channel).name}
        for view in workspace.open_views(self._user):
            with suppress(SlackError, NoSuchChoice):
                if not (_is_filled(view) and workspace.submit(self._user, view.id, values).ok):
                    workspace.close_view(self._user, view.id)

    def _answer(self, channel: str, message: Message) -> None:
        offered = action_ids(message)
        if StepDo.APPROVE in offered:
            self._approve(channel, message)
        elif StepDo.RETRY in offered and self._may(message.ts):
            # Something went wrong, or nobody knows whether it happened: a person looks, and decides.
            again = self._dice.random() < 0.3 and self._tries.get(message.ts, 0) < ENOUGH
            self._tries[message.ts] = self._tries.get(message.ts, 0) + again
            self._bench.workspace.click(self._user, channel, message.ts, StepDo.RETRY if again else StepDo.SKIP)
            if not again:
                self._says_why()

    def _says_why(self) -> None:
        """In the form that comes up, where it does."""
        workspace, deadline = self._bench.workspace, time.monotonic() + FORM_S
        while not (views := workspace.open_views(self._user)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for view in views:
            with suppress(SlackError, NoSuchChoice):
                if not workspace.submit(self._user, view.id, {"reason": "looked, and left it"}).ok:
                    workspace.close_view(self._user, view.id)

    def _approve(self, channel: str, message: Message) -> None:
        """The one beside does: what cannot be taken back takes two."""
        if self._may(message.ts):
            ref, asked = read_step_value(_value_of(message, StepDo.APPROVE)), datetime.now(UTC)
            outcome = self._bench.workspace.click(self._second, channel, message.ts, StepDo.APPROVE)
            told = datetime.now(UTC)
            if outcome.ok and (told - asked).total_seconds() < HERE_S:
                self._pressed.append(Approved(ref, asked, told))

    def _see_what_came_of_it(self) -> None:
        """Of the presses of a while ago, those that nothing was said against, and that nobody had to be known for."""
        for press in list(self._pressed):
            until = press.told.timestamp() + SEEN_S
            if time.time() < until:
                continue
            self._pressed.remove(press)
            since = press.asked.timestamp()
            said = any(since <= float(one.ts) <= until for one in self._bench.workspace.ephemerals(self._second))
            calls = ((call.method, call.at) for call in self._bench.workspace.calls)
            asked_who = any(method in WHO_IS and since <= at <= until for method, at in calls)
            if not said and not asked_who:
                self.approved.append(press)

    def _take(self, channel: str) -> None:
        """Acknowledges, and says so in a note that nobody else writes."""
        asked = datetime.now(UTC)
        answered, told = self._types(channel, "/incident ack")
        if answered:
            self._taken.add(channel)
            if any(" is yours" in one or "already acknowledged by" in one for one in told):
                self.taken.append(Taken(channel, asked, datetime.now(UTC)))
            note = f"{self._user} has looked at it, number {len(self.noted) + len(self.unsure)}"
            _, told = self._types(channel, f"/incident note {note}")
            (self.noted if any("Noted in" in one for one in told) else self.unsure).append(note)

    def _types(self, channel: str, words: str) -> tuple[bool, list[str]]:
        """Whether it was answered, and what they alone were told meanwhile; Slack keeps but the latest of that."""
        workspace = self._bench.workspace
        before = {one.ts for one in workspace.ephemerals(self._user)}
        outcome = workspace.command(self._user, channel, words)
        return outcome.ok, [one.text for one in workspace.ephemerals(self._user) if one.ts not in before]

    def _may(self, what: str) -> bool:
        """Whether it is not so long ago that this was tried."""
        if time.monotonic() - self._last.get(what, 0.0) < AGAIN_S:
            return False
        self._last[what] = time.monotonic()
        return True


def _value_of(message: Message, button: StepDo) -> str:
    """What is sent with a press of it. KeyError when it is there no more."""
    elements = (one for block in message.blocks for one in block.get("elements", ()))
    return str({one.get("action_id"): one.get("value") for one in elements}[button])


def _is_filled(form: View) -> bool:
    """Whether the form itself is there; before it, something holds its place."""
    return any(block.get("block_id") == "param.machine" for block in form.body["blocks"])


def mark(message: Message) -> dict[str, str]:
    """What the bot's messages carry, so that a repeat finds them; empty for other people's."""
    metadata = message.metadata or {}
    return dict(metadata["event_payload"]) if metadata.get("event_type") == "fixfirst" else {}


def responders(bench: Workbench, seed: int) -> list[Responder]:
    users = (MAYA, JONAS, PRIYA)
    pairs = zip(users, users[1:] + users[:1], strict=True)
    return [Responder(bench, *pair, (which, len(users)), seed + which) for which, pair in enumerate(pairs)]


def somebody_acts_in_pagerduty(bench: Workbench, dice: random.Random) -> None:
    """Takes or resolves one of the pages there; the bot hears of it by webhook."""
    burning = [incident.id for incident in bench.pagerduty.incidents if incident.status != "resolved"]
    if burning:
        with suppress(ApiError):
            bench.pagerduty.act(MAYA, dice.choice(burning), dice.choice(("acknowledge", "resolve", "resolve")))
