"""Alerts about GPUs that report, from both generations of NVIDIA's DCGM exporter."""

from collections.abc import Iterable
from typing import Final

from bot.health.rules.gpu_labels import KEY, LABELS, TEMP, named, per_gpu
from bot.health.rules.lost import GROUP as LOST
from bot.health.rules.lost import idle_nodes
from bot.health.rules.proofs import OPERATORS_GPUS, SEEN_GPU, gpu, growing, newer_gpu, steady
from bot.health.rules.rule import Alert, Case, Group, Labels, Record, Severity, series
from bot.health.xid import XIDS, Xid

XID: Final = "DCGM_FI_DEV_XID_ERRORS"
XID_COUNT: Final = "DCGM_EXP_XID_ERRORS_COUNT"
REASONS: Final = "DCGM_FI_DEV_CLOCKS_EVENT_REASONS"
REASONS_BEFORE: Final = "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"
EVENTS: Final = "DCGM_EXP_CLOCK_EVENTS_COUNT"
NEW_XID: Final = "gpu:xid:new15m"
NVLINK: Final = tuple(
    f"DCGM_FI_DEV_NVLINK_{kind}_ERROR_COUNT_TOTAL" for kind in ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY")
)
THROTTLED: Final = 0.6
"""Share of the time; gpud calls a GPU unhealthy at 0.6 hardware slowdowns a minute over ten minutes."""
VIOLATED: Final = 0.1
"""Share of the time held back for heat, which the exporter counts in nanoseconds."""
REPLAYS: Final = 8
"""PCIe replays a minute from which DCGM itself warns."""

CONTAINED: Final = frozenset({94})
UNCONTAINED: Final = frozenset({48, 95, 140, 171, 172})
ROW_REMAPPED: Final = frozenset({63})


def gpus(kubernetes: bool) -> Group:
    """`kubernetes`: kube-state-metrics is there to tell of which nodes nobody need hear."""
    alerts = (*_xids(idle_nodes(kubernetes)), *_memory(), *_throttled(), *_links())
    return Group("fixfirst-gpus", (Record(NEW_XID, _new_xid()), *alerts), (LOST,) if kubernetes else ())


def _new_xid() -> str:
    """By `xid`. The gauge keeps the last one for days, so only a change counts; where newer exporters leave it out
    until
    the first, its appearing does, if the GPU was seen before. Once the GPU has gone, its last word does."""
    last = f"({XID} > 0 or (last_over_time({XID}[1h]) > 0) unless on ({KEY}) {XID} unless on ({KEY}) {TEMP})"
    appeared = f"(last_over_time({XID}[15m]) unless on ({KEY}) {XID} offset 15m) and on ({KEY}) {TEMP} offset 15m"
    new = f"(changes({XID}[15m]) > 0 or {appeared})"
    counted = f"{per_gpu(f'max_over_time({XID_COUNT}[15m])', ', xid')} > 0"
    changed = named(f"({last} and on ({KEY}) {new})")
    return f'{counted} or count_values by ({LABELS}) ("xid", {changed})'


def _numbers(numbers: Iterable[int]) -> str:
    return "|".join(str(number) for number in sorted(numbers))


def _of(*kinds: str) -> set[int]:
    special = CONTAINED | UNCONTAINED | ROW_REMAPPED
    return {number for number, entry in XIDS.items() if entry.kind in kinds and number not in special}


def _drained(entry: Xid) -> bool:
    return entry.kind == "reset" or (entry.kind == "vendor" and entry.severity == "crit")


