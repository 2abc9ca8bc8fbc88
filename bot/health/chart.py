"""The picture of a report: what users felt, what the engines did, and how each GPU was, over one axis of time.

1200 x 675 pixels, as chats show pictures; no type below 17 pixels, so that it can be read on a phone. Every line is
labelled where it ends. The colours keep apart for the colour-blind (Okabe and Ito), and a strip's states by lightness.
"""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal

from bot.health.observation import number
from bot.health.series import YOUNG, Point, Recording
from bot.health.strips import State, Strip, strips, together

WIDTH, HEIGHT, DPI = 1200, 675, 100
PAPER, INK, FAINT, GRID = "#fbfbfa", "#1f2933", "#7b8794", "#e4e7eb"
BLUE, VERMILION, PURPLE, GREEN = "#0072b2", "#c84c00", "#9b4f86", "#00755a"
STATES: Final[dict[State, str]] = {"ok": "#a9d5c3", "warn": "#e69f00", "crit": "#b3260e", "none": "#ffffff"}
LEFT, RIGHT = 0.072, 0.778
ROWS: Final = 7
"""GPUs with a name of their own; the rest lies below, thin."""
FEW_ROWS: Final = 4
"""So few are all named."""
THIN_ROWS: Final = 24
"""Above so many, the calm ones are one strip together."""
MARK_LANES: Final = 3
MARGIN_CHARS: Final = 22
_LOCK: Final = threading.Lock()
"""Matplotlib's caches of fonts are not made for several threads."""

