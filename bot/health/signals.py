"""The observations, and the questions that the causes ask of them: who is in trouble, since when, where. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from bot.health.capacity import Replica
from bot.health.observation import Observation, Sample, pod_of
from bot.health.situation import Situation, of_model

USERS = ("U1", "U1b", "U2", "U2b", "U3", "U4", "U5")
FAULTS = ("H1", "H2", "H3", "H3c", "H6")
"""What makes a GPU or its node unfit to serve when it is critical."""

BROKEN = 0.05
"""Share of a replica's answers that break off, or begin too late, past which it is ill."""


class Signals:
    """A situation, by check id."""

    def __init__(self, found: Situation, now: datetime) -> None:
        self.found = found
        self.now = now
        self._by_id = {observation.check: observation for observation in found.observations}

    def get(self, check: str) -> Observation | None:
        """The observation, if this check was made."""
        return self._by_id.get(check)

    def known(self, *checks: str) -> bool:
        """All of them were answered."""
        return all((seen := self.get(check)) is not None and seen.status != "unknown" for check in checks)

    def ok(self, *checks: str) -> bool:
        """All of them are known and within their limits."""
        return all((seen := self.get(check)) is not None and seen.status == "ok" for check in checks)

    def bad(self, *checks: str) -> bool:
        """One of them is past a limit."""
        return any((seen := self.get(check)) is not None and seen.bad for check in checks)

    def crit(self, *checks: str) -> bool:
        """One of them is critical."""
        return any((seen := self.get(check)) is not None and seen.status == "crit" for check in checks)

    def past(self, *checks: str) -> list[Observation]:
        """Those of them that are past a limit."""
        return [seen for check in checks if (seen := self.get(check)) is not None and seen.bad]

    def models(self, *checks: str) -> frozenset[str]:
        """The models past a limit in any of these checks, as far as their series name one."""
        return frozenset(
            sample.labels.get("model_name", "") for seen in self.past(*checks) for sample in seen.series
        ) - {""}

    def value(self, check: str, model: str = "") -> float | None:
        """The check's worst number, or that of one model, as far as its series are at hand."""
        seen = self.get(check)
        if seen is None:
            return None
        for sample in seen.series if model else ():
            if sample.labels.get("model_name") == model:
                return sample.value
        return seen.value

    # --- when ---

    def since(self, *checks: str) -> datetime | None:
        """When the first of those that are bad went past its limit, as far as anybody knows."""
        return min((seen.since for seen in self.past(*checks) if seen.since), default=None)

    @property
    def onset(self) -> datetime | None:
        """When the users' trouble began: the critical part of it where there is one, for mild trouble may be old."""
        critical = [check for check in USERS if self.crit(check)]
        return self.since(*critical) or self.since(*USERS)

    @property
    def changed(self) -> datetime | None:
        """When the youngest change was made that could concern those in trouble."""
        change = self.get("E4")
        if change is None or not change.bad:
            return None
        troubled = self.models(*USERS)
        ages = [
            sample.value
            for sample in change.series
            if not troubled or sample.labels.get("model_name", "") in {"", *troubled}
        ]
        return self.now - timedelta(seconds=min(ages)) if ages else None

    # --- where ---

    def faulty(self, *checks: str, critical: bool = True) -> list[Sample]:
        """The GPUs and nodes past a limit in any of these checks."""
        seen = [one for one in self.past(*checks) if one.status == "crit" or not critical]
        return [sample for one in seen for sample in one.series if _past(one, sample)]

    def touched(self, samples: Iterable[Sample]) -> list[Replica]:
        """The replicas on these GPUs: those whose pod holds one, else those on its node."""
        out: list[Replica] = []
        for sample in samples:
            pod, host = pod_of(sample.labels), sample.labels.get("host", "")
            on_pod = [replica for replica in self.found.replicas if pod and replica.name == pod]
            # Whether a pod holds it is only known where the exporter maps pods at all.
            mapped = any(gpu.pod for gpu in self.found.gpus if gpu.node == host) and sample.labels.get("gpu")
            at_host = [replica for replica in self.found.replicas if host and replica.node == host]
            out += on_pod if on_pod or mapped else at_host
        return list(dict.fromkeys(out))

    def idle(self, samples: Iterable[Sample]) -> bool:
        """Whether it is known that none of these GPUs serves those in trouble."""
        samples = list(samples)
        troubled = self.models(*USERS)
        models = {of_model(sample, self.found.replicas) for sample in samples} - {""}
        models |= {replica.model for replica in self.touched(samples)}
        if models:
            return bool(troubled) and not models & troubled
        placed = any(replica.node or "/" in replica.name for replica in self.found.replicas)
        return placed and any(gpu.pod for gpu in self.found.gpus)

    def ill(self) -> list[Replica]:
        """The replicas whose own answers break off, or that hang."""
        return [one for one in self.found.replicas if one.stalled or (one.broken or 0.0) > BROKEN]

    def late(self) -> list[Replica]:
        """The replicas whose first tokens come after the SLA."""
        return [one for one in self.found.replicas if (one.late or 0.0) > BROKEN]

    def confined(self, where: list[Replica], *, late: bool) -> bool | None:
        """Whether the trouble is on these replicas and not on the others; None when the replicas do not tell."""
        sick = self.late() if late else self.ill()
        here = [one for one in sick if one in where]
        if not sick or not where:
            return None
        return len(here) > len(sick) - len(here)


def _past(seen: Observation, sample: Sample) -> bool:
    """Of the series that are past some limit, those that are past the one the check is past."""
    if seen.unit == "xid" or seen.limit is None:
        return True
    sign = -1 if seen.direction == "below" else 1
    return sign * sample.value >= sign * seen.limit
