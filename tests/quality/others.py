"""What neither engines nor machines tell: drift and quality from a job, tokens and spend from a proxy."""

from collections.abc import Sequence

import numpy as np

from tests.quality import gpus
from tests.quality.load import Load, generator
from tests.quality.openmetrics import Floats, Mask, Page
from tests.quality.world import World

RUN_EVERY_S = 600.0
PSI_THRESHOLD = 0.2
_USUAL = 0.3  # of the threshold
_QUALITY = 0.92
_KEYS = 5
_USD_PER_TOKEN = 1e-6
_TOKEN_EDGES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)


def drift(world: World, seed: int, page: Page, silent: Mask) -> None:
    """The drift job's gauges, pushed every ten minutes, for each model of the fleet."""
    times = gpus.axis()
    for service in world.fleet.services:
        rng = generator(world.scenario, seed, f"drift:{service.name}")
        ran = np.floor((times - rng.uniform(0, RUN_EVERY_S)) / RUN_EVERY_S) * RUN_EVERY_S + RUN_EVERY_S / 2
        ran = np.minimum(ran, times)
        run = np.unique(ran, return_inverse=True)[1]
        wobble = rng.uniform(0.97, 1.03, run.max() + 1)[run]
        score, quality = np.full_like(times, _USUAL), np.full_like(times, _QUALITY)
        for effect in world.effects:
            if effect.kind == "drift" and effect.target == f"service:{service.name}":
                score = np.where(ran >= effect.at, effect.values["score"], score)
                quality = np.where(ran >= effect.at, _QUALITY - effect.values["quality_drop"], quality)
        job = {"job": "drift", "instance": "pushgateway:9091", "model": service.name}
        for feature, scores in (("prompt_length", score), ("language", np.full_like(times, _USUAL))):
            series = {**job, "feature": feature, "method": "psi"}
            page.add("model_drift_score", series, times, PSI_THRESHOLD * scores * wobble, ~silent)
            page.add("model_drift_threshold", series, times, PSI_THRESHOLD, ~silent)
        page.add("model_drift_last_run_timestamp_seconds", job, times, page.now + ran, ~silent)
        page.add(
            "model_quality_score", {**job, "metric": "canary"}, times, np.minimum(quality * wobble**0.1, 1), ~silent
        )


def proxy(world: World, seed: int, page: Page, service: str, loads: Sequence[Load], t: Floats, silent: Mask) -> None:
    """LiteLLM's counters by key, and a client's OTel histogram, where the story has a proxy: for a day."""
    growth = [effect for effect in world.effects if effect.kind == "token-growth"]
    if not growth:
        return
    rng = generator(world.scenario, seed, f"proxy:{service}")
    steps = np.diff(t, prepend=t[0] - 120)
    requests = np.rint(np.sum([load.ok + load.error for load in loads], axis=0) * steps)
    tokens = np.sum([load.ok * (load.prompt + load.output) for load in loads], axis=0) * steps
    output = np.sum([load.ok * load.output for load in loads], axis=0) * steps
    one = np.full_like(t, 1 / _KEYS)
    for effect in growth:
        if effect.target == f"service:{service}":
            one = np.where(t >= effect.at, effect.values["key_share"], one)
    target = {"job": "litellm", "instance": "litellm:4000"}
    for number in range(_KEYS):
        share = one if number == 0 else (1 - one) / (_KEYS - 1)
        key = f"{rng.integers(0, 2**63):016x}"
        labels = {
            **target,
            "model": service,
            "requested_model": service,
            "team": f"team-{number}",
            "hashed_api_key": key,
        }
        mine = np.cumsum(np.rint(tokens * share))
        page.add("litellm_total_tokens_metric_total", labels, t, mine, ~silent)
        page.add("litellm_output_tokens_metric_total", labels, t, np.cumsum(np.rint(output * share)), ~silent)
        page.add("litellm_spend_metric_total", labels, t, mine * _USD_PER_TOKEN, ~silent)
        counted = {**labels, "status_code": "200"}
        page.add("litellm_proxy_total_requests_metric_total", counted, t, np.cumsum(requests) * (1 / _KEYS), ~silent)
    client = {"job": "otel-collector", "gen_ai_request_model": service, "gen_ai_operation_name": "chat"}
    each = output / np.maximum(requests, 1)
    for edge in (*_TOKEN_EDGES, np.inf):
        bucket = {**client, "gen_ai_token_type": "output", "le": "+Inf" if edge == np.inf else str(edge)}
        page.add("gen_ai_client_token_usage_bucket", bucket, t, np.cumsum(requests * (each <= edge)), ~silent)
    labels = {**client, "gen_ai_token_type": "output"}
    page.add("gen_ai_client_token_usage_sum", labels, t, np.cumsum(np.rint(output)), ~silent)
    page.add("gen_ai_client_token_usage_count", labels, t, np.cumsum(requests), ~silent)
