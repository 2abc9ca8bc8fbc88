"""What a comparison found, for people, for programs and as metrics. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.quality.drift import Score, Unscored
from bot.quality.exposition import Figure


@dataclass(frozen=True, slots=True)
class Missing:
    """Shares of a feature's rows without a value, 0 to 1, before and now."""

    feature: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True)
class Findings:
    """Scores with what could not be scored, whence they come (`about`, a line each), and scores of quality."""

    scores: tuple[Score, ...]
    unscored: tuple[Unscored, ...] = ()
    missing: tuple[Missing, ...] = ()
    about: tuple[str, ...] = ()
    quality: Mapping[str, float] = field(default_factory=dict)

    @property
    def drifted(self) -> list[str]:
        """The features that have drifted by any method, the worst first."""
        worst = [one.feature for one in self._worst_first() if one.drifted]
        return list(dict.fromkeys([*worst, *(one.feature for one in self.unscored if one.drifted)]))

    @property
    def untold(self) -> list[str]:
        """The features of which no distance and no verdict tells."""
        told = {one.feature for one in self.scores}
        told |= {one.feature for one in self.unscored if one.drifted is not None}
        return sorted(self._features() - told)

    def lines(self) -> Iterator[str]:
        """For a terminal: the table worst first, and one sentence at the end."""
        yield from self.about
        if self.about:
            yield ""
        width = max((len(name) for name in self._features()), default=0)
        width = max(7, min(width, 60))
        if self.scores:
            yield f"{'feature':<{width}}  {'method':<11}  {'score':>9}  {'threshold':>9}"
        for one in self._worst_first():
            row = f"{one.feature[:width]:<{width}}  {one.method:<11}  {one.value:>9.4f}  {one.threshold:>9g}"
            yield f"{row}  drifted" if one.drifted else row
        for name in self.unscored:
            verdict = "; drifted, it says" if name.drifted else ""
            yield f"{name.feature[:width]:<{width}}  {name.method:<11}  not told: {name.why}{verdict}"
        for gap in self.missing:
            yield f"{gap.feature[:width]:<{width}}  missing      {gap.reference:.2%} before, {gap.current:.2%} now"
        yield ""
        yield self.summary()

    def summary(self) -> str:
        """One sentence."""
        of = len(self._features())
        features = f"{of} feature{'s' if of != 1 else ''}"
        have = "has" if len(self.drifted) == 1 else "have"
        told = f"{len(self.drifted)} of {features} {have} drifted: {', '.join(self.drifted)}."
        if not self.drifted:
            told = f"None of {features} has drifted."
        return f"{told} Not told of: {', '.join(self.untold)}." if self.untold else told

    def to_dict(self, model: str, now: datetime) -> dict[str, Any]:
        """For programs."""
        return {
            "model": model,
            "at": now.isoformat(),
            "about": list(self.about),
            "drifted": self.drifted,
            "scores": [
                {
                    "feature": one.feature,
                    "method": one.method,
                    "score": one.value,
                    "threshold": one.threshold,
                    "drifted": one.drifted,
                }
                for one in self._worst_first()
            ],
            "not_scored": [
                {"feature": one.feature, "method": one.method, "why": one.why, "drifted": bool(one.drifted)}
                for one in self.unscored
            ],
            "missing": [
                {"feature": one.feature, "reference": one.reference, "current": one.current} for one in self.missing
            ],
            "quality": dict(self.quality),
        }

    def figures(self, model: str, now: datetime) -> Iterator[Figure]:
        """As metrics."""
        for one in self.scores:
            labels = {"model": model, "feature": one.feature, "method": one.method}
            yield Figure("model_drift_score", labels, one.value)
            yield Figure("model_drift_threshold", labels, one.threshold)
        for metric, value in self.quality.items():
            yield Figure("model_quality_score", {"model": model, "metric": metric}, value)
        yield Figure("model_drift_last_run_timestamp_seconds", {"model": model}, now.timestamp())

    def _features(self) -> set[str]:
        return {one.feature for one in self.scores} | {one.feature for one in self.unscored}

    def _worst_first(self) -> list[Score]:
        return sorted(self.scores, key=lambda one: (-one.value / one.threshold, one.feature, one.method))
