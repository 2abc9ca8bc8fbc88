"""What NVIDIA's DCGM exporter should export for the pack and the health report, as the file its `-f` option reads.

The exporter's default counters, and those it leaves off that tell a sick GPU from a busy one. The exporter's own files
called the violations microseconds until 4.4.2-4.7.1; they are nanoseconds.
"""

from typing import Final

COUNTERS: Final = (
    ("Clocks", (
        ("DCGM_FI_DEV_SM_CLOCK", "gauge", "Clock of the multiprocessors, MHz"),
        ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Clock of the memory, MHz"),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "gauge", "Why clocks are held back, as bits"),
    )),
    ("Temperature and power", (
        ("DCGM_FI_DEV_GPU_TEMP", "gauge", "Temperature of the GPU, degrees Celsius"),
        ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Temperature of the memory, degrees Celsius"),
        ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power drawn, W"),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy since the driver was loaded, mJ"),
        ("DCGM_FI_DEV_THERMAL_VIOLATION", "counter", "Time held back for heat, ns"),
        ("DCGM_FI_DEV_POWER_VIOLATION", "counter", "Time held back for the power cap, ns"),
    )),
    ("Load", (
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", "Share of time with a kernel running, percent; not on MIG"),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Share of time the memory was read or written, percent"),
        ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Load of the video encoder, percent"),
        ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Load of the video decoder, percent"),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Share of time the engine was active, 0 to 1; on MIG too"),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Share of cycles the tensor pipe was active, 0 to 1"),
        ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Share of cycles the memory interface was active, 0 to 1"),
        ("DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", "Sent over PCIe, bytes a second"),
        ("DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", "Received over PCIe, bytes a second"),
    )),
    ("Memory", (
        ("DCGM_FI_DEV_FB_FREE", "gauge", "Memory free, MiB"),
        ("DCGM_FI_DEV_FB_USED", "gauge", "Memory in use, MiB"),
        ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Memory that the driver keeps, MiB"),
    )),
    ("Faults", (
        ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Number of the last Xid; stays until the driver or exporter restarts"),
        ("DCGM_EXP_XID_ERRORS_COUNT", "counter", "Xids by number within a sliding window"),
        ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", "Memory errors not corrected since the driver was loaded"),
        ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Memory rows remapped for errors not corrected"),
        ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Memory rows remapped for errors corrected"),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "1 when a memory row could not be remapped"),
        ("DCGM_FI_DEV_ROW_REMAP_PENDING", "gauge", "1 when a remapped row waits for a reset"),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "PCIe transfers repeated"),
    )),
    ("Links", (
        ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", "Moved over all NVLinks"),
        ("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "counter", "NVLink errors in flow control"),
        ("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", "counter", "NVLink errors in data"),
        ("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", "counter", "NVLink transfers repeated"),
        ("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", "counter", "NVLinks brought up again"),
    )),
    ("Labels", (
        ("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", "1 when the vGPU has its licence"),
        ("DCGM_FI_DRIVER_VERSION", "label", "Version of the driver"),
    )),
)  # fmt: skip


def csv() -> str:
    """The file. Field, type, help; the exporter takes no comma inside the help."""
    out = ["# DCGM field, Prometheus type, help. For dcgm-exporter -f; a field that a build does not know stops it."]
    for title, rows in COUNTERS:
        out += ["", f"# {title}", *(", ".join(row) for row in rows)]
    return "\n".join(out) + "\n"
