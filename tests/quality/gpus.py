"""The DCGM exporter's page, in three generations: what each GPU reads, and to whom Kubernetes gave it."""

from collections.abc import Mapping
from random import Random

import numpy as np

from tests.quality.load import Load, Noise, generator
from tests.quality.openmetrics import Floats, Mask, Page
from tests.quality.scenarios import Effect
from tests.quality.world import NAMESPACE, Gpu, Pod, Slot, World, hardware

STEP_S = 30
PAST_S = 150 * 60  # an hour before the rest, for what asks whether something was there an hour ago
XID_WINDOW_S = 300.0
_MIB = 81_559.0  # of an 80 GB card
_CLOCK_MHZ = 1_980.0
_BITS = {"hw-thermal": 0x40 | 0x8, "hw-power-brake": 0x80 | 0x8}
_EVENTS = {"hw-thermal": ("hw_thermal", "hw_slowdown"), "hw-power-brake": ("hw_power_brake", "hw_slowdown")}
_IDLE_BIT = 0x1


def axis() -> Floats:
    """The moments of the exporter's scrapes; the last is 0."""
    return np.arange(-PAST_S, 1, STEP_S, dtype=np.float64)


def write(
    world: World, seed: int, page: Page, loads: Mapping[str, list[Load]], t: Floats, silent: Mask, down: Mask
) -> None:
    """All GPUs. `t` is the axis of `loads`; silent, down: on the exporter's own axis, see `engines.write`."""
    if "dcgm" in world.fleet.missing:
        return
    times = axis()
    noise = Noise.of(world.scenario)
    for node in range(world.fleet.nodes):
        rng = generator(world.scenario, seed, f"dcgm:{node}")
        phase = float(rng.integers(0, STEP_S))
        scraped = noise.scraped(rng, times.size) & ~silent
        answers = ~down & ~(times >= world.lost_nodes.get(node, np.inf))
        target = {
            "job": "dcgm-exporter",
            "instance": f"10.{node}.200.1:9400",
            "namespace": "gpu-operator",
            "node": f"node-{node}",
        }
        page.add("up", target, times - phase, answers.astype(np.float64), scraped)
        for gpu in hardware(world.fleet):
            if gpu.node == node:
                _gpu(world, seed, page, gpu, target, loads, t, times, phase, scraped & answers)


def _gpu(
    world: World,
    seed: int,
    page: Page,
    gpu: Gpu,
    target: Mapping[str, str],
    loads: Mapping[str, list[Load]],
    t: Floats,
    times: Floats,
    phase: float,
    shown: Mask,
) -> None:
    rng = generator(world.scenario, seed, f"gpu:{gpu.node}/{gpu.index}/{gpu.instance}")
    ends, told = world.lost_gpus.get(gpu, (np.inf, None))
    shown = shown & (times < ends)
    readings = _readings(world, gpu, rng, loads, t, times)
    if told is not None and shown.any():
        _last_word(readings, shown, told)
    for owner, held in _owners(world, gpu, times):
        labels = {**_labels(world, gpu), **target, **_workload(world, owner, gpu.node)}
        for name, more, values in readings:
            page.add(name, {**labels, **more}, times - phase, values, shown & held & ~np.isnan(values))


def _last_word(readings: list[tuple[str, dict[str, str], Floats]], shown: Mask, told: int) -> None:
    """The driver named the Xid just before the GPU fell silent."""
    last = int(np.flatnonzero(shown)[-1])
    for name, _, values in readings:
        if name == "DCGM_FI_DEV_XID_ERRORS":
            values[last] = told


def _owners(world: World, gpu: Gpu, times: Floats) -> list[tuple[Pod | None, Mask]]:
    """Who held the GPU, and when; None for the time in which nobody did."""
    owners: list[tuple[Pod | None, Mask]] = []
    free = np.ones(times.shape, dtype=np.bool_)
    for slot in world.slots:
        for pod in slot.pods:
            if gpu in pod.gpus:
                held = (times >= pod.life.begin) & (times < pod.life.end)
                owners.append((pod, held))
                free &= ~held
    return [*owners, (None, free)]


def _labels(world: World, gpu: Gpu) -> dict[str, str]:
    serial = Random(f"{world.scenario.id}:{gpu.node}:{gpu.index}").getrandbits(128)
    text = f"{serial:032x}"
    host = "Hostname" if world.fleet.exporter == "dcgm-old" else "hostname"
    return {
        "gpu": str(gpu.index),
        "UUID": f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        "pci_bus_id": f"00000000:{0x18 + 8 * gpu.index:02X}:00.0",
        "device": f"nvidia{gpu.index}",
        "modelName": "NVIDIA H100 80GB HBM3",
        "DCGM_FI_DRIVER_VERSION": "550.90.07",
        host: f"node-{gpu.node}",
        "GPU_I_PROFILE": world.fleet.mig_profile,
        "GPU_I_ID": gpu.instance,
    }


