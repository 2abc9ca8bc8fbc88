"""The GPUs of this machine, asked of the driver itself: where the bot runs beside one, as on a single-node server.

    [nvml]
    enabled = true                             # needs: pip install "fixfirst[gpu]"

NVML is NVIDIA's management library, which comes with the driver: https://docs.nvidia.com/deploy/nvml-api/. What it says
is right also while the exporter is dead; but it does not tell Xids, which stand in the kernel's log.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.health.probe import Answer, Question
from bot.settings import Table

LONGEST_S: Final = 2.0
_ASKING: Final = threading.Lock()
# nvmlClocksEventReasons in nvml.h: what the hardware does to save itself. Power capping under load is normal.
SLOWDOWNS: Final[Mapping[int, str]] = {
    0x08: "slowed down by the hardware",
    0x20: "slowed down by software, too hot",
    0x40: "slowed down by the hardware, too hot",
    0x80: "slowed down by the power brake",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[nvml]`."""

    enabled: bool = False

    @classmethod
    def from_toml(cls, table: Mapping[str, Any], faults: list[str]) -> "Settings":
        """The settings; every fault goes to `faults`."""
        top = Table("nvml", table, faults)
        settings = cls(top.flag("enabled", default=False))
        top.done()
        return settings


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML tells it. What the card does not support is None. `slowdowns`: bits of SLOWDOWNS.

    `unrepaired`: memory errors since the driver's start that could not be corrected. `pending` and `failed`: whether
    a memory row waits for a reset to be replaced, and whether that failed.
    """

    index: int
    uuid: str
    name: str
    celsius: int | None = None
    slowdowns: int | None = None
    unrepaired: int | None = None
    pending: bool | None = None
    failed: bool | None = None

    def trouble(self) -> str:
        """What is wrong with it, or ""."""
        found = [words for bit, words in SLOWDOWNS.items() if (self.slowdowns or 0) & bit]
        if self.failed:
            found.append("memory row could not be remapped")
        elif self.pending:
            found.append("memory row waits for a reset")
        if self.unrepaired:
            found.append(f"{self.unrepaired} memory errors not corrected")
        return ", ".join(found)


def answers(gpus: list[Gpu]) -> list[Answer]:
    """Each GPU with its trouble. None at all is no answer: that a driver is there says nothing of a machine's use."""
    if not gpus:
        return [_unknown("the driver of this machine sees no GPU")]
    return [_answer(gpu) for gpu in gpus]


def _answer(gpu: Gpu) -> Answer:
    who, trouble = f"gpu {gpu.index} ({gpu.uuid[:12]})", gpu.trouble()
    warm = f", {gpu.celsius} °C" if gpu.celsius is not None else ""
    return Answer(Question.GPUS, who, not trouble, f"{gpu.name}{warm}: {trouble or 'well'}")


def begin() -> Callable[[], list[Answer]]:
    """Asks on a thread of its own; what is given waits for the answer, LONGEST_S after this call at most.

    A driver whose GPU has gone may never answer. The thread that asked it is then lost, so only one is at a time.
    """
    said: queue.SimpleQueue[list[Answer]] = queue.SimpleQueue()
    over = time.monotonic() + LONGEST_S

    def ask() -> None:
        with _ASKING:
            said.put(look())

    if _ASKING.locked():
        return lambda: [_unknown("the driver of this machine has not answered since it was last asked")]
    threading.Thread(target=ask, name="nvml", daemon=True).start()

    def told() -> list[Answer]:
        try:
            return said.get(timeout=max(0.0, over - time.monotonic()))
        except queue.Empty:
            return [_unknown(f"the driver of this machine gave no answer within {LONGEST_S:g} s")]

    return told


def _unknown(reason: str) -> Answer:
    return Answer(Question.GPUS, "this machine", None, reason)


def look() -> list[Answer]:
    """Asks the driver now. Never raises: no library, no driver and a GPU that does not answer are answers too."""
    try:
        import pynvml
    except ImportError:
        words = 'NVML cannot be asked: pip install "fixfirst[gpu]"'
        return [_unknown(words)]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [_unknown(f"no NVIDIA driver answers on this machine: {error}")]
    try:
        found: list[Answer] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                found.append(_answer(_gpu(pynvml, index)))
            except pynvml.NVMLError as error:
                # A GPU that fell off the bus is still counted, and answers every question with this.
                found.append(Answer(Question.GPUS, f"gpu {index}", False, f"gpu {index} does not answer: {error}"))
        return found or answers([])
    except pynvml.NVMLError as error:
        return [_unknown(f"NVML does not answer: {error}")]
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def told(ask: Callable[..., Any], *args: Any) -> Any:
        """None where card or driver has no such thing; what else goes wrong says that the GPU does not answer."""
        try:
            return ask(handle, *args)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            return None

    rows = told(nvml.nvmlDeviceGetRemappedRows)  # corrected, uncorrected, pending, failed
    errors = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        celsius=told(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        slowdowns=told(nvml.nvmlDeviceGetCurrentClocksThrottleReasons),
        unrepaired=told(nvml.nvmlDeviceGetTotalEccErrors, *errors),
        pending=bool(rows[2]) if rows else None,
        failed=bool(rows[3]) if rows else None,
    )


def _text(value: Any) -> str:
    """Older versions of the library gave bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