def _xids(idle: str) -> Iterable[Alert]:
    drain = {number for number in _of("reset", "vendor") if _drained(XIDS[number])}
    known = {number for number, entry in XIDS.items() if entry.kind != "vendor"} | drain

    def alert(
        name: str,
        *,
        numbers: Iterable[int],
        severity: Severity,
        what: str,
        description: str,
        runbook: str,
        other: int,
        matcher: str = "=~",
    ) -> Alert:
        wanted = sorted(numbers)
        example = wanted[0] if matcher == "=~" else 78
        return Alert(
            name=name,
            expr=f'{NEW_XID}{{xid{matcher}"{_numbers(wanted)}"}}{idle if severity != "info" else ""}',
            severity=severity,
            wait="0s",
            summary="GPU {{ $labels.gpu }} of {{ $labels.node }}: Xid {{ $labels.xid }}, " + what,
            description=description,
            runbook=runbook,
            cases=_xid_cases(example, other),
        )

    yield alert(
        "GPUXidAppFault",
        numbers=_of("app"),
        severity="info",
        what="the application's fault",
        description="The program that ran on the GPU did something wrong, or the driver did. The GPU stays usable; "
        "restart the "
        "workload. The same on one GPU under different images: suspect the GPU.",
        runbook="gpu-ecc-contained",
        other=79,
    )
    yield alert(
        "GPUMemoryErrorContained",
        numbers=CONTAINED,
        severity="warning",
        what="a contained memory error",
        description="One program met a memory error and was ended; the GPU stays usable. Restart the pod, reset when "
        "convenient.",
        runbook="gpu-ecc-contained",
        other=95,
    )
    yield alert(
        "GPUMemoryErrorUncontained",
        numbers=UNCONTAINED,
        severity="critical",
        what="a memory error that was not contained",
        description="Whatever runs on the GPU may be wrong. Drain the node, reset the GPU.",
        runbook="gpu-ecc-uncontained",
        other=94,
    )
    yield alert(
        "GPUXidRowRemapped",
        numbers=ROW_REMAPPED,
        severity="warning",
        what="a memory row was remapped",
        description="The row is out of use already; a reset completes it. Drain on the next working day. NVIDIA "
        "ignores it, EKS "
        "replaces the node; this is the middle.",
        runbook="gpu-off-the-bus",
        other=45,
    )
    yield alert(
        "GPUXidNeedsDrain",
        numbers=drain,
        severity="critical",
        what="drain and reset",
        description="The GPU needs a reset, and for that an empty node.",
        runbook="gpu-off-the-bus",
        other=31,
    )
    yield alert(
        "GPUXidNeedsReboot",
        numbers=_of("reboot"),
        severity="critical",
        what="drain and power-cycle",
        description="Nothing on that GPU answers until the node has been off. Drain it first.",
        runbook="gpu-off-the-bus",
        other=45,
    )
    yield alert(
        "GPUXidNeedsHands",
        numbers=_of("physical"),
        severity="critical",
        what="cables or power",
        description="Somebody has to look at the machine. Drain the node.",
        runbook="gpu-off-the-bus",
        other=45,
    )
    yield alert(
        "GPUXidAskVendor",
        numbers=known,
        severity="warning",
        what="ask the vendor",
        description="No catalogue gives this number an action of its own. Keep the kernel log and ask the vendor; "
        "drain the node "
        "if "
        "the GPU's model suffers.",
        runbook="gpu-off-the-bus",
        other=79,
        matcher="!~",
    )


def _xid_cases(number: int, other: int) -> tuple[Case, ...]:
    fires: Labels = {**SEEN_GPU, "xid": str(number)}
    return (
        Case(f"the gauge turns to {number}", gpu(XID, f"0x20 {number}x100"), (fires,)),
        Case(
            f"the gauge appears with {number}",
            {**newer_gpu(XID, f"_x20 {number}x100"), **newer_gpu(TEMP, steady(60))},
            (fires,),
        ),
        Case(
            f"the newer exporter counts a {number}",
            newer_gpu(XID_COUNT, "_x20 1x5 0x95", xid=str(number)),
            (fires,),
            "22m",
        ),
        Case(f"{number} is old", gpu(XID, f"0x5 {number}x120")),
        Case(f"the exporter was restarted with {number}", gpu(XID, f"_x20 {number}x100") | gpu(TEMP, "_x20 60x100")),
        Case(f"it was {other}", gpu(XID, f"0x20 {other}x100")),
    )


