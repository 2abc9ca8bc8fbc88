"""What can be practised with the fleet: a fault, the alert it raises, the runbook for it, and the steps that mend it.

`fixfirst drill` and the drills among the tests both go by this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Scenario:
    """One thing to practise. `fault` and `alert` are empty where nothing is broken.

    also: further alerts that the same fault may raise. params: values of the runbook that no label of the alert gives.
    mends: the ids of the steps after which users are well again. outlasts: the fault itself goes on, because only
    people can end it (a repair, the end of a rush); the runbook has taken it away from users.
    """

    runbook: str
    mends: tuple[str, ...]
    fault: str = ""
    alert: str = ""
    also: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    outlasts: bool = True

    @property
    def alerts(self) -> tuple[str, ...]:
        """All that may fire, the one that names the runbook first."""
        return (self.alert, *self.also) if self.alert else ()


ERRORS, LATE, LOOP = "LLMErrorRatioHigh", "LLMTTFTp99AboveSLA", "LLMRestartLoop"
FULL, QUEUE = "LLMKVCacheSaturated", "LLMQueueGrowing"

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "bad-deploy": Scenario("rollback-model-deploy", ("roll-back",), "bad-deploy", ERRORS, also=(LATE,), outlasts=False),
    "gpu-oom": Scenario("gpu-oom-restart-loop", ("roll-back",), "gpu-oom", LOOP, also=(ERRORS,), outlasts=False),
    "model-down": Scenario("serve-from-cache", ("fallback-on",), "model-down", "ModelDown"),
    "gpu-off-bus": Scenario(
        "gpu-off-the-bus",
        ("cordon", "drain"),
        "gpu-off-bus",
        "GPUXidNeedsDrain",
        also=("GPUVanished", LATE, LOOP),
    ),
    "ecc-contained": Scenario(
        "gpu-ecc-contained",
        ("replace-pod",),
        "ecc-contained",
        "GPUMemoryErrorContained",
        also=(ERRORS, LATE),
        outlasts=False,
    ),
    "ecc-uncontained": Scenario(
        "gpu-ecc-uncontained", ("cordon", "drain"), "ecc-uncontained", "GPUMemoryErrorUncontained", also=(LOOP,)
    ),
    "thermal": Scenario("gpu-thermal-throttling", ("cordon", "drain"), "thermal", "GPUThermalSlowdown", also=(LATE,)),
    "engine-stalled": Scenario(
        "engine-stalled",
        ("replace-pod",),
        "engine-stalled",
        "LLMEngineStalled",
        also=(ERRORS, LATE),
        outlasts=False,
    ),
    "kv-saturation": Scenario(
        "kv-cache-saturated", ("shed-batch", "add-replica"), "kv-saturation", FULL, also=(QUEUE, LATE)
    ),
    "queue-saturated": Scenario("queue-scale-out", ("scale-out",), "queue-saturated", QUEUE, also=(LATE,)),
    "capacity-lost": Scenario(
        "fall-back-to-smaller-model",
        ("shift-half",),
        "capacity-lost",
        "LLMNoCapacity",
        also=(QUEUE, FULL, LATE),
    ),
    "token-spike": Scenario("token-cost-spike", ("cap",), "token-spike", "TokenSpike"),
    "drift": Scenario("drift-threshold-crossed", ("guard-on",), "drift", "ModelDriftPSI"),
    "wrong-template": Scenario("wrong-answers", ("roll-back",), "wrong-template", "ModelCanaryFailing", outlasts=False),
    "telemetry-blind": Scenario(
        "telemetry-blind", ("replace-exporter",), "telemetry-blind", "GPUTelemetryBlind", outlasts=False
    ),
    "promotion": Scenario(
        "promote-model-in-stages",
        ("start", "ten", "fifty", "all"),
        params={"model": "mistral-small", "candidate": "mistral-small-canary"},
    ),
}
"""By the fault's id, or a name of its own where there is none."""