MarkKind = Literal["change", "xid", "alert", "ack", "end"]
_MARKS: Final[dict[MarkKind, str]] = {
    "change": PURPLE,
    "xid": STATES["crit"],
    "alert": VERMILION,
    "ack": BLUE,
    "end": GREEN,
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at `at` (UTC), in a few words."""

    at: datetime
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn. `title` is the verdict; `sla` in seconds."""

    title: str
    recording: Recording
    marks: Sequence[Mark]
    sla: float


def draw(picture: Picture) -> bytes:
    """The PNG. Whatever is missing is said in its place."""
    # Takes a second to import, which a bot that draws nothing should not pay for at its start.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _LOCK:
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
        FigureCanvasAgg(figure)
        rows = strips(picture.recording)
        panels = _panels(figure, rows)
        _title(figure, picture.title)
        _users(panels[0], picture)
        _engines(panels[1], picture.recording)
        _gpus(panels[2], picture.recording, rows)
        _marks(figure, panels, picture)
        out = io.BytesIO()
        figure.savefig(out, format="png", facecolor=PAPER)
        return out.getvalue()


def _panels(figure: Any, rows: Sequence[Strip]) -> list[Any]:
    """The lower panel is as high as its rows need; the rest is the lines'."""
    named, others = _shown(rows)
    strip = 0.040 * max(2, len(named) + (2 if len(others) > 1 else 0))
    low, top, gap = 0.072, 0.735, 0.062
    rest = top - low - strip - 2 * gap
    heights = (rest * 0.58, rest * 0.42, strip)
    panels, above = [], top
    for height in heights:
        panels.append(figure.add_axes((LEFT, above - height, RIGHT - LEFT, height), facecolor=PAPER))
        above -= height + gap
    return panels


def _title(figure: Any, title: str) -> None:
    words, lines = _readable(title).split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 66:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > 2:
        lines = [lines[0], f"{lines[1][:64].rstrip()} …"]
    size = 27 if len(lines) == 1 else 23
    _text(figure, LEFT - 0.045, 0.975, "\n".join(lines), size=size, weight="bold", va="top", linespacing=1.15)


def _users(axes: Any, picture: Picture) -> None:
    recording = picture.recording
    latency, yesterday = recording.of("ttft").first, recording.of("ttft-yesterday").first
    errors = recording.of("errors").first
    _frame(axes, recording)
    labels: list[tuple[float, str, str]] = []
    top = max([picture.sla * 1.6, *(value * 1.12 for _, value in latency)])
    axes.set_ylim(0, top)
    _ticks(axes, "s")
    if errors:
        most = max(value for _, value in errors)
        high = max(0.04, most * 2.2)  # the lower half of the panel: two lines that cross are hard to tell apart
        axes.fill_between(
            _times(errors), [value / high * top for _, value in errors], color=VERMILION, alpha=0.30, lw=0
        )
        axes.plot(_times(errors), [value / high * top for _, value in errors], color=VERMILION, lw=2)
        labels.append((errors[-1][1] / high, f"errors {number(errors[-1][1], 'share')}", VERMILION))
    if yesterday:
        axes.plot(_times(yesterday), [min(value, top) for _, value in yesterday], color="#b8c1ca", lw=1.6, zorder=1)
    if latency:
        axes.plot(_times(latency), [value for _, value in latency], color=BLUE, lw=3, **_dot(latency))
        labels.append((latency[-1][1] / top, f"p99 TTFT {number(latency[-1][1], 'seconds')}", BLUE))
    axes.axhline(picture.sla, color=FAINT, lw=1.8, ls=(0, (5, 3)))
    labels.append((picture.sla / top, f"SLA {picture.sla:g} s", FAINT))
    _heading(axes, "Users: first token (p99) and errors", "" if latency or errors else recording.of("ttft").missing)
    _labels(axes, labels)


def _engines(axes: Any, recording: Recording) -> None:
    waiting, running, ready = (recording.of(name).first for name in ("waiting", "running", "ready"))
    _frame(axes, recording)
    top = max([10.0, *(value * 1.2 for _, value in (*waiting, *running))])
    axes.set_ylim(0, top)
    _ticks(axes, "")
    labels = []
    for points, name, colour in ((running, "running", BLUE), (waiting, "waiting", PURPLE)):
        if points:
            axes.plot(_times(points), [value for _, value in points], color=colour, lw=2.6, **_dot(points))
            labels.append((points[-1][1] / top, f"{points[-1][1]:.0f} {name}", colour))
    if ready:
        most = max(value for _, value in ready)
        heights = [value / max(1.0, most) * 0.93 * top for _, value in ready]
        axes.plot(_times(ready), heights, color=GREEN, lw=2.2, drawstyle="steps-post", zorder=1)
        labels.append((heights[-1] / top, f"{ready[-1][1]:.0f} of {most:.0f} ready", GREEN))
    _heading(axes, "Engines: requests and replicas", "" if labels else recording.of("running").missing)
    _labels(axes, labels)


def _gpus(axes: Any, recording: Recording, rows: Sequence[Strip]) -> None:
    from matplotlib.ticker import NullLocator

    _frame(axes, recording, dated=True)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(visible=False)
    named, rest = _shown(rows)
    thin = rest if len(rest) <= THIN_ROWS else ()
    height = len(named) + (2 if len(rest) > 1 else len(rest))
    axes.set_ylim(max(1, height), 0)
    for nth, strip in enumerate(named):
        _strip(axes, strip, nth + 0.10, 0.80)
        _beside(axes, 1 - (nth + 0.5) / max(1, height), _called(strip), INK if not strip.calm else FAINT)
    share = (height - len(named) - 0.14) / max(1, len(thin))
    for nth, strip in enumerate(thin):
        _strip(axes, strip, len(named) + 0.07 + nth * share, share * 0.86)
    if rest and not thin:
        _strip(axes, together(rest, recording.of("gpus").step), len(named) + 0.10, height - len(named) - 0.20)
    if rest:
        calm = all(strip.calm for strip in rest)
        more = f"{'and ' if named else ''}{len(rest)} {'more ' if named else 'GPUs '}{'ok' if calm else 'GPUs'}"
        _beside(axes, (height - len(named)) / 2 / height, more, FAINT)
    _heading(axes, "GPUs", "" if rows else recording.of("gpus").missing or "none heard of")


def _shown(rows: Sequence[Strip]) -> tuple[list[Strip], list[Strip]]:
    """Those with a row and a name of their own, and the others; a few are all named."""
    if len(rows) <= FEW_ROWS:
        return list(rows), []
    troubled = [strip for strip in rows if not strip.calm][:ROWS]
    return troubled, [strip for strip in rows if strip not in troubled]


def _called(strip: Strip) -> str:
    """Its name and what is wrong with it; of a long name the end, which tells one from another."""
    room = MARGIN_CHARS - (len(strip.note) + 2 if strip.note else 0)
    name = strip.name if len(strip.name) <= room else f"…{strip.name[1 - room :]}"
    return f"{name}: {strip.note}" if strip.note else name


def _strip(axes: Any, strip: Strip, top: float, height: float) -> None:
    for state, colour in STATES.items():
        runs = [(_day(span.begin), _day(span.end) - _day(span.begin)) for span in strip.spans if span.state == state]
        if runs:
            hatch = {"hatch": "////", "edgecolor": "#52606d"} if state == "none" else {}
            axes.broken_barh(runs, (top, height), facecolors=colour, linewidth=0, **hatch)


def _marks(figure: Any, panels: Sequence[Any], picture: Picture) -> None:
    """A line through all panels for each, with its words above; words that would lie on others go a lane higher."""
    recording = picture.recording
    begin, end = recording.begin.timestamp(), recording.end.timestamp()
    lanes = [-1.0] * MARK_LANES
    shown = sorted((mark for mark in picture.marks if begin <= mark.at.timestamp() <= end), key=lambda one: one.at)
    for mark in shown:
        colour = _MARKS[mark.kind]
        for axes in panels:
            axes.axvline(_day(mark.at.timestamp()), color=colour, lw=1.8, ls=(0, (2, 2)), zorder=4)
        share = (mark.at.timestamp() - begin) / (end - begin)
        said = _readable(mark.text, 26)
        width = 0.0100 * len(said) + 0.012
        left = min(LEFT + share * (RIGHT - LEFT) - 0.004, 0.99 - width)
        lane = next((nth for nth, taken in enumerate(lanes) if left >= taken), None)
        if lane is not None:  # more than the lanes hold have their line, and their words stand in the timeline
            lanes[lane] = left + width
            _text(figure, left, 0.787 + 0.035 * lane, said, size=18, color=colour, weight="bold", va="bottom")


def _frame(axes: Any, recording: Recording, *, dated: bool = False) -> None:
    from matplotlib.dates import DateFormatter, MinuteLocator

    long = recording.end - recording.begin > YOUNG
    axes.set_xlim(_day(recording.begin.timestamp()), _day(recording.end.timestamp()))
    axes.xaxis.set_major_locator(MinuteLocator(byminute=range(0, 60, 15 if long else 1), tz=UTC))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    axes.tick_params(length=0, labelsize=_points(18), labelcolor=FAINT, labelbottom=dated)
    axes.grid(visible=True, color=GRID, lw=1)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    if dated:
        _text(axes, 1.008, -0.035, "UTC", size=18, color=FAINT, va="top", transform=axes.transAxes)


def _ticks(axes: Any, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=not unit))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit and ' ' + unit}"))


