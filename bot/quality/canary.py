"""A canary: a model is asked the same prompts again and again, and its answers are held against what they must be.

[[canary]]
name = "chat"
model = "llama-70b"
url = "http://gateway.inference:8000/v1"
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bot.contracts import Permanent, Transient
from bot.quality import prompts
from bot.quality.endpoint import CHAT, COMPLETIONS, Endpoint, Unfinished
from bot.quality.exposition import Figure
from bot.quality.judge import Answer, Fault, differing, judge
from bot.quality.prompts import Prompt
from bot.settings import Table, shown

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
EVERY: Final = timedelta(minutes=10)
SHORTEST: Final = timedelta(seconds=10)
LONGEST: Final = timedelta(days=1)
LONGEST_CALL: Final = timedelta(minutes=5)
TOKENS_PER_DAY: Final = 500_000
"""A round of the shipped prompts takes about 1,500; one every ten minutes half of this."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One table `[[canary]]`. `tokens_per_day` bounds what it costs: once over, it rests until midnight UTC."""

    name: str
    endpoint: Endpoint
    prompts: tuple[Prompt, ...]
    every: timedelta = EVERY
    samples: int = 1
    tokens_per_day: int = TOKENS_PER_DAY

    @classmethod
    def from_table(cls, table: Table, secret: Callable[[str], str | None], base: Path) -> "Canary":
        """The canary, after its faults went to the table. A relative file of prompts is below `base`."""
        name = table.text("name", required=True)
        if name and not NAME.fullmatch(name):
            table.fault("name", f"is {shown(name)}, but must be 1 to 40 small letters, digits and -")
        every = table.span("every", EVERY)
        if not SHORTEST <= every <= LONGEST:
            table.fault("every", "must be from 10s to 1d")
            every = EVERY
        timeout = table.span("timeout", timedelta(seconds=30))
        if not timedelta(0) < timeout <= LONGEST_CALL:
            table.fault("timeout", "must be longer than nothing and at most 5m")
        file = table.text("prompts")
        asked, faults = prompts.read(base / file if file else prompts.SHIPPED)
        for fault in faults:
            table.fault("prompts", f"{file} {fault}")
        canary = cls(
            name=name,
            endpoint=Endpoint(
                url=table.url("url", required=True),
                model=table.text("model", required=True),
                api=table.choice("api", CHAT, (CHAT, COMPLETIONS)),
                token=table.secret("token_env", secret),
                timeout=timeout.total_seconds(),
            ),
            prompts=asked,
            every=every,
            samples=table.whole("samples", 1, low=1, high=20),
            tokens_per_day=table.whole("tokens_per_day", TOKENS_PER_DAY, low=1_000, high=1_000_000_000),
        )
        table.done()
        return canary

    def slot(self, now: datetime) -> datetime:
        """When the round began that is due at `now`: the same for every server."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (now - midnight) // self.every * self.every

    def round(self, clock: Callable[[], datetime], stop: Callable[[], bool] = bool) -> "Round | None":
        """Asks every prompt once, or as often as samples are wanted; None when told to `stop` on the way."""
        tried: list[Tried] = []
        with self.endpoint.connected() as client:
            for prompt in self.prompts:
                told = [*self._answers(client, prompt, stop)]
                if stop():
                    return None
                tried.append(_judged(prompt, told))
        return Round(self.name, self.endpoint.model, clock(), tuple(tried))

    def _answers(self, client: Any, prompt: Prompt, stop: Callable[[], bool]) -> "Iterator[Answer | Unanswered]":
        """The prompt's samples; for one without an answer, why."""
        for _ in range(max(self.samples, 2 if prompt.same else 1)):
            if stop():
                return
            try:
                yield self.endpoint.ask(client, prompt)
            except Unfinished as failure:
                yield Unanswered(str(failure), prompt.most_tokens)
            except (Transient, Permanent) as failure:
                yield Unanswered(str(failure), 0)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Why there was no answer, and the most tokens that it can have cost all the same."""

    why: str
    tokens: int


def _judged(prompt: Prompt, told: Sequence[Answer | Unanswered]) -> "Tried":
    """How the prompt went, of its answers and of the reasons why there was none."""
    answers = [one for one in told if isinstance(one, Answer)]
    wrong = [judge(prompt, answer) for answer in answers]
    unlike = differing(prompt, answers)
    faults = [Fault("an answer", one.why) for one in told if isinstance(one, Unanswered)]
    return Tried(
        prompt.name,
        asked=len(told),
        passed=0 if unlike else sum(not one for one in wrong),
        unanswered=len(told) - len(answers),
        first_token_s=max((one.first_token_s for one in answers if one.first_token_s is not None), default=None),
        whole_s=max((one.whole_s for one in answers), default=None),
        tokens=sum(one.tokens for one in told),
        faults=tuple(dict.fromkeys([*faults, *(fault for one in wrong for fault in one), *unlike])),
    )


def read_all(
    tables: Sequence[Mapping[str, Any]], secret: Callable[[str], str | None], base: Path, faults: list[str]
) -> tuple[Canary, ...]:
    """The canaries of the tables, each with a name of its own. Faults are added to `faults`."""
    found: list[Canary] = []
    for number, values in enumerate(tables, 1):
        table = Table(f"canary[{number}]", values, faults)
        canary = Canary.from_table(table, secret, base)
        if canary.name in {one.name for one in found}:
            table.fault("name", f"is {canary.name}, as another canary's; give each its own")
        found.append(canary)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Tried:
    """How one prompt went: of `asked` samples so many `passed`, so many got no answer. Times are the slowest."""

    prompt: str
    asked: int
    passed: int
    unanswered: int
    first_token_s: float | None
    whole_s: float | None
    tokens: int
    faults: tuple[Fault, ...]

    @property
    def is_well(self) -> bool:
        return self.passed == self.asked


@dataclass(frozen=True, slots=True)
class Round:
    """How all prompts of a canary went."""

    canary: str
    model: str
    ended_at: datetime
    tried: tuple[Tried, ...]

    @property
    def failed(self) -> list[str]:
        """The prompts whose answers were not all as expected."""
        return [one.prompt for one in self.tried if not one.is_well]

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.tried)

    @property
    def pass_ratio(self) -> float:
        return sum(one.passed for one in self.tried) / sum(one.asked for one in self.tried)

    @property
    def quality(self) -> float | None:
        """Of the answers that came, the share as expected; None when none came: that says nothing of quality."""
        answered = sum(one.asked - one.unanswered for one in self.tried)
        return sum(one.passed for one in self.tried) / answered if answered else None

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        width = max(6, *(len(one.prompt) for one in self.tried))
        yield f"{'prompt':<{width}}  {'first token':>11}  {'whole':>8}"
        for one in self.tried:
            times = f"{_seconds(one.first_token_s):>11}  {_seconds(one.whole_s):>8}"
            verdict = "ok" if one.is_well else f"FAILED ({one.asked - one.passed} of {one.asked})"
            yield f"{one.prompt:<{width}}  {times}  {verdict}"
            for fault in one.faults:
                yield f"{'':<{width}}    expected  {fault.expected}"
                yield f"{'':<{width}}    got       {fault.got}"
        yield ""
        well = len(self.tried) - len(self.failed)
        yield f"{self.canary} ({self.model}): {well} of {len(self.tried)} prompts as expected, {self.tokens} tokens."

    def to_dict(self) -> dict[str, Any]:
        """As it is kept, and for programs."""
        return {**asdict(self), "ended_at": self.ended_at.isoformat(), "pass_ratio": self.pass_ratio}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Round":
        """As it was kept."""
        return cls(
            canary=kept["canary"],
            model=kept["model"],
            ended_at=datetime.fromisoformat(kept["ended_at"]),
            tried=tuple(
                Tried(**{**one, "faults": tuple(Fault(**fault) for fault in one["faults"])}) for one in kept["tried"]
            ),
        )

    def figures(self) -> Iterator[Figure]:
        """As metrics, but for its share in the model's quality."""
        labels = {"model": self.model, "canary": self.canary}
        yield Figure("model_canary_pass_ratio", labels, self.pass_ratio)
        yield Figure("model_canary_unanswered", labels, sum(one.unanswered for one in self.tried))
        for name, times in (
            ("model_canary_ttft_seconds", [one.first_token_s for one in self.tried]),
            ("model_canary_duration_seconds", [one.whole_s for one in self.tried]),
        ):
            if known := [time for time in times if time is not None]:
                yield Figure(name, labels, round(max(known), 4))
        for one in self.tried:
            yield Figure("model_canary_prompt_pass", {**labels, "prompt": one.prompt}, one.passed / one.asked)
        yield Figure("model_canary_last_run_timestamp_seconds", labels, self.ended_at.timestamp())


def figures(rounds: Sequence[Round]) -> Iterator[Figure]:
    """The last round of each canary as metrics; a model with several is as good as the worst of them says."""
    quality: dict[str, float] = {}
    for one in rounds:
        yield from one.figures()
        if one.quality is not None:
            quality[one.model] = min(one.quality, quality.get(one.model, 1.0))
    for model, value in quality.items():
        yield Figure("model_quality_score", {"model": model, "metric": "canary"}, value)


def spending(canaries: Iterable[Canary], spent: Mapping[str, int]) -> Iterator[Figure]:
    """What canaries have cost today, by name, and what they may."""
    for one in canaries:
        labels = {"model": one.endpoint.model, "canary": one.name}
        yield Figure("model_canary_tokens_today", labels, spent.get(one.name, 0))
        yield Figure("model_canary_tokens_per_day", labels, one.tokens_per_day)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