def _plain(
    name: str,
    *,
    expr: str,
    severity: Severity,
    summary: str,
    description: str,
    runbook: str,
    cases: tuple[Case, ...],
    wait: str = "0s",
) -> Alert:
    who = "GPU {{ $labels.gpu }} of {{ $labels.node }}"
    return Alert(name, expr, severity, wait, f"{who} {summary}", description, runbook, cases)


def _memory() -> Iterable[Alert]:
    failure, pending = "DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_ROW_REMAP_PENDING"
    rows, double = "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
    yield _plain(
        "GPURowRemapFailure",
        expr=f"{per_gpu(failure)} > 0",
        severity="critical",
        summary="has no spare memory rows left",
        description="It has to be replaced: drain the node, then the vendor.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("a row could not be remapped", gpu(failure, steady(1)), (SEEN_GPU,)),
            *(
                Case(name, series(failure, labels, steady(1)), ({**SEEN_GPU, **whose},))
                for name, labels, whose in OPERATORS_GPUS
            ),
            Case("none", gpu(failure, steady(0))),
        ),
    )
    yield _plain(
        "GPURowRemapPending",
        expr=f"{per_gpu(pending)} > 0",
        severity="warning",
        summary="waits for a reset to remap a memory row",
        description="It works until then. Drain and reset it when convenient.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("a row waits", newer_gpu(pending, steady(1)), (SEEN_GPU,)),
            Case("none", newer_gpu(pending, steady(0))),
        ),
        wait="10m",
    )
    yield _plain(
        "GPUMemoryRowsLost",
        expr=f"{per_gpu(f'increase({rows}[24h])')} > 0",
        severity="warning",
        summary="lost {{ $value | humanize }} memory rows in a day",
        description="Uncorrectable errors used them up. One is an accident, several are a GPU on its way out.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("a row was lost", gpu(rows, "3x20 4x100"), (SEEN_GPU,)),
            Case("rows were lost long ago", gpu(rows, steady(3))),
        ),
    )
    yield _plain(
        "GPUDoubleBitErrors",
        expr=f"{per_gpu(f'increase({double}[1h])')} > 0",
        severity="critical",
        summary="counts memory errors that cannot be corrected",
        description="Whatever runs on it may be wrong. Drain the node, reset the GPU.",
        runbook="gpu-ecc-uncontained",
        cases=(
            Case("an error was counted", gpu(double, "0x20 1x100"), (SEEN_GPU,)),
            Case("errors of long ago", gpu(double, steady(2))),
        ),
    )


def _bit(bit: int) -> str:
    """Share of ten minutes in which this bit was set. PromQL has no bit operators."""
    reasons = f"({per_gpu(REASONS)} or {per_gpu(REASONS_BEFORE)})"
    return f"avg_over_time((floor({reasons} / {bit}) % 2)[10m:1m])"


