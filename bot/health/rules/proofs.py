"""Series for the pack's own tests: an engine, a GPU or a pod that does well or badly, as its exporter would say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bot.health.rules.engines import Counter, Engine, Histogram
from bot.health.rules.rule import series

MODEL: Final = "llama-70b"
OWNER: Final = {"service": "chat", "namespace": "inference"}
TARGET: Final = {"job": "inference", "instance": "10.0.0.1:8000"}
POD: Final = {"pod": "llama-70b-0", "node": "gpu-node-1"}
LENGTH: Final = 420
"""Minutes that an invented past lasts."""
TURN: Final = 365
"""The minute at which it may turn."""


def steady(value: float, minutes: int = LENGTH) -> str:
    """A gauge that stays."""
    return f"{value:g}x{minutes}"


def growing(per_minute: float, minutes: int = LENGTH, start: float = 0) -> str:
    """A counter, or a gauge that rises."""
    return f"{start:g}+{per_minute:g}x{minutes}"


def turning(before: float, after: float) -> str:
    """A counter that grows otherwise from minute TURN on."""
    return f"0+{before:g}x{TURN} {TURN * before + after:g}+{after:g}x{LENGTH - TURN - 1}"


@dataclass(frozen=True, slots=True)
class Bench:
    """One replica of one engine, and what it exports."""

    engine: Engine
    service: str = "chat"
    model: str = MODEL

    @property
    def labels(self) -> dict[str, str]:
        """What every series of it carries."""
        named = {self.engine.model: self.model} if self.engine.model else {}
        return {**TARGET, **OWNER, "service": self.service, **POD, **named}

    @property
    def seen(self) -> dict[str, str]:
        """What an alert about the model carries."""
        who = {"model_name": self.model} if self.engine.model else {"job": TARGET["job"]}
        return {**OWNER, "service": self.service, **who, "server": self.engine.id}

    @property
    def seen_replica(self) -> dict[str, str]:
        """What an alert about the replica carries."""
        return {**self.seen, **POD, "instance": TARGET["instance"]}

    @property
    def seen_target(self) -> dict[str, str]:
        """What an alert about its scrape carries."""
        return {**self.seen, "instance": TARGET["instance"]}

    def gauge(self, names: tuple[str, ...], values: str, generation: int = 0) -> dict[str, str]:
        """One of the names that the number has had, the newest by default."""
        return series(names[generation], self.labels, values)

    def counter(self, name: str, values: str, **more: str) -> dict[str, str]:
        return series(name, {**self.labels, **more}, values)

    def requests(self, ok: float, bad: float, then_bad: float | None = None) -> dict[str, str]:
        """Answers a minute, as this engine counts them; `then_bad`: how many are bad from minute TURN on, if others."""
        engine = self.engine
        later = bad if then_bad is None else then_bad

        def count(counter: Counter, before: float, after: float) -> dict[str, str]:
            values = growing(before) if before == after else turning(before, after)
            return series(counter.name, {**self.labels, **counter.example}, values)

        total, failed = engine.total[0], engine.failed[0]
        apart = failed.name == total.name or failed in engine.total
        fine = count(total, ok, ok) if ok else {}  # what has never happened has no series
        out = fine if apart else count(total, ok + bad, ok + later)
        out |= count(failed, bad, later) if bad else {}
        if engine.http:  # the door's counter does not know the model, the engine behind it does
            out = {key.replace(f', model_name="{self.model}"', ""): values for key, values in out.items()}
            out |= self.gauge(engine.running, steady(1))
        return out

    def at_a_gateway(self, ok: float, bad: float) -> dict[str, str]:
        """Answers a minute as a gateway before this engine counts them: it names the model."""
        before = {
            **OWNER,
            "service": self.service,
            "job": "gateway",
            "instance": "10.0.1.1:8080",
            "model_name": self.model,
        }
        total, failed = self.engine.total[0], self.engine.failed[0]
        fine = series(total.name, {**before, **total.example}, growing(ok))
        return fine | (series(failed.name, {**before, **failed.example}, growing(bad)) if bad else {})

    def latency(self, histogram: Histogram, limit: float, within: float, late: float) -> dict[str, str]:
        """Answers a minute within the limit, and up to four times later than it."""
        edges = {f"{limit * histogram.per_second:g}": within, f"{4 * limit * histogram.per_second:g}": within + late}
        out: dict[str, str] = {}
        for edge, count in {**edges, "+Inf": within + late}.items():
            out |= self.counter(f"{histogram.family}_bucket", growing(count), le=edge)
        return out | self.counter(f"{histogram.family}_count", growing(within + late))


def mirrored(past: Mapping[str, str], label: str) -> dict[str, str]:
    """The same as what a server does that only gets copies of users' requests."""
    return {f'{selector[:-1]}, {label}="next-shadow"}}': values for selector, values in past.items()}


def bench(engine: Engine) -> Bench:
    return Bench(engine)


GPU: Final = {"UUID": "GPU-7f3a", "gpu": "3", "Hostname": "gpu-node-1", "job": "dcgm", "instance": "10.0.0.9:9400"}
SEEN_GPU: Final = {"UUID": "GPU-7f3a", "gpu": "3", "node": "gpu-node-1"}


_SCRAPED: Final = {
    **{("hostname" if key == "Hostname" else key): value for key, value in GPU.items()},
    "job": "nvidia-dcgm-exporter",
    "service": "nvidia-dcgm-exporter",
    "endpoint": "gpu-metrics",
    "namespace": "gpu-operator",
    "pod": "nvidia-dcgm-exporter-x7k2p",
    "container": "nvidia-dcgm-exporter",
}
_WORKLOAD: Final = {"namespace": "inference", "pod": "llama-70b-0", "container": "vllm"}
OPERATORS_GPUS: Final[tuple[tuple[str, dict[str, str], dict[str, str]], ...]] = (
    (
        "a workload's, as the GPU operator has it scraped",
        {**_SCRAPED, **{f"exported_{label}": value for label, value in _WORKLOAD.items()}},
        {"namespace": "inference"},
    ),
    ("a workload's, with honorLabels", {**_SCRAPED, **_WORKLOAD}, {"namespace": "inference"}),
    ("nobody's, as the GPU operator has it scraped", _SCRAPED, {}),
)
"""A case's name, the labels of one GPU, and whose it is by the alert."""


def gpu(name: str, values: str, **more: str) -> dict[str, str]:
    """A series of one GPU, as the exporter up to 4.5.2 labels it."""
    return series(name, {**GPU, **more}, values)


def newer_gpu(name: str, values: str, **more: str) -> dict[str, str]:
    """The same by an exporter from 4.5.3 on, which writes `hostname`, scraped without honorLabels."""
    labels = {("hostname" if key == "Hostname" else key): value for key, value in GPU.items()}
    return series(name, {**labels, **more}, values)
