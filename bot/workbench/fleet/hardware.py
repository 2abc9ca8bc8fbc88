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


@dataclass
class Gpu:
    """One H100. `lost` means it answers nothing; `xid` is the last Xid the kernel log gave (0: none yet)."""

    node: str
    index: int
    holder: str | None = None
    lost: bool = False
    xid: int = 0
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
        """Boost clock under load, idle clock without."""
        return 1980.0 if self.util > 1 else 345.0

    def settle(self, load: float, dt: float) -> None:
        """Let utilisation and temperature follow `load` (KV share of its replica, 0..1) for dt seconds."""
        target = 0.0 if load <= 0 else min(100.0, 38.0 + 62.0 * load)
        self.util += (target - self.util) * (1 - math.exp(-dt / 1.5))
        self.temp += (34.0 + 0.42 * self.util - self.temp) * (1 - math.exp(-dt / 12.0))
        self.energy_mj += self.power_w * dt * 1000.0


@dataclass
class Node:
    """One server with its GPUs. `cordoned`: nothing new is placed here."""

    name: str
    gpus: list[Gpu]
    cordoned: bool = False


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