def _throttled() -> Iterable[Alert]:
    violation = "DCGM_FI_DEV_THERMAL_VIOLATION"
    clock, busy = "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_GPU_UTIL"
    counted = per_gpu(f'{EVENTS}{{clock_event="hw_thermal"}}')
    yield _plain(
        "GPUThermalSlowdown",
        expr=f"{_bit(0x40)} >= {THROTTLED} or {per_gpu(f'rate({violation}[5m])')} / 1e9 >= {VIOLATED} or {counted} > 0",
        severity="warning",
        summary="slows down for its temperature",
        description="The hardware halves its clocks or worse, and every replica on the GPU answers later. Take load "
        "off the node; "
        "then cooling.",
        runbook="gpu-thermal-throttling",
        cases=(
            Case("bit 0x40 is set", gpu(REASONS, "0x5 64x115"), (SEEN_GPU,)),
            Case("bit 0x40 is set, under its older name", gpu(REASONS_BEFORE, "0x5 64x115"), (SEEN_GPU,)),
            Case("heat held it back a third of the time", gpu(violation, growing(20e9)), (SEEN_GPU,)),
            Case(
                "the newer exporter counts slowdowns",
                newer_gpu(EVENTS, steady(4), clock_event="hw_thermal"),
                (SEEN_GPU,),
            ),
            Case("only the power cap, 0x4, as always under load", gpu(REASONS, steady(4))),
            Case("heat held it back for a moment", gpu(violation, growing(0.6e9))),
            Case("the newer exporter counts power caps", newer_gpu(EVENTS, steady(4), clock_event="power_cap")),
        ),
        wait="5m",
    )
    yield _plain(
        "GPUPowerBrake",
        expr=f"{_bit(0x80)} >= {THROTTLED}",
        severity="warning",
        summary="is held back by its power supply",
        description="An external power brake: the rack, the cable or the supply gives too little. Every replica on "
        "it answers "
        "later.",
        runbook="gpu-thermal-throttling",
        cases=(
            Case("bit 0x80 is set", gpu(REASONS, "0x5 136x115"), (SEEN_GPU,)),
            Case("bit 0x40 is set", gpu(REASONS, steady(64))),
        ),
        wait="5m",
    )
    yield _plain(
        "GPUClockLow",
        expr=f"({per_gpu(clock)} / {per_gpu(f'max_over_time({clock}[6h])')} < 0.7"
        f" and on ({KEY}) {busy} > 50 unless on ({KEY}) {REASONS} unless on ({KEY}) {REASONS_BEFORE})",
        severity="warning",
        summary="runs at {{ $value | humanizePercentage }} of its clock under load",
        description="The exporter does not say why: heat, power or a setting. Add DCGM_FI_DEV_CLOCKS_EVENT_REASONS "
        "to its "
        "counters.",
        runbook="gpu-thermal-throttling",
        cases=(
            Case("half the clock under load", {**gpu(clock, "1980x20 900x100"), **gpu(busy, steady(98))}, (SEEN_GPU,)),
            Case("half the clock, idle", {**gpu(clock, "1980x20 900x100"), **gpu(busy, steady(1))}),
            Case(
                "a reason is exported",
                {**gpu(clock, "1980x20 900x100"), **gpu(busy, steady(98)), **gpu(REASONS, steady(4))},
            ),
        ),
        wait="5m",
    )


def _links() -> Iterable[Alert]:
    replay = "DCGM_FI_DEV_PCIE_REPLAY_COUNTER"
    # The exporter's link series say `gpu_uuid`, and their `model_name` is the GPU's.
    labels = f"{KEY}, gpu_uuid, gpu, node"
    errors = " or ".join(f"max by ({labels}) ({named(f'increase({name}[1h])')}) > 0" for name in NVLINK)
    link = {"gpu_uuid": "GPU-7f3a", "gpu": "3", "nvlink": "4", "model_name": "NVIDIA H100", "hostname": "gpu-node-1"}
    yield _plain(
        "GPUPcieReplay",
        expr=f"{per_gpu(f'rate({replay}[5m])')} * 60 > {REPLAYS}",
        severity="warning",
        summary="repeats {{ $value | humanize }} PCIe transfers a minute",
        description="A bad slot, riser or cable: transfers get slower before they fail. Drain when convenient.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("20 a minute", gpu(replay, growing(20)), (SEEN_GPU,)),
            Case("2 a minute", gpu(replay, growing(2))),
        ),
        wait="10m",
    )
    yield _plain(
        "GPUNvlinkErrors",
        expr=errors,
        severity="warning",
        summary="counts errors on its NVLinks",
        description="Tensor-parallel replicas slow down or fail together. One that is recurring needs a reset, then "
        "a replacement.",
        runbook="gpu-off-the-bus",
        cases=(
            Case(
                "a link recovers",
                series(NVLINK[3], link, "0x20 2x100"),
                ({"gpu_uuid": "GPU-7f3a", "gpu": "3", "node": "gpu-node-1"},),
            ),
            Case("the exporter's GPU series count replays", gpu(NVLINK[2], "0x20 9x100"), (SEEN_GPU,)),
            Case("no errors", series(NVLINK[3], link, steady(0))),
        ),
    )
