"""What each replica is asked, does and answers, as rates over time: the physics of README.md's kinds, in numpy."""

from dataclasses import dataclass
from random import Random

import numpy as np

from tests.quality.openmetrics import Floats, Mask
from tests.quality.scenarios import Effect, Scenario
from tests.quality.world import Slot, World

STEP_S = 15
RECENT_S = 90 * 60
DAY_STEP_S = 120
DAY_S = 25 * 3600 + 1800
BATCH = 32  # requests that a replica works on at once when it is full
TIMEOUT_S = 60.0
WHOLE_S, TRITON_WHOLE_S = 5.0, 0.3
PROMPT, OUTPUT = 600.0, 250.0  # tokens per request
_JITTER = {"low": 0.02, "medium": 0.08, "high": 0.20}
_BACKGROUND = {"low": 0.0, "medium": 0.001, "high": 0.003}
_MISSED = {"low": 0.0, "medium": 0.0, "high": 0.03}
_RAMP_S = 300.0


def axis() -> Floats:
    """The moments that are computed: a day coarsely, the last 90 minutes at the step of a scrape; the last is 0."""
    recent = np.arange(-RECENT_S, 1, STEP_S, dtype=np.float64)
    return np.concatenate([np.arange(-DAY_S, -RECENT_S, DAY_STEP_S, dtype=np.float64), recent])


def generator(scenario: Scenario, seed: int, name: str) -> np.random.Generator:
    """Noise for one thing, so that what one series draws does not depend on which others there are."""
    return np.random.default_rng(Random(f"{scenario.id}:{seed}:{name}").getrandbits(64))


@dataclass
class Noise:
    """How restless the fleet is."""

    jitter: float
    background: float
    missed: float

    @classmethod
    def of(cls, scenario: Scenario) -> "Noise":
        """README.md gives the three sizes."""
        return cls(_JITTER[scenario.noise], _BACKGROUND[scenario.noise], _MISSED[scenario.noise])

    def shake(self, rng: np.random.Generator, shape: int) -> Floats:
        """Factors around 1, within the jitter, that change over about a minute."""
        raw = rng.uniform(-1, 1, shape + 3)
        return 1 + self.jitter * (raw[:-3] + raw[1:-2] + raw[2:-1] + raw[3:]) / 2.5

    def scraped(self, rng: np.random.Generator, shape: int) -> Mask:
        """Which scrapes of a target arrived."""
        return rng.random(shape) >= self.missed


@dataclass
class Load:
    """One replica over time, a number per moment of `axis()`. Rates are per second.

    arrivals: requests sent to it. reached: of these, what got to the engine. done: requests that end at the engine, by
    outcome `ok`, `error` and `abort`. http_5xx: answers of that class, whoever gave them. first, each: factors on the
    time to the first token and on everything. wait: seconds in the queue. whole: mean seconds of a request without it.
    """

    arrivals: Floats
    reached: Floats
    ok: Floats
    error: Floats
    abort: Floats
    http_5xx: Floats
    first: Floats
    each: Floats
    wait: Floats
    whole: Floats
    running: Floats
    waiting: Floats
    kv: Floats
    preemptions: Floats
    prompt: Floats
    output: Floats
    ready: Mask
    hung: Mask
    busy: Floats
    hang_util: Floats


@dataclass
class Demand:
    """What all users of a service ask for. requests: per second; prompt, output: factors on the tokens of one request.

    held: a factor on what a request holds of the KV cache. Longer requests hold more; who merely spends more does not.
    """

    requests: Floats
    prompt: Floats
    output: Floats
    held: Floats


def since(t: Floats, effect: Effect) -> Mask:
    """The moments from its onset on."""
    return t >= effect.at


def _rising(t: Floats, effect: Effect, seconds: float) -> Floats:
    """From 0 at onset to 1 within `seconds`."""
    return np.asarray(np.clip((t - effect.at) / seconds, 0, 1))


def demand(world: World, service: str, t: Floats) -> Demand:
    """What is asked of a service, before anything is lost or refused."""
    whole = next(s for s in world.fleet.services if s.name == service)
    shape = np.ones_like(t)
    if whole.shape == "diurnal":
        shape = 1 + 0.25 * np.cos(2 * np.pi * t / 86_400)
    elif whole.shape == "ramp":
        shape = 1 + 0.2 * np.clip((t + RECENT_S) / RECENT_S, 0, 1)
    asked = Demand(whole.rps * whole.replicas * shape, np.ones_like(t), np.ones_like(t), np.ones_like(t))
    for effect in world.effects:
        if effect.target != f"service:{service}":
            continue
        rise, values = _rising(t, effect, _RAMP_S), effect.values
        if effect.kind == "load-change":
            asked.requests = asked.requests * (1 + (values["factor"] - 1) * rise)
        elif effect.kind == "length-change":
            asked.prompt = asked.prompt * (1 + (values["prompt_factor"] - 1) * rise)
            asked.output = asked.output * (1 + (values["output_factor"] - 1) * rise)
            asked.held = (asked.prompt * PROMPT + asked.output * OUTPUT) / (PROMPT + OUTPUT)
        elif effect.kind == "token-growth":
            requests = values["requests_factor"]
            asked.requests = asked.requests * (1 + (requests - 1) * rise)
            longer = (1 + (values["factor"] - 1) * rise) / (1 + (requests - 1) * rise)
            asked.prompt, asked.output = asked.prompt * longer, asked.output * longer
    return asked


