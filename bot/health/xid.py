"""What each NVIDIA Xid number means to a responder: whose fault it is and what to do.

An Xid is an error number that the driver writes to the kernel log and that the DCGM exporter repeats. Most of them are
the application's doing and leave the GPU usable, so a number alone must never turn a report red: the kind decides.

The facts are NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors: number, meaning, immediate and investigatory
action), the fatal list of the EKS node monitoring agent (aws/eks-node-monitoring-agent), and the overrides of gpud
(leptonai/gpud) and NVSentinel (NVIDIA/NVSentinel), restated in our words and classes. Where they disagree, `note` says
so and we take the milder action that is safe.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["app", "record", "reset", "reboot", "physical", "vendor"]
Owner = Literal["app", "driver", "hardware"]
Severity = Literal["ok", "warn", "crit"]

_DO: dict[Kind, str] = {
    "app": "restart the workload; the GPU stays usable",
    "record": "keep for the record; act on the Xid beside it, if any",
    "reset": "drain the GPU, then reset it",
    "reboot": "drain the node, then power-cycle it",
    "physical": "drain the node, then check cables and power by hand",
    "vendor": "ask the vendor",
}
_SEVERITY: dict[Kind, Severity] = {
    "app": "ok",
    "record": "ok",
    "reset": "crit",
    "reboot": "crit",
    "physical": "crit",
    "vendor": "warn",
}


@dataclass(frozen=True, slots=True)
class Xid:
    """One number. `meaning` has at most six words; `severity` is what it does to a health report."""

    number: int
    kind: Kind
    meaning: str
    do: str
    owner: Owner
    severity: Severity
    note: str = ""

    @property
    def runbook(self) -> str:
        """The runbook for it, or "" where nothing is to be done on a node."""
        if self.number in _MEMORY:
            return "gpu-ecc-uncontained"
        if self.number == 94:
            return "gpu-ecc-contained"
        return "gpu-off-the-bus" if self.severity == "crit" else ""


_MEMORY = frozenset({48, 95, 171, 172})
"""Memory errors that were not contained: what ran on the GPU then may be wrong."""


def _xid(
    number: int,
    kind: Kind,
    owner: Owner,
    meaning: str,
    *,
    do: str = "",
    severity: Severity | None = None,
    note: str = "",
) -> Xid:
    return Xid(number, kind, meaning, do or _DO[kind], owner, severity or _SEVERITY[kind], note)


def _engines(name: str, units: dict[int, int]) -> Iterable[Xid]:
    """The same fault on each numbered unit of one engine; `units` maps the Xid to the unit."""
    return [_xid(number, "app", "app", f"{name} {unit} error") for number, unit in units.items()]


_ASK_SUBCODE = "NVIDIA: reset; EKS: event only. Whether it is fatal stands in the kernel log's sub-code (intrinfo)"
_UNSORTED = "newer than the catalogue's action buckets"
_BESIDE_48 = "comes beside Xid 48 and tells where the memory fault lies; " + _UNSORTED
_GPUD_FATAL = "NVIDIA: ignore; gpud: fatal"

# Retired or never assigned: a driver that still sends one is not one that anybody's table describes.
_UNUSED = (
    *range(1, 8),
    *(9, 10, 12),
    *range(14, 25),
    *range(26, 31),
    *range(33, 37),
    *(42, 47),
    *range(49, 54),
    *range(55, 60),
    *(61, 65, 73, 81, 87, 90, 91, 108),
    *range(111, 119),
    *range(122, 126),
    138,
)

_ENTRIES: tuple[Xid, ...] = (
    *(_xid(number, "vendor", "driver", "number without a published meaning") for number in _UNUSED),
    # Copy engines, decoders, JPEG and optical-flow units: the program that used the unit is gone, the GPU is not.
    *_engines("copy engine", {39: 0, 40: 1, 41: 2, 70: 3, 71: 4, 72: 5, 75: 6, 76: 7, 77: 8, 85: 9}),
    *_engines("copy engine", {number: number - 116 for number in range(126, 136)}),
    *_engines("video decoder", {68: 0, 83: 1, 84: 2, 88: 3, 89: 4, 96: 5, 97: 6, 98: 7}),
    *_engines("JPEG decoder", {82: 0, **{number: number - 98 for number in range(99, 106)}}),
    *_engines("optical flow unit", {86: 0, 139: 1}),
    _xid(8, "app", "app", "channel stopped making progress"),
    _xid(11, "app", "app", "corrupt command stream from program"),
    _xid(
        13,
        "app",
        "app",
        "graphics engine exception",
        note="on one GPU with several different images: suspect the GPU",
    ),
    _xid(25, "app", "app", "illegal command stream from program"),
    _xid(
        31,
        "app",
        "app",
        "program touched unmapped GPU memory",
        note="on one GPU with several different images: suspect the GPU",
    ),
    _xid(32, "app", "app", "corrupt command stream from program"),
    _xid(60, "app", "driver", "video security processor exception"),
    _xid(69, "app", "app", "graphics engine class error"),
    _xid(80, "app", "app", "corrupted data sent to GPU"),
    _xid(
        94,
        "app",
        "hardware",
        "memory error, contained to one program",
        note="gpud: fatal, yet tolerates 1000 reboots; NVSentinel: non-fatal; EKS: event only. Reset when convenient",
    ),
    _xid(37, "record", "driver", "driver firmware error"),
    _xid(38, "record", "driver", "driver firmware watchdog timeout", note=_GPUD_FATAL),
    _xid(43, "record", "app", "GPU stopped processing one program"),
    _xid(44, "record", "app", "fault while switching context", note=_GPUD_FATAL),
    _xid(
        45,
        "record",
        "app",
        "clean-up after an earlier error",
        note="a job's end can leave thousands of these on one node; alone it means nothing",
    ),
    _xid(66, "record", "driver", "illegal register access by driver"),
    _xid(67, "record", "driver", "illegal register access by driver"),
    _xid(92, "record", "hardware", "many corrected memory errors"),
    _xid(93, "record", "hardware", "InfoROM wear limit exceeded"),
    _xid(106, "record", "driver", "management bus test message"),
    _xid(107, "record", "driver", "management bus test message, silent"),
    _xid(121, "record", "hardware", "chip-to-chip link error", note=_GPUD_FATAL),
    _xid(137, "record", "app", "NVLink access without permission"),
    _xid(141, "record", "app", "CUDA fast path error"),
    _xid(152, "record", "driver", "DLA memory unit error"),
    _xid(153, "record", "driver", "DLA timeout"),
    _xid(154, "record", "driver", "driver announces a recovery action", do="do what the Xid before it asks"),
    _xid(157, "record", "hardware", "could not retire a resource"),
    _xid(159, "record", "hardware", "chip interconnect error without data"),
    _xid(160, "record", "hardware", "channel retired", note="NVIDIA: ignore; NVSentinel: restart the machine"),
    _xid(161, "record", "hardware", "could not retire a channel"),
    _xid(162, "record", "hardware", "power smoothing back on", note=_UNSORTED),
    _xid(164, "record", "hardware", "power smoothing hardware wearing out", note=_UNSORTED),
    _xid(46, "reset", "driver", "GPU stopped processing"),
    _xid(
        48,
        "reset",
        "hardware",
        "double-bit memory error",
        do="drain the GPU, reset it, then compare the SRAM error count with its limit",
    ),
    _xid(62, "reset", "hardware", "internal micro-controller halted"),
    _xid(
        63,
        "reset",
        "hardware",
        "memory row remapped, reset pending",
        do="drain and reset it on the next working day",
        severity="warn",
        note="NVIDIA: ignore; EKS: replace the node; gpud: fatal. The row is already out of use",
    ),
    _xid(64, "reset", "hardware", "memory row could not be remapped"),
    _xid(74, "reset", "hardware", "NVLink error", do="drain the GPU, reset it or reboot; if it recurs, replace"),
    _xid(95, "reset", "hardware", "memory error, not contained"),
    _xid(109, "reset", "driver", "context switch timed out"),
    _xid(110, "reset", "driver", "security fault"),
    _xid(
        119,
        "reset",
        "driver",
        "GPU system processor does not answer",
        do="drain the GPU, reset it; update the driver if it repeats",
    ),
    _xid(
        120,
        "reset",
        "driver",
        "GPU system processor error",
        do="drain the GPU, reset it; update the driver if it repeats",
    ),
    _xid(136, "reset", "hardware", "link training failed"),
    _xid(140, "reset", "hardware", "memory error, not recovered"),
    _xid(143, "reset", "hardware", "GPU did not initialise"),
    *(
        _xid(number, "reset", "hardware", f"NVLink error in {unit}", note=_ASK_SUBCODE)
        for number, unit in zip(range(144, 151), ("SAW", "RLW", "TLW", "TREX", "NVLPW", "NETIR", "MSE"), strict=True)
    ),
    _xid(155, "reset", "driver", "NVLink error set by software"),
    _xid(156, "reset", "hardware", "faulty resource retired, reset pending"),
    _xid(158, "reset", "hardware", "GPU fatal timeout"),
    _xid(167, "reset", "hardware", "PCIe fatal timeout", note=_UNSORTED),
    _xid(169, "reset", "hardware", "security micro-controller halted", note=_UNSORTED),
    _xid(171, "reset", "hardware", "uncorrectable DRAM error", note=_BESIDE_48),
    _xid(172, "reset", "hardware", "uncorrectable SRAM error", note=_BESIDE_48),
    _xid(79, "reboot", "hardware", "GPU fell off the bus"),
    _xid(151, "reboot", "driver", "encryption key rotation failed"),
    _xid(54, "physical", "hardware", "auxiliary power not connected"),
    _xid(78, "vendor", "driver", "vGPU did not start", do="update the vGPU driver on host and guest"),
    _xid(142, "vendor", "hardware", "video encoder 3 error", do="drain the GPU, then ask the vendor", severity="crit"),
    _xid(163, "vendor", "hardware", "power smoothing switched off", note=_UNSORTED),
    _xid(165, "vendor", "hardware", "power smoothing hardware worn out", note=_UNSORTED),
    _xid(166, "vendor", "driver", "NVLink traffic before encryption", note=_UNSORTED),
    _xid(168, "vendor", "hardware", "less GPU memory than built", note=_UNSORTED),
    _xid(170, "vendor", "driver", "NVLink interrupt in confidential mode", note=_UNSORTED),
)

XIDS: dict[int, Xid] = {entry.number: entry for entry in _ENTRIES}


def explain(number: int) -> Xid:
    """The entry for `number`; one that no catalogue holds is a warning that asks for the vendor, never green."""
    return XIDS.get(number) or _xid(number, "vendor", "driver", "number not in the catalogue")
