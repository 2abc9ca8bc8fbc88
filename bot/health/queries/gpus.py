"""What the DCGM exporter tells of GPUs, in each of its generations.

`Hostname` became `hostname`; --use-old-namespace writes `uuid`, `pod_name`, `pod_namespace`; a scrape without
honorLabels moves the workload's pod to `exported_pod` and puts the exporter's own in its place. A GPU that is cut into
slices (MIG) has one series per slice under the same UUID: it is one GPU here, and fails once.
"""

from bot.health.queries.kubernetes import OURS, UNCORDONED

_GPU = "UUID, uuid"


def hosted(expression: str) -> str:
    """The host under one name: the exporter's own label says it better than `instance`, which moves with its pod."""
    for label in ("instance", "node", "hostname", "Hostname"):
        expression = f'label_replace({expression}, "host", "$1", "{label}", "(.+)")'
    return expression


_LABELS = (
    f"{_GPU}, gpu, host, job, instance, pod, namespace, exported_pod, exported_namespace, pod_name, pod_namespace, "
    "model_name"
)


def per_gpu(expression: str, more: str = "") -> str:
    return f"max by ({_LABELS}{more}) ({hosted(expression)})"


def none(metric: str) -> str:
    """0 for each host that has it: all is well there."""
    return f"0 * count by (host) ({hosted(metric)})"


TEMP = "DCGM_FI_DEV_GPU_TEMP"
_GONE = (
    f"({per_gpu(f'last_over_time({TEMP}[<memory>] offset <window>)')} unless on ({_GPU}) {TEMP} {UNCORDONED} {OURS})"
)
_NONE_GONE = none(TEMP)
# A GPU is lost when its host still reports others or its exporter still answers; else the exporter is silent.
_GPUS = f"count by (host) (group by (host, {_GPU}) ({hosted(TEMP)}))"
_CLAIMED = (
    'max by (host) (label_replace(kube_node_status_capacity{resource="nvidia_com_gpu"}, "host", "$1", "node", "(.+)"))'
)
# Lost longer ago than we remember: the host shows fewer than its node counts. A device plugin may count slices or time
# shares, so it must also be fewer than the host itself showed within the day.
_FEWER = f"({_GPUS} < max_over_time({_GPUS}[<day>:<memory>]) < on (host) {_CLAIMED})"
LOST = (
    f"({_GONE} and on (host) {hosted(TEMP)} or {_GONE} and on (job, instance) (up == 1)) * 0 + 1",
    f"({_GPUS} and on (host) {_FEWER} unless on (host) {_GONE} {UNCORDONED}) * 0 + 1",
    _NONE_GONE,
)
SILENT = (
    f"group by (host) ({_GONE} unless on (host) {hosted(TEMP)} unless on (job, instance) (up == 1))",
    _NONE_GONE,
)

# The gauge keeps the last Xid for days, so only one that is new within our memory counts; once the GPU has gone, its
# last word does. A GPU without an Xid may have no series: the first one then appears instead of changing.
XID_GAUGE = _LAST = "DCGM_FI_DEV_XID_ERRORS"
_LAST_WORD = (
    f"({_LAST} > 0 or (last_over_time({_LAST}[<memory>]) > 0) unless on ({_GPU}) {_LAST} unless on ({_GPU}) {TEMP})"
)
# A GPU's series changes its labels when its pod goes, so its number is also held against the same GPU's before.
_FIRST = f"last_over_time({_LAST}[<memory>]) unless on ({_GPU}) {_LAST} offset <memory>"
_OTHER = f"max by ({_GPU}) ({_LAST}) != on ({_GPU}) max by ({_GPU}) ({_LAST} offset <memory>)"
_NEWS = f"(changes({_LAST}[<memory>]) > 0 or {_FIRST} or {_OTHER})"
_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"  # of a sliding window
_TOTAL = "DCGM_EXP_XID_ERRORS_TOTAL"  # since the exporter's start
XID_COUNTS = (_COUNT, _TOTAL)
_EACH = f"{_GPU}, xid"
_BEFORE = f"max by ({_EACH}) ({_TOTAL} offset <memory>)"
# By GPU and number: the labels change with the pod that holds it. Less than before is an exporter that began anew.
_GREW = (
    f"({_TOTAL} and on ({_EACH}) (max by ({_EACH}) ({_TOTAL}) != on ({_EACH}) {_BEFORE}) "
    f"or {_TOTAL} unless on ({_EACH}) {_BEFORE}) > 0"
)
XIDS = (
    f"{per_gpu(f'max_over_time({_COUNT}[<memory>])', ', xid')} > 0 {UNCORDONED}",
    f"{per_gpu(_GREW, ', xid')} > 0 {UNCORDONED}",
    f'count_values by ({_LABELS}) ("xid", {hosted(f"({_LAST_WORD} and on ({_GPU}) {_NEWS})")} {UNCORDONED})',
    none(_COUNT),
    none(_TOTAL),
    none(_LAST),
)

