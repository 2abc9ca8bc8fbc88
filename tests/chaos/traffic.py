"""What knocks at the doors while servers die: alerts out of order and repeated, all else now and then twice."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bot.workbench.launch import Workbench
from bot.workbench.slack.deliver import http_post
from tests.doors.house import alert, webhook

SENDERS: Final = 4
LATE_S: Final = 3.0
"""A message may be this late, and so overtake, and be overtaken by, all that are sent meanwhile."""
ECHO_LATE_S: Final = 5.0
PATIENCE_S: Final = 3.0
"""How long a sender waits for an answer; Alertmanager waits longer, but then tries no other server."""
AGAIN_S: Final = 0.1
TAKEN_S: Final = 90.0
BACKLOG: Final = 60
"""With so much to send a monitor says nothing new: what piles up while the only server is dead is taken in later."""

PAGERDUTY: Final = "/hooks/pagerduty"

Answer = tuple[int, Mapping[str, str], bytes]


def model(number: int) -> str:
    return f"model-{number:03d}"


@dataclass
class Word:
    """What a monitor last said of one alert."""

    number: int
    began: datetime
    firing: bool = True


class Monitor:
    """An Alertmanager: each message goes out once or twice, late by chance, and again until it is answered 2xx.

    Alerts of more and more models begin, end and begin again. `told` is what the last word of each alert was,
    `accepted` counts the messages that were answered 2xx, repeats among them.
    """

    def __init__(self, bench: Workbench, seed: int, every_s: float, models_every: int) -> None:
        self._bench = bench
        self._dice = random.Random(seed)
        self._every_s = every_s
        self._models_every = models_every
        self.told: dict[str, Word] = {}
        self.accepted = 0
        self.answers: Counter[int] = Counter()
        self._lock = threading.Condition()
        self._order = itertools.count()
        self._queue: list[tuple[float, int, bytes]] = []
        self._said = 0
        self._ebbing = False
        self._threads = [threading.Thread(target=self._speak, daemon=True)]
        self._threads += [threading.Thread(target=self._send_all, daemon=True) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def ebb(self) -> None:
        """Says nothing new; returns when all that was said has been taken."""
        with self._lock:
            self._ebbing = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(TAKEN_S)
            assert not thread.is_alive(), "the last webhooks were never taken"

    def _speak(self) -> None:
        while not self._ebbing:
            if len(self._queue) < BACKLOG:
                self._say(self._next_word())
            time.sleep(self._every_s)

    def _next_word(self) -> str:
        """The alert that has news now: a new one of a new or known model, or one that ends or begins again."""
        if self._said % self._models_every == 0:
            number = self._said // self._models_every
        else:
            number = self._dice.randrange(max(1, 1 + self._said // self._models_every))
        self._said += 1
        of = f"{model(number)}:{self._dice.choice('ab')}"
        now = datetime.now(UTC)
        known = self.told.get(of)
        if known is None or not known.firing:
            # Alertmanager's times are to the millisecond; an episode begins after the one before it has ended.
            self.told[of] = Word(number, now)
        else:
            self.told[of] = Word(number, known.began, firing=False)
        return of

    def _say(self, of: str) -> None:
        word = self.told[of]
        body = json.dumps(webhook([_as_alert(of, word)])).encode()
        with self._lock:
            for _ in range(self._dice.choice((1, 1, 2))):
                at = time.monotonic() + self._dice.uniform(0, LATE_S)
                heapq.heappush(self._queue, (at, next(self._order), body))
            self._lock.notify()

    def _send_all(self) -> None:
        while True:
            with self._lock:
                while not self._queue or self._queue[0][0] > time.monotonic():
                    if self._ebbing and not self._queue and not self._threads[0].is_alive():
                        return
                    self._lock.wait(0.02)
                _, _, body = heapq.heappop(self._queue)
            while self._send(body) != 200:
                time.sleep(AGAIN_S)
            with self._lock:
                self.accepted += 1

    def _send(self, body: bytes) -> int:
        headers = {"Authorization": f"Bearer {self._bench.secrets.alertmanager_token}"}
        port = self._bench.ports.doors
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
                connection.request("POST", "/hooks/alertmanager", body, headers)
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        with self._lock:
            self.answers[status] += 1
        return status


def _as_alert(of: str, word: Word) -> dict[str, Any]:
    name = model(word.number)
    labels = {"alertname": "LLMErrorRatioHigh", "severity": "critical", "model_name": name}
    over = {"status": "resolved", "endsAt": (datetime.now(UTC) + timedelta(milliseconds=1)).isoformat()}
    return alert(
        of,
        labels=labels,
        annotations={"summary": f"{name} answers with errors"},
        startsAt=word.began.isoformat(),
        **({} if word.firing else over),
    )


@dataclass
class Echo:
    """Carries what the workbench's Slack and PagerDuty send to the bot; a part of it comes once more, seconds later and
    after what was sent meanwhile, and perhaps to another server. `again` counts those. `taken` are PagerDuty's webhooks
    that were answered 2xx, with when."""

    dice: random.Random
    share: float
    again: int = 0
    taken: list[tuple[datetime, bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        with self._lock:
            echoes = self.dice.random() < self.share
            late = self.dice.uniform(0, ECHO_LATE_S)
            self.again += echoes
        if echoes:
            timer = threading.Timer(late, self._repeat, (url, headers, body, timeout))
            timer.daemon = True
            timer.start()
        answer = http_post(url, headers, body, timeout)
        if url.endswith(PAGERDUTY) and 200 <= answer[0] < 300:
            self.taken.append((datetime.now(UTC), body))
        return answer

    @staticmethod
    def _repeat(url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> None:
        try:
            http_post(url, headers, body, timeout)
        except OSError:
            """Whoever repeats what was answered already does not insist."""
