"""The GPU exporter's page in each of its generations: a node whose GPUs are well, warn or fail in all they can tell."""

from dataclasses import dataclass
from typing import Literal

from tests.health.conftest import Past
from tests.health.dialects import grows, steps

Generation = Literal["old", "old-names", "new", "counting", "totals", "sliced"]
GENERATIONS: tuple[Generation, ...] = ("old", "old-names", "new", "counting", "totals", "sliced")
Level = Literal["ok", "warn", "crit"]
SINCE = 10 * 60.0
"""Seconds before now at which it began."""


@dataclass(frozen=True)
class _Ill:
    """What the first GPU of a node reads since then; lost: so many seconds ago the second fell silent, 0 for never."""

    xid: int = 0
    slowed: float = 0.0
    clock: float = 1980
    replays: float = 0.0
    links: int = 0
    pending: int = 0
    rows: int = 0
    unmapped: int = 0
    double_bit: int = 0
    lost: float = 0.0
    node: str = "true"


_ILL: dict[Level, _Ill] = {
    "ok": _Ill(),
    "warn": _Ill(xid=63, slowed=0.3, clock=990, replays=20, links=5, pending=1, rows=2),
    "crit": _Ill(xid=79, slowed=0.9, replays=200, unmapped=1, double_bit=2, lost=SINCE, node="false"),
}


def write(past: Past, generation: Generation, level: Level, node: str) -> None:
    """Three GPUs of one node, and what Kubernetes says of the node."""
    ill = _ILL[level]
    past.gauge("up", {"job": "dcgm", "instance": f"{node}:9400"}, 1)
    gpu(past, generation, node, 0, ill)
    gpu(past, generation, node, 1, _Ill(), ill.lost)
    gpu(past, generation, node, 2, _Ill())


def silent(past: Past, generation: Generation, node: str) -> None:
    """A node whose exporter answers no more."""
    gpu(past, generation, node, 0, _Ill(), SINCE)


def shrunk(past: Past, generation: Generation, node: str) -> None:
    """A node that lost a GPU longer ago than anybody remembers."""
    write(past, generation, "ok", node)
    gpu(past, generation, node, 3, _Ill(), 80 * 60)
    past.gauge("kube_node_status_capacity", {"node": node, "resource": "nvidia_com_gpu", "unit": "integer"}, 4)


def kubernetes(past: Past, level: Level, node: str) -> None:
    """What kube-state-metrics tells of the node."""
    ready = {"condition": "Ready", "status": "true"}
    past.gauge("kube_node_status_condition", {"node": node, **ready}, steps(1, _ILL[level].node == "true", SINCE))
    past.gauge("kube_node_status_capacity", {"node": node, "resource": "nvidia_com_gpu", "unit": "integer"}, 3)


def gpu(past: Past, generation: Generation, node: str, index: int, ill: _Ill, lost: float = 0.0) -> None:
    """One GPU with all its series, as this generation writes them."""
    labels = {"gpu": str(index), "job": "dcgm", "instance": f"{node}:9400"}
    old = generation in {"old", "old-names"}
    labels |= {"Hostname" if old else "hostname": node}
    labels |= {"uuid" if generation == "old-names" else "UUID": f"GPU-{node}-{index}"}
    slices = [{"GPU_I_ID": f"{n}", "GPU_I_PROFILE": "3g.40gb"} for n in (1, 2)] if generation == "sliced" else [{}]
    for part in slices:
        _levels(past, generation, {**labels, **part}, ill, lost)
    _links(past, node, index, ill, lost)


def _levels(past: Past, generation: Generation, labels: dict[str, str], ill: _Ill, lost: float) -> None:
    def dev(name: str, value: float, before: float = 0.0) -> None:
        past.gauge(f"DCGM_FI_DEV_{name}", labels, steps(before, value, SINCE), lost)

    dev("GPU_TEMP", 60, 60)
    dev("SM_CLOCK", ill.clock, 1980)
    dev("GPU_UTIL", 95, 95)
    dev("ROW_REMAP_FAILURE", ill.unmapped)
    dev("ROW_REMAP_PENDING", ill.pending)
    dev("UNCORRECTABLE_REMAPPED_ROWS", ill.rows)
    dev("ECC_DBE_VOL_TOTAL", ill.double_bit)
    past.gauge("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", labels, grows(0, ill.replays / 60, SINCE), lost)
    _xids(past, generation, labels, ill, lost)
    _slowdowns(past, generation, labels, ill, lost)


def _xids(past: Past, generation: Generation, labels: dict[str, str], ill: _Ill, lost: float) -> None:
    gauge, counted = "DCGM_FI_DEV_XID_ERRORS", {**labels, "xid": str(ill.xid)}
    window = {"window_size_in_ms": "300000"}
    match generation:
        case "old" | "old-names":
            past.gauge(gauge, labels, steps(0, ill.xid, SINCE), lost)
        case "counting":
            past.gauge("DCGM_EXP_XID_ERRORS_COUNT", {**labels, **window}, 0, lost)
            if ill.xid:
                past.during("DCGM_EXP_XID_ERRORS_COUNT", {**counted, **window}, 1, SINCE, SINCE - 300)
        case "totals":
            past.gauge("DCGM_EXP_XID_ERRORS_TOTAL", {**labels, "xid": "13"}, 1, lost)
            if ill.xid:
                past.appearing("DCGM_EXP_XID_ERRORS_TOTAL", counted, 1, SINCE)
        case "new" | "sliced":
            # No series before a GPU's first Xid. The last GPU had an application's, long ago.
            if labels["gpu"] == "2":
                past.gauge(gauge, labels, 31, lost)
            if ill.xid:
                past.appearing(gauge, labels, ill.xid, SINCE)


def _slowdowns(past: Past, generation: Generation, labels: dict[str, str], ill: _Ill, lost: float) -> None:
    share = ill.slowed
    bits = steps(0x4, 0x44 if share else 0x4, 600 * share)
    match generation:
        case "old":
            past.gauge("DCGM_FI_DEV_THERMAL_VIOLATION", labels, grows(0, share * 1e9, SINCE), lost)
        case "old-names":
            past.gauge("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", labels, bits, lost)
        case "counting":
            events = {**labels, "window_size_in_ms": "300000"}
            past.gauge("DCGM_EXP_CLOCK_EVENTS_COUNT", {**events, "clock_event": "gpu_idle"}, 0, lost)
            hot = {**events, "clock_event": "hw_thermal"}
            past.gauge("DCGM_EXP_CLOCK_EVENTS_COUNT", hot, steps(0, 5 * share, SINCE), lost)
        case _:
            past.gauge("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", labels, bits, lost)


def _links(past: Past, node: str, index: int, ill: _Ill, lost: float) -> None:
    """Per link the exporter names the GPU, and the GPU's type, differently."""
    link = {"nvlink": "0", "gpu_uuid": f"GPU-{node}-{index}", "gpu": str(index), "hostname": node}
    link |= {"model_name": "NVIDIA H100 80GB HBM3", "job": "dcgm", "instance": f"{node}:9400"}
    for kind in ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY"):
        errors = ill.links if kind == "CRC_FLIT" else 0
        past.gauge(f"DCGM_FI_DEV_NVLINK_{kind}_ERROR_COUNT_TOTAL", link, steps(0, errors, SINCE), lost)
