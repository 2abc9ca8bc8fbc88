"""The nodes and GPUs of the fleet: who holds which GPU, how warm it is, and what its driver last reported."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

FB_TOTAL_MIB = 81_559  # what nvidia-smi reports for an H100 80GB HBM3
FB_RESERVED_MIB = 550
VLLM_MEMORY_SHARE = 0.9  # vLLM's default --gpu-memory-utilization: reserved up front, whatever the load
XID_OFF_BUS = 79
XID_CONTAINED = 94
XID_UNCONTAINED = 95
BOOST_MHZ = 1980.0
HW_THERMAL = 0x48  # clock event reasons: hardware slowdown (0x8), for its temperature (0x40)
THROTTLED = 2.4  # so much longer takes everything at halved clocks


@dataclass
class Gpu:
    """One H100. `lost` means it answers nothing; `broken` that it reports, but nothing can run on it until it is reset;
    `hot` that its cooling has failed. `xid` is the last Xid the kernel log gave (0: none yet)."""

    node: str
    index: int
    holder: str | None = None
    lost: bool = False
    broken: bool = False
    hot: bool = False
    xid: int = 0
    remapped_rows: int = 0
    throttled_ns: float = 0.0
    util: float = 0.0
    temp: float = 34.0
    energy_mj: float = 0.0

    @property
    def uuid(self) -> str:
        """A stable UUID in NVIDIA's form, made from where the GPU sits."""
        parts = [zlib.crc32(f"{self.node}/{self.index}/{salt}".encode()) for salt in range(4)]
        digits = "".join(f"{part:08x}" for part in parts)
        return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"

    @property
    def pci_bus_id(self) -> str:
        """The bus address, one per slot of an eight-way board."""
        return f"00000000:{0x1B + 0x26 * self.index:02X}:00.0"

    @property
    def power_w(self) -> float:
        """Board power in watts: 110 idle, about 660 at full load."""
        return 110.0 + 5.5 * self.util

    @property
    def fb_used_mib(self) -> float:
        """Frame buffer in use: the server's reservation when a replica holds the GPU, else the driver's."""
        return FB_TOTAL_MIB * VLLM_MEMORY_SHARE if self.holder else 620.0

    @property
    def sm_clock_mhz(self) -> float:
        """Boost clock under load, idle clock without; hardware that gets too hot takes more than half of it away."""
        if self.util <= 1:
            return 345.0
        return BOOST_MHZ / THROTTLED if self.throttled else BOOST_MHZ

    @property
    def throttled(self) -> bool:
        """Whether the hardware slows itself down for its temperature: only what works gets hot."""
        return self.hot and self.util > 1

    @property
    def event_reasons(self) -> int:
        """NVML's bit mask of why the clocks are what they are: idle (0x1), or too hot."""
        return 0x1 if self.util <= 1 else HW_THERMAL if self.throttled else 0

    @property
    def usable(self) -> bool:
        """Whether a process can run on it."""
        return not (self.lost or self.broken)

    def settle(self, load: float, dt: float) -> None:
        """Let utilisation and temperature follow `load` (KV share of its replica, 0..1) for dt seconds."""
        target = 0.0 if load <= 0 else min(100.0, 38.0 + 62.0 * load)
        self.util += (target - self.util) * (1 - math.exp(-dt / 1.5))
        warm = 90.0 if self.throttled else 34.0 + 0.42 * self.util
        self.temp += (warm - self.temp) * (1 - math.exp(-dt / 12.0))
        self.throttled_ns += dt * 1e9 if self.throttled else 0.0
        self.energy_mj += self.power_w * dt * 1000.0


@dataclass
class Node:
    """One server with its GPUs. `cordoned`: nothing new is placed here. `exporting`: its DCGM exporter answers; that is
    a pod of its own, the `exporter`-th of its kind here since `exporter_since` (seconds since the epoch)."""

    name: str
    gpus: list[Gpu]
    cordoned: bool = False
    exporting: bool = True
    exporter: int = 0
    exporter_since: float = 0.0
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def exporter_pod(self) -> str:
        """The name of the exporter's pod: with a part that looks random and changes with each start."""
        return f"dcgm-exporter-{zlib.crc32(f'{self.name}/{self.exporter}'.encode()):08x}"[:19]

    def restart_exporter(self, now: float) -> None:
        """The DaemonSet starts a new pod, and that one answers."""
        self.exporter += 1
        self.exporter_since = now
        self.exporting = True
        for gpu in self.gpus:
            gpu.xid = 0 if gpu.usable else gpu.xid  # the gauge lives in the exporter; a broken GPU says it anew


@dataclass
class Hardware:
    """All nodes, and the scheduler that hands out their GPUs."""

    nodes: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def build(cls, names: tuple[str, ...], gpus_per_node: int) -> Hardware:
        """Nodes `names`, each with `gpus_per_node` free GPUs."""
        return cls({name: Node(name, [Gpu(name, index) for index in range(gpus_per_node)]) for name in names})

    def gpus(self) -> Iterator[Gpu]:
        """Every GPU, node by node."""
        for node in self.nodes.values():
            yield from node.gpus

    def claim_at(self, holder: str, node: str, first: int, count: int) -> list[Gpu]:
        """Give `holder` the `count` GPUs of `node` that start at `first`, as the initial placement says."""
        claimed = self.nodes[node].gpus[first : first + count]
        for gpu in claimed:
            gpu.holder = holder
        return claimed

    def claim(self, holder: str, count: int) -> list[Gpu]:
        """Give `holder` the first `count` free GPUs that one schedulable node has; empty when none has."""
        for node in self.nodes.values():
            free = [gpu for gpu in node.gpus if gpu.holder is None and not gpu.lost]
            if not node.cordoned and len(free) >= count:
                for gpu in free[:count]:
                    gpu.holder = holder
                return free[:count]
        return []

    def release(self, gpus: list[Gpu]) -> None:
        """Take GPUs back from whoever holds them."""
        for gpu in gpus:
            gpu.holder = None