def _heading(axes: Any, text: str, missing: str) -> None:
    said = f"{text}: {missing}" if missing else text
    _text(axes, 0.0, 1.02, _readable(said, 88), size=18, color=FAINT, va="bottom", transform=axes.transAxes)


def _labels(axes: Any, labels: Sequence[tuple[float, str, str]]) -> None:
    """Each beside the end of its line, moved apart where they would lie on each other; heights are shares."""
    least = 26 / (axes.get_position().height * HEIGHT)
    placed: list[list[Any]] = [[min(max(at, 0.06), 0.94), text, colour] for at, text, colour in sorted(labels)]
    for nth in range(1, len(placed)):
        placed[nth][0] = max(placed[nth][0], placed[nth - 1][0] + least)
    over = placed[-1][0] - 0.95 if placed else 0.0
    for nth in range(len(placed) - 1, -1, -1):
        if over > 0:
            ceiling = 0.95 if nth == len(placed) - 1 else placed[nth + 1][0] - least
            placed[nth][0] = min(placed[nth][0], ceiling)
    for at, text, colour in placed:
        _beside(axes, at, text, colour)


def _beside(axes: Any, height: float, text: str, colour: str) -> None:
    place = {"va": "center", "transform": axes.transAxes}
    _text(axes, 1.010, height, _readable(text, MARGIN_CHARS), size=20, color=colour, weight="bold", **place)


def _text(where: Any, x: float, y: float, text: str, *, size: float, color: str = INK, **more: Any) -> None:
    """Never as a formula, whatever is in it."""
    where.text(x, y, text, fontsize=_points(size), color=color, parse_math=False, **more)


def _points(pixels: float) -> float:
    return pixels * 72 / DPI


def _times(points: Sequence[Point]) -> list[float]:
    return [_day(at) for at, _ in points]


def _dot(points: Sequence[Point]) -> dict[str, Any]:
    """A single point is no line, and would not be seen."""
    return {"marker": "o", "markersize": 6} if len(points) == 1 else {}


def _day(unix: float) -> float:
    """Matplotlib's own count of days since 1970, in UTC."""
    return unix / 86_400


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _readable(text: str, most: int = 200) -> str:
    """What the font can show, on one line, cut at a word's end where it can be."""
    said = " ".join("".join(char if ord(char) in _glyphs() or char.isspace() else "?" for char in text).split())
    return said if len(said) <= most else f"{said[: most - 1].rstrip()}…"
