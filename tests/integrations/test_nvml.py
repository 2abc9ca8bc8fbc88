"""What the driver says of this machine's GPUs, in words. The vendor's library is the real one; a driver is rare."""

import threading
from typing import Any

import pynvml
import pytest

from bot.integrations import nvml
from bot.integrations.nvml import Gpu, answers, begin, look


def test_a_machine_without_a_driver_is_no_healthy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    (answer,) = look()
    assert answer.good is None
    assert "no NVIDIA driver answers" in answer.text


@pytest.mark.parametrize(
    ("gpu", "good", "words"),
    [
        (Gpu(0, "GPU-1", "H100", celsius=61, slowdowns=0x4), True, "H100, 61 °C: well"),
        (Gpu(0, "GPU-1", "H100", slowdowns=0x40), False, "too hot"),
        (Gpu(0, "GPU-1", "H100", pending=True), False, "waits for a reset"),
        (Gpu(0, "GPU-1", "H100", pending=True, failed=True), False, "could not be remapped"),
        (Gpu(0, "GPU-1", "H100", unrepaired=2), False, "2 memory errors"),
        (Gpu(0, "GPU-1", "T4"), True, "T4: well"),
    ],
)
def test_a_gpu_is_told_in_words(gpu: Gpu, good: bool, words: str) -> None:
    (answer,) = answers([gpu])
    assert (answer.good, words in answer.text) == (good, True), answer


def test_a_driver_that_sees_no_gpu_proves_nothing() -> None:
    assert answers([])[0].good is None


def test_a_gpu_that_fell_off_the_bus_is_told_beside_those_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(index: int) -> int:
        if index == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def unsupported(*_: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    driver = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetUUID": lambda _: b"GPU-20c56d28",
        "nvmlDeviceGetName": lambda _: "Tesla T4",
        "nvmlDeviceGetTemperature": lambda *_: 44,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: 1,
        "nvmlDeviceGetTotalEccErrors": lambda *_: 0,
        "nvmlDeviceGetRemappedRows": unsupported,
    }
    for name, answer in driver.items():
        monkeypatch.setattr(pynvml, name, answer)
    well, lost = look()
    assert (well.good, well.who) == (True, "gpu 0 (GPU-20c56d28)")
    assert lost.good is False
    assert "does not answer" in lost.text


def test_a_driver_that_hangs_holds_up_no_report_and_is_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(nvml, "LONGEST_S", 0.05)
    monkeypatch.setattr(pynvml, "nvmlInit", hangs.wait)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    try:
        assert "no answer within" in begin()()[0].text
        (again,) = begin()()
        assert (again.good, "not answered since" in again.text) == (None, True)
    finally:
        hangs.set()
    with nvml._ASKING:
        pass  # the thread that waited has come back
    assert "sees no GPU" in begin()()[0].text
