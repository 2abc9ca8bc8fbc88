"""People on shift while servers die: they start a runbook on each incident, answer its steps, take it, and write notes.

They see what stands in Slack and press what is there. Who gets no answer tries again, as people do.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from bot.slack.actions import StepDo
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


class Responder:
    """One person, who looks after a part of the incidents, and the `second` one, who approves what cannot be undone.

    `noted` are the notes of which they were told that they are in the journal, `unsure` the others.
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
            self._bench.workspace.click(self._second, channel, message.ts, StepDo.APPROVE)

    def _take(self, channel: str) -> None:
        """Acknowledges, and says so in a note that nobody else writes."""
        if self._bench.workspace.command(self._user, channel, "/incident ack").ok:
            self._taken.add(channel)
            note = f"{self._user} has looked at it, number {len(self.noted) + len(self.unsure)}"
            told_before = len(self._bench.workspace.ephemerals(self._user))
            self._bench.workspace.command(self._user, channel, f"/incident note {note}")
            told = self._bench.workspace.ephemerals(self._user)[told_before:]
            (self.noted if any("Noted in" in one.text for one in told) else self.unsure).append(note)

    def _may(self, what: str) -> bool:
        """Whether it is not so long ago that this was tried."""
        if time.monotonic() - self._last.get(what, 0.0) < AGAIN_S:
            return False
        self._last[what] = time.monotonic()
        return True


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
