"""The observations, and the questions that the causes ask of them: who is in trouble, since when, where. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from bot.health.capacity import Replica
from bot.health.observation import Observation, Sample, pod_of
from bot.health.situation import Situation, of_model

USERS = ("U1", "U1b", "U2", "U2b", "U3", "U4", "U5")
BEFORE = timedelta(minutes=2)
"""A rate looks back, and a roll-out begins before its first pod serves: so much earlier, trouble is not a change's."""
FAULTS = ("H1", "H2", "H3", "H3c", "H6")
"""What makes a GPU or its node unfit to serve when it is critical."""

WORSE = ("M1f", "M1g")
"""What asks the model as a user would, or judges its answers: critical, they are plainly worse."""

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

    # --- what users feel ---

    @property
    def trouble(self) -> list[Observation]:
        """What is wrong for users: their checks past a limit, replicas that are missed, answers plainly worse."""
        felt = self.past(*USERS)
        vanished = self.past("U5b") if felt else []
        return [*felt, *vanished, *(seen for seen in self.past(*WORSE) if seen.status == "crit")]

    @property
    def troubled(self) -> frozenset[str]:
        """The models in trouble, as far as they are named."""
        return self.models(*(seen.check for seen in self.trouble))

    @property
    def missing(self) -> bool:
        """Whether replicas of those in trouble are missing."""
        return any(seen.check in {"U5", "U5b"} for seen in self.trouble)

    @property
    def answered(self) -> bool:
        """Whether requests are known to be answered, however late."""
        return self.ok("U1") and not self.crit("U1b")

    # --- when ---

    def since(self, *checks: str) -> datetime | None:
        """When the first of those that are bad went past its limit, as far as anybody knows."""
        return min((seen.since for seen in self.past(*checks) if seen.since), default=None)

    @property
    def onset(self) -> datetime | None:
        """When the users' trouble began: the critical part of it where there is one, for mild trouble may be old."""
        trouble = self.trouble
        critical = [seen.check for seen in trouble if seen.status == "crit"]
        return self.since(*critical) or self.since(*(seen.check for seen in trouble))

    @property
    def changed(self) -> datetime | None:
        """When the last change before the trouble was made that could concern those in it; else the last of all."""
        times = [self.now - timedelta(seconds=sample.value) for sample in self.changes]
        onset = self.onset or self.since("E3")
        before = [at for at in times if onset is None or at <= onset + BEFORE]
        return max(before or times, default=None)

    @property
    def changes(self) -> list[Sample]:
        """The recent changes that could concern those in trouble, or where containers restart."""
        concerned = self.troubled or self.models("E3")
        return [
            sample
            for seen in self.past("E4")
            for sample in seen.series
            if not concerned or sample.labels.get("model_name", "") in {"", *concerned}
        ]

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
        troubled = self.troubled
        models = {of_model(sample, self.found.replicas) for sample in samples} - {""}
        models |= {replica.model for replica in self.touched(samples)}
        if models:
            return bool(troubled) and not models & troubled
        placed = any(replica.node or "/" in replica.name for replica in self.found.replicas)
        return placed and any(gpu.pod for gpu in self.found.gpus)

    def renewed(self) -> list[Replica]:
        """The replicas of a recent change, where their ReplicaSet tells; none when no other serves beside them."""
        sets = tuple(f"{name}-" for sample in self.changes if (name := sample.labels.get("replicaset", "")))
        of_change = [one for one in self._troubled() if one.serving and sets and _pod(one).startswith(sets)]
        serving = [one for one in self._troubled() if one.serving]
        return of_change if len(of_change) < len(serving) else []

    def ill(self) -> list[Replica]:
        """The replicas whose own answers break off, or that hang."""
        return [one for one in self._troubled() if one.stalled or (one.broken or 0.0) > BROKEN]

    def late(self) -> list[Replica]:
        """The replicas whose first tokens come after the SLA."""
        return [one for one in self._troubled() if (one.late or 0.0) > BROKEN]

    def _troubled(self) -> list[Replica]:
        """The replicas of the models in trouble; of all when nobody names them."""
        troubled = self.troubled
        return [one for one in self.found.replicas if not troubled or one.model in troubled]

    def confined(self, where: list[Replica], *, late: bool) -> bool | None:
        """Whether the trouble is on these replicas and not on the others; None when the replicas do not tell."""
        sick = self.late() if late else self.ill()
        here = [one for one in sick if one in where]
        if not sick or not where:
            return None
        return len(here) > len(sick) - len(here)


def _pod(replica: Replica) -> str:
    return replica.name.rpartition("/")[2]


def _past(seen: Observation, sample: Sample) -> bool:
    """Of the series that are past some limit, those that are past the one the check is past."""
    if seen.unit == "xid" or seen.limit is None:
        return True
    sign = -1 if seen.direction == "below" else 1
    return sign * sample.value >= sign * seen.limit
