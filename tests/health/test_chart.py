"""The picture: a PNG of the right size in little time, whatever is in it, and what is said of it in words."""

import gc
import struct
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from bot.health import chart
from bot.health.chart import HEIGHT, WIDTH, Mark, Picture, draw
from bot.health.series import SPAN, Line, Recording, Series

END = datetime(2026, 11, 21, 4, 30, tzinfo=UTC)
BEGIN = END - SPAN
TIMES = [BEGIN.timestamp() + 30 * nth for nth in range(181)]


def series(name: str, value: float, step: int = 30, **labels: str) -> Series:
    return Series(name, "query", step, (Line(labels, tuple((at, value) for at in TIMES[:: step // 30])),))


def recording(gpus: int = 8) -> Recording:
    strips = tuple(
        Line({"host": f"node-{n // 8}", "gpu": str(n % 8), "UUID": f"GPU-{n}"}, tuple((at, 60.0) for at in TIMES[::2]))
        for n in range(gpus)
    )
    numbers = {"ttft": 1.2, "ttft-yesterday": 1.1, "errors": 0.02, "waiting": 12, "running": 80, "ready": 7}
    return Recording(
        BEGIN,
        END,
        (*(series(name, value) for name, value in numbers.items()), Series("gpus", "query", 60, strips)),
    )


def picture(recording: Recording, title: str = "[DEGRADED] llama-70b: slow", *marks: Mark) -> Picture:
    return Picture(title, recording, marks, 2.5)


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("gpus", [0, 1, 8, 9, 30, 256])
def test_the_picture_has_the_size_that_chats_show_however_many_gpus(gpus: int) -> None:
    assert size(draw(picture(recording(gpus)))) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "words", ["$x^2$ \\frac{1", "日本語 🔥 \u202e", "x" * 400, "", "a\nb\tc", "<script>&amp;", "%s {0} $$"]
)
def test_whatever_a_model_or_a_mark_is_called_it_is_drawn(words: str) -> None:
    marks = [Mark(END - timedelta(minutes=m), "change", words) for m in (1, 2, 3, 30, 500)]
    strips = Series("gpus", "", 60, (Line({"host": words, "gpu": words}, ((TIMES[0], 1.0),)),))
    named = Recording(BEGIN, END, (*recording(0).series[:6], strips))
    assert size(draw(picture(named, words, *marks))) == (WIDTH, HEIGHT)


def test_what_is_missing_is_said_and_an_empty_past_is_still_a_picture() -> None:
    empty = Recording(BEGIN, END, (Series("ttft", "", 30, (), "no such metric"),))
    assert size(draw(picture(empty))) == (WIDTH, HEIGHT)


def test_no_type_is_too_small_to_be_read_on_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[float] = []
    text = chart._text

    def measured(*where: object, size: float, **more: object) -> None:
        sizes.append(size)
        text(*where, size=size, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(chart, "_text", measured)
    draw(picture(recording(30), "[OUTAGE] x", Mark(END, "alert", "alert"), Mark(END, "ack", "Maya has it")))
    assert sizes
    assert min(sizes) >= 14


def test_a_picture_of_256_gpus_takes_little_time_and_memory() -> None:
    drawn, of_one = picture(recording(256)), picture(recording(1))
    draw(drawn)  # the first one imports the library
    spent = {256: inf, 1: inf}
    for _ in range(5):
        for gpus, one in ((256, drawn), (1, of_one)):
            began = time.process_time()
            draw(one)
            spent[gpus] = min(spent[gpus], time.process_time() - began)
    assert spent[256] < 3 * spent[1], "about as long as the picture of one, on whatever machine"
    assert spent[256] < 3.0, "0.15 s on an idle machine"
    gc.collect()
    tracemalloc.start()
    draw(drawn)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000
