"""A scenario and a seed make a history: what Prometheus would remember of it."""

from tests.quality import cluster, engines, gpus, load, others
from tests.quality.openmetrics import Page
from tests.quality.scenarios import Scenario
from tests.quality.world import World, build


def history(scenario: Scenario, seed: int, now: int) -> Page:
    """What Prometheus would remember of this scenario. The same scenario, seed and now always give the same.

    The last 90 minutes at the steps of real scrapes (15 s engines, 30 s the others), what Kubernetes and the GPUs said
    an hour before, and a day of requests and tokens every two minutes. `now`: Unix seconds of the last sample.
    """
    return page(build(scenario, seed), seed, now)


def page(world: World, seed: int, now: int) -> Page:
    """The series of a world."""
    out = Page(now)
    t, slow = load.axis(), gpus.axis()
    every = {service.name: load.loads(world, seed, service.name, t) for service in world.fleet.services}
    everything_silent, _ = gpus.silences(world.effects, "all", t)
    for service in world.fleet.services:
        silent, down = gpus.silences(world.effects, f"engine/{service.name}", t)
        for slot, its in zip(world.of(service.name), every[service.name], strict=True):
            engines.write(world, seed, out, slot, its, t, silent, down)
        engines.gateway(world, seed, out, service.name, every[service.name], t, everything_silent)
        others.proxy(world, seed, out, service.name, every[service.name], t, everything_silent)
    silent, down = gpus.silences(world.effects, "dcgm", slow)
    gpus.write(world, seed, out, every, t, silent, down)
    slow_silent, _ = gpus.silences(world.effects, "all", slow)
    cluster.write(world, out, slow_silent)
    others.drift(world, seed, out, slow_silent)
    return out