def ready(slot: Slot, t: Floats) -> Mask:
    """The moments at which the replica takes requests."""
    out = np.zeros(t.shape, dtype=np.bool_)
    for pod in slot.pods:
        alive = (t >= pod.life.begin) & (t < pod.life.end)
        for gap in pod.away:
            alive &= ~((t >= gap.begin) & (t < gap.end))
        out |= alive
    return out


def loads(world: World, seed: int, service: str, t: Floats) -> list[Load]:
    """Each replica of a service. Those that are ready get an equal share of all that is asked."""
    slots = world.of(service)
    asked = demand(world, service, t)
    alive = [ready(slot, t) for slot in slots]
    share = asked.requests / np.maximum(np.sum(alive, axis=0), 1)
    return [
        _load(world, seed, slot, t, asked, np.where(mask, share, 0.0), mask)
        for slot, mask in zip(slots, alive, strict=True)
    ]


def _load(world: World, seed: int, slot: Slot, t: Floats, asked: Demand, share: Floats, alive: Mask) -> Load:
    rng = generator(world.scenario, seed, f"load:{slot.service.name}/{slot.index}")
    noise = Noise.of(world.scenario)
    own = [effect for effect in world.effects if slot in world.touched(effect.target)]
    arrivals = share * noise.shake(rng, t.size)
    first, each, wait, queue, preemptions = (np.ones_like(t), np.ones_like(t), *(np.zeros_like(t) for _ in range(3)))
    kv = np.clip(rng.uniform(0.35, 0.55) * noise.shake(rng, t.size), 0.3, 0.6)
    kv = np.minimum(kv * asked.held, 0.9)
    shares = {how: np.zeros_like(t) for how in ("error", "abort", "http-5xx", "http-503")}
    shares["error"] += noise.background
    hung, held, util = np.zeros(t.shape, dtype=np.bool_), np.zeros_like(t), np.zeros_like(t)
    full = np.zeros(t.shape, dtype=np.bool_)
    for effect in own:
        on, values = since(t, effect), effect.values
        match effect.kind:
            case "failing-requests":
                shares[values["how"]] = shares[values["how"]] + np.where(on, values["share"], 0.0)
            case "slow-requests" if values["stage"] == "first-token":
                first = first * np.where(on, values["factor"], 1.0)
            case "slow-requests":
                each = each * np.where(on, values["factor"], 1.0)
            case "hang":
                hung |= on
                held, util = np.where(on, values["held"], held), np.where(on, values["gpu_util"] / 100, util)
            case "queue" | "kv-pressure":
                grown = _rising(t, effect, effect.onset)
                queue, wait = queue + values["queue"] * grown, wait + values["wait"] * grown
                if effect.kind == "queue":
                    full |= on
                else:
                    # The cache fills within two minutes; preemptions come from a cache that is full.
                    rise = _rising(t, effect, 120.0)
                    top = np.minimum(values["usage"] * (1 + noise.jitter * rng.uniform(-0.1, 0.1, t.size)), 1.0)
                    kv = kv * (1 - rise) + top * rise
                    preemptions = preemptions + values["preemptions"] / 60 * rise
    queue = np.where(alive, queue * noise.shake(rng, t.size), 0.0)
    never = np.minimum(shares["http-5xx"] + shares["http-503"], 1.0)
    reached = arrivals * (1 - never)
    growth = np.maximum(np.gradient(queue, t), 0.0)
    leaving = np.where(hung | ~alive, 0.0, np.maximum(reached - growth, 0.2 * reached))
    failed = np.minimum(shares["error"] + shares["abort"], 1.0)
    late = np.interp(t - TIMEOUT_S, t, np.where(hung, arrivals, 0.0))
    usual = TRITON_WHOLE_S if slot.service.engine == "triton" else WHOLE_S
    whole = (usual + (0 if slot.service.engine == "triton" else 0.3 * (first - 1))) * each
    if slot.service.engine == "triton":
        whole = whole * first
    level = np.where(alive, arrivals * slot.service.used / slot.service.rps, 0.0)
    running = np.minimum(level, 1.0) * BATCH * whole / usual
    running = np.where(full & alive, np.maximum(running, BATCH), running)
    running = np.where(hung & alive, held, running)
    waiting = np.where(hung & alive, np.minimum(np.cumsum(np.where(hung, arrivals, 0) * _steps(t)), 1e9), queue)
    waiting = np.where(hung, np.minimum(waiting, arrivals * TIMEOUT_S), waiting)
    busy = np.where(hung, util, np.minimum(level * whole / usual, 0.99)) * alive
    return Load(
        arrivals=arrivals,
        reached=reached,
        ok=leaving * (1 - failed),
        error=leaving * shares["error"],
        abort=leaving * shares["abort"],
        http_5xx=leaving * shares["error"] + arrivals * never + late * alive,
        first=first * noise.shake(rng, t.size),
        each=each * noise.shake(rng, t.size),
        wait=wait,
        whole=whole,
        running=running,
        waiting=waiting,
        kv=np.where(alive, kv, 0.0),
        preemptions=preemptions * ~hung * alive,
        prompt=PROMPT * asked.prompt,
        output=OUTPUT * asked.output,
        ready=alive,
        hung=hung,
        busy=busy,
        hang_util=np.where(hung, util, np.nan),
    )


def _steps(t: Floats) -> Floats:
    return np.diff(t, prepend=t[0] - (t[1] - t[0]))