def _workload(world: World, owner: Pod | None, node: int) -> dict[str, str]:
    """The pod on the GPU. Where the scrape does not honour labels, `pod` is the exporter's own."""
    exporter = {"pod": f"dcgm-exporter-{node:05d}", "container": "exporter"}
    if world.fleet.exporter == "dcgm-new":
        if owner is None:
            return exporter
        return {"pod": owner.name, "namespace": NAMESPACE, "container": owner.container}
    if owner is None:
        return exporter
    names = {"pod": owner.name, "namespace": NAMESPACE, "container": owner.container}
    return {**exporter, **{f"exported_{key}": value for key, value in names.items()}}


def _slot(world: World, gpu: Gpu) -> Slot | None:
    return next((slot for slot in world.slots if any(gpu in pod.gpus for pod in slot.pods)), None)


def _busy(world: World, gpu: Gpu, loads: Mapping[str, list[Load]], t: Floats, times: Floats) -> tuple[Floats, Floats]:
    """Utilisation 0 to 1, and whether a process holds the GPU's memory."""
    slot = _slot(world, gpu)
    if slot is None:
        return np.zeros_like(times), np.zeros_like(times)
    holds = np.zeros(times.shape, dtype=np.bool_)
    for pod in slot.pods:
        if gpu in pod.gpus:
            holds |= (times >= pod.life.begin) & (times < pod.life.end)
            for gap in pod.away:
                holds &= ~((times >= gap.begin) & (times < gap.end))
    load = loads[slot.service.name][slot.index]
    return np.interp(times, t, load.busy) * holds, holds.astype(np.float64)


def _xids(world: World, gpu: Gpu) -> list[tuple[float, int, int]]:
    """When, which and how often, the oldest first."""
    found = []
    for effect in world.effects:
        if effect.kind in {"xid", "memory-fault", "nvlink-fault"} and gpu in world.gpus(effect.target):
            number = effect.values["number" if effect.kind == "xid" else "xid"]
            found.append((effect.at, int(number), int(effect.values.get("count", 1))))
    return sorted(found)


def _readings(
    world: World, gpu: Gpu, rng: np.random.Generator, loads: Mapping[str, list[Load]], t: Floats, times: Floats
) -> list[tuple[str, dict[str, str], Floats]]:
    noise = Noise.of(world.scenario)
    busy, holds = _busy(world, gpu, loads, t, times)
    busy = np.clip(busy * noise.shake(rng, times.size), 0, 1)
    clock, temperature = np.ones_like(times), rng.uniform(40, 46) + 22 * busy * rng.uniform(0.9, 1.1)
    memory = np.where(holds > 0, rng.uniform(0.85, 0.92), 0.006)
    bits = np.where(busy < 0.01, _IDLE_BIT, 0).astype(np.float64)
    rows, double_bit, pending, failed = (np.zeros_like(times) for _ in range(4))
    link = np.zeros_like(times)
    throttled = {"hw-thermal": np.zeros_like(times), "hw-power-brake": np.zeros_like(times)}
    for effect in world.effects:
        if gpu not in world.gpus(effect.target):
            continue
        on, values = times >= effect.at, effect.values
        match effect.kind:
            case "gpu-slowdown":
                clock = np.where(on, values["clock_share"], clock)
                temperature = np.where(on, values["temperature"] + rng.uniform(-0.5, 0.5, times.size), temperature)
                bits = np.where(on, _BITS[values["reason"]], bits)
                throttled[values["reason"]] += on
            case "gpu-reading" if values["what"] == "temperature":
                temperature = np.where(on, values["value"], temperature)
            case "gpu-reading":
                memory = np.where(on & (holds > 0), values["value"], memory)
            case "memory-fault":
                rows, double_bit = rows + on * values["errors"], double_bit + on * values["errors"]
                pending += on * (values["remap"] == "pending")
                failed += on * (values["remap"] == "failed")
            case "nvlink-fault":
                link = link + np.maximum(times - effect.at, 0) / 60 * values["errors"]
    power = (75 + 560 * busy) * np.where(clock < 1, clock, 1.0) * noise.shake(rng, times.size)
    used = memory * _MIB
    plain: list[tuple[str, Floats]] = [
        ("SM_CLOCK", np.rint(_CLOCK_MHZ * clock)),
        ("MEM_CLOCK", np.full_like(times, 2619)),
        ("GPU_TEMP", np.rint(temperature)),
        ("MEMORY_TEMP", np.rint(temperature + 8)),
        ("POWER_USAGE", power),
        ("PCIE_REPLAY_COUNTER", np.zeros_like(times)),
        ("FB_USED", np.rint(used)),
        ("FB_FREE", np.rint(_MIB - used)),
        ("FB_RESERVED", np.full_like(times, 560)),
        ("UNCORRECTABLE_REMAPPED_ROWS", np.rint(rows)),
        ("CORRECTABLE_REMAPPED_ROWS", np.zeros_like(times)),
        ("ROW_REMAP_FAILURE", failed),
        ("ROW_REMAP_PENDING", pending),
        ("ECC_DBE_VOL_TOTAL", np.rint(double_bit)),
        ("NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", np.floor(link)),
        ("NVLINK_REPLAY_ERROR_COUNT_TOTAL", np.floor(link / 2)),
        ("NVLINK_RECOVERY_ERROR_COUNT_TOTAL", np.floor(link / 10)),
    ]
    if not world.fleet.mig_profile:
        plain.append(("GPU_UTIL", np.rint(100 * busy)))
    if world.fleet.exporter == "dcgm-count":
        plain.append(("CLOCKS_EVENT_REASONS", bits))
        plain.append(("THERMAL_VIOLATION", np.cumsum(throttled["hw-thermal"]) * STEP_S * 1e9))
        plain.append(("POWER_VIOLATION", np.cumsum(throttled["hw-power-brake"]) * STEP_S * 1e9))
    out: list[tuple[str, dict[str, str], Floats]] = [(f"DCGM_FI_DEV_{name}", {}, values) for name, values in plain]
    out.append(("DCGM_FI_PROF_GR_ENGINE_ACTIVE", {}, busy))
    out += _xid_series(world, gpu, times)
    if world.fleet.exporter == "dcgm-count":
        out += _clock_events(world, gpu, times, busy)
    return out


