"""Series as OpenMetrics text: what promtool reads to fill a Prometheus with an invented past."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """One series; `times` in whole Unix seconds, rising."""

    labels: Mapping[str, str]
    times: Indices
    values: Floats

    def text(self, name: str, begin: float, end: float) -> str:
        """A sample a line, of those from `begin` up to, not including, `end`."""
        inner = ",".join(f"{key}={json.dumps(text)}" for key, text in self.labels.items())
        prefix = f"{name}{{{inner}}}"
        part = (self.times >= begin) & (self.times < end)
        samples = zip(self.values[part].tolist(), self.times[part].tolist(), strict=True)
        return "".join(f"{prefix} {value:.12g} {stamp}\n" for value, stamp in samples)


@dataclass
class Page:
    """Series by family. `now`: Unix seconds of time 0; all times given are seconds from there, never positive."""

    now: int
    families: dict[str, list[Series]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], times: Floats, values: Floats | float, shown: Mask) -> None:
        """One series, with a sample wherever `shown`; none at all where it never is. An empty label is no label."""
        if shown.any():
            stamps = self.now + np.rint(times[shown]).astype(np.int64)
            named = {key: text for key, text in labels.items() if text}
            self.families.setdefault(name, []).append(
                Series(named, stamps, np.broadcast_to(values, times.shape)[shown].astype(np.float64))
            )

    def lines(self, begin: float = -np.inf, end: float = np.inf) -> Iterator[str]:
        """The file, or the part between two moments, in pieces that end with a newline.

        The type is left open, since vendors' counters lack the `_total` that OpenMetrics asks of one.
        """
        for name, every in self.families.items():
            yield f"# TYPE {name} unknown\n"
            for series in every:
                yield series.text(name, begin, end)
        yield "# EOF\n"