REMAP_FAILED = (per_gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE"),)
# The count of remapped rows lives in the GPU and is never reset; a GPU younger than a day is held against its hour.
_ROWS = "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"
REMAPPED = (
    f"{per_gpu('DCGM_FI_DEV_ROW_REMAP_PENDING')} > 0",
    per_gpu(f"({_ROWS} - ({_ROWS} offset <day> or min_over_time({_ROWS}[<memory>])))"),
    per_gpu("DCGM_FI_DEV_ROW_REMAP_PENDING"),
)
DOUBLE_BIT = (per_gpu("increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[<memory>])"),)


def _bit(field: str, bit: int) -> str:
    """PromQL has no bit operators."""
    return f"floor({field} / {bit}) % 2"


def _slowed(field: str) -> str:
    """Share of the time in which one of the hardware's own bits stood: slowdown, thermal, power brake. The power cap
    (0x4) is left out: under load it is normal."""
    bits = " + ".join(_bit(field, bit) for bit in (0x8, 0x40, 0x80))
    # One sample a minute is enough for a share, and far cheaper than all.
    return per_gpu(f"avg_over_time(clamp_max({bits}, 1)[<slowed>:<minute>])")


_SLOWDOWNS = 'clock_event=~"hw_slowdown|hw_thermal|hw_power_brake"'
SLOWED = (
    _slowed("DCGM_FI_DEV_CLOCKS_EVENT_REASONS"),
    _slowed("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"),
    # Events of the exporter's window of five minutes, a minute; gpud calls 0.6 a minute unhealthy.
    f"clamp_max({per_gpu(f'DCGM_EXP_CLOCK_EVENTS_COUNT{{{_SLOWDOWNS}}}')} / 5, 1)",
    # Nanoseconds of a second. Exporters before 4.4.2-4.7.1 said microseconds and meant these.
    per_gpu("rate(DCGM_FI_DEV_THERMAL_VIOLATION[<window>]) / 1e9"),
    # The event series of a GPU without any slowdown: the exporter then writes one of another event, or none at all.
    f"0 * {per_gpu('DCGM_EXP_CLOCK_EVENTS_COUNT')}",
)
_CLOCK = "DCGM_FI_DEV_SM_CLOCK"
_LOADED = "(min_over_time(DCGM_FI_DEV_GPU_UTIL[<window>]) > bool 50)"
# An idle GPU has low clocks on purpose: it counts as 1.
CLOCKS = (
    per_gpu(
        f"(avg_over_time({_CLOCK}[<window>]) / (max_over_time({_CLOCK}[<memory>]) > 0) * {_LOADED} + (1 - {_LOADED}))"
    ).replace("max by", "min by", 1),
)

REPLAYS = (per_gpu("rate(DCGM_FI_DEV_PCIE_REPLAY_COUNTER[<window>]) * 60"),)
# Each kind is marked, else the calm counter of a link would hide the loud one. Per link the exporter writes `gpu_uuid`,
# and the GPU's type as `model_name`, which elsewhere is the model served.
_KINDS = " or ".join(
    f'label_replace(increase(DCGM_FI_DEV_NVLINK_{kind}_ERROR_COUNT_TOTAL[<memory>]), "kind", "{kind}", "", "")'
    for kind in ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY")
)
_LINK_ERRORS = f'label_replace({_KINDS}, "UUID", "$1", "gpu_uuid", "(.+)")'
LINK_ERRORS = (f"sum by ({_GPU}, gpu, host, job, instance) ({hosted(_LINK_ERRORS)})",)

# Who holds which GPU: joins a replica with its GPUs by the pod.
HELD = f"group by ({_LABELS}) ({hosted(f'last_over_time({TEMP}[<memory>])')})"
NODES_NAMED = 'group by (host) (label_replace(kube_node_status_condition, "host", "$1", "node", "(.+)"))'