def _xid_series(world: World, gpu: Gpu, times: Floats) -> list[tuple[str, dict[str, str], Floats]]:
    """The gauge keeps the last number; the count series, where it exists, forgets after its window."""
    xids = _xids(world, gpu)
    gauge = np.full_like(times, 0.0 if world.fleet.exporter == "dcgm-old" else np.nan)
    for at, number, _ in xids:
        gauge = np.where(times >= at, float(number), gauge)
    out: list[tuple[str, dict[str, str], Floats]] = [("DCGM_FI_DEV_XID_ERRORS", {}, gauge)]
    if world.fleet.exporter != "dcgm-count":
        return out
    window = {"window_size_in_ms": str(int(1000 * XID_WINDOW_S))}
    quiet = np.zeros_like(times)
    for number in sorted({number for _, number, _ in xids}):
        counts = np.full_like(times, np.nan)
        for at, seen, count in xids:
            # The reports come within two minutes of the first.
            if seen == number:
                recent = np.clip((times - at) / 120, 0, 1) - np.clip((times - at - XID_WINDOW_S) / 120, 0, 1)
                within = (times >= at) & (times < at + XID_WINDOW_S + 120)
                counts = np.where(within, np.maximum(np.rint(recent * count), 1), counts)
                quiet = np.where(within, np.nan, quiet)
        out.append(("DCGM_EXP_XID_ERRORS_COUNT", {**window, "xid": str(number)}, counts))
    out.append(("DCGM_EXP_XID_ERRORS_COUNT", window, quiet))
    return out


def _clock_events(world: World, gpu: Gpu, times: Floats, busy: Floats) -> list[tuple[str, dict[str, str], Floats]]:
    window = {"window_size_in_ms": str(int(1000 * XID_WINDOW_S))}
    per_window = XID_WINDOW_S / STEP_S
    idle = np.where(busy < 0.01, per_window, 0.0)
    out = [("DCGM_EXP_CLOCK_EVENTS_COUNT", {**window, "clock_event": "gpu_idle"}, idle)]
    for effect in world.effects:
        if effect.kind == "gpu-slowdown" and gpu in world.gpus(effect.target):
            grown = np.clip((times - effect.at) / STEP_S, 0, per_window)
            counts = np.where(times >= effect.at, np.rint(grown), np.nan)
            out += [
                ("DCGM_EXP_CLOCK_EVENTS_COUNT", {**window, "clock_event": event}, counts)
                for event in _EVENTS[effect.values["reason"]]
            ]
    return out


def silences(effects: tuple[Effect, ...], exporter: str, times: Floats) -> tuple[Mask, Mask]:
    """When nothing of an exporter is recorded at all, and when only `up` is, as 0."""
    silent, down = np.zeros(times.shape, dtype=np.bool_), np.zeros(times.shape, dtype=np.bool_)
    for effect in effects:
        if effect.kind == "telemetry-gap" and effect.target in {f"exporter:{exporter}", "exporter:all"}:
            ends = effect.at + 60 * effect.values.get("lasts", np.inf)
            gap = (times >= effect.at) & (times < ends)
            if effect.values["how"] == "target-gone":
                silent |= gap
            else:
                down |= gap
    return silent, down
