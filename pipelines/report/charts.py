"""Geometry of the report's charts: lines, bars, histograms; the template draws it as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 36
BAR_WIDTH, BAR_LABELS, BAR_ROW, BAR_THICK = 640, 140, 34, 11
_LOG_RANGE = 20.0
_MOST_POINTS = 400


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in pixels."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        name: as in the legend.
        path: SVG path data.
        x: end of the line, pixels.
        y: end of the line, pixels.
        last: last value, as text.
    """

    name: str
    path: str
    x: float
    y: float
    last: str


@dataclass(frozen=True)
class Chart:
    """A line chart ready to draw in a ``WIDTH`` x ``HEIGHT`` viewport."""

    title: str
    x_label: str
    log: bool
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round positions (1, 2 or 5 times a power of ten) within ``low`` and ``high``."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        ticks = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _every(values: Sequence[object]) -> list[int]:
    """At most ``_MOST_POINTS`` indices, the last one among them."""
    step = max(1, math.ceil(len(values) / _MOST_POINTS))
    return sorted({*range(0, len(values), step), len(values) - 1})


def line_chart(
    title: str,
    x_label: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
) -> Chart:
    """Lay out a line chart; the vertical axis is logarithmic where the values span a wide range.

    Args:
        title: of the chart.
        x_label: of the horizontal axis.
        x: common horizontal values.
        series: name to vertical values, None where one was not measured.

    Raises:
        ValueError: there is no point to draw.
    """
    values = [v for line in series.values() for v in line if v is not None and math.isfinite(v)]
    if not values or not x:
        raise ValueError(f"chart {title!r} has no finite value to draw")
    low, high = min(values), max(values)
    log = low > 0 and high / low > _LOG_RANGE
    if not log:
        low = min(low, 0.0) if low < 0.5 * high else low
        high = high if high > low else low + 1.0
    scale = math.log10 if log else float

    def across(value: float) -> float:
        span = max(x) - min(x)
        share = (value - min(x)) / span if span else 0.5
        return round(LEFT + share * (WIDTH - RIGHT - LEFT), 1)

    def up(value: float) -> float:
        span = scale(high) - scale(low)
        share = (scale(value) - scale(low)) / span if span else 0.5
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

    lines = []
    for name, column in series.items():
        known = [
            (a, b) for a, b in zip(x, column, strict=True) if b is not None and math.isfinite(b)
        ]
        if not known:
            continue
        points = [(across(known[i][0]), up(known[i][1])) for i in _every(known)]
        path = "M" + "L".join(f"{px:g} {py:g}" for px, py in points)
        lines.append(Line(name, path, *points[-1], last=f"{known[-1][1]:.3g}"))
    return Chart(
        title=title,
        x_label=x_label,
        log=log,
        x_ticks=tuple(Tick(across(v), f"{v:g}") for v in nice_ticks(min(x), max(x))),
        y_ticks=tuple(
            Tick(up(v), f"{v:.3g}") for v in (_log_ticks if log else nice_ticks)(low, high)
        ),
        lines=tuple(lines),
    )


@dataclass(frozen=True)
class Bar:
    """One horizontal bar, in pixels.

    Attributes:
        series: its place among the series of the chart.
        x: left end.
        y: upper edge.
        width: of the bar.
        height: of the bar.
        label: its value, as text.
        label_x: where the text starts.
    """

    series: int
    x: float
    y: float
    width: float
    height: float
    label: str
    label_x: float


@dataclass(frozen=True)
class BarChart:
    """Groups of horizontal bars on both sides of zero.

    Attributes:
        title: of the chart.
        series: names, as in the legend.
        groups: label of a group and the height of its middle.
        bars: of all groups.
        ticks: of the horizontal axis.
        zero: position of zero.
        width: of the viewport.
        height: of the viewport.
        left: where the axis begins.
        bottom: where the groups end.
    """

    title: str
    series: tuple[str, ...]
    groups: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero: float
    width: int
    height: int
    left: int
    bottom: int


def bar_chart(title: str, groups: Mapping[str, Mapping[str, float | None]]) -> BarChart:
    """Lay out relative changes as bars from zero.

    Args:
        title: of the chart.
        groups: label to series to a share (0.1 is 10 %); None where there is no value.

    Raises:
        ValueError: there is no value to draw.
    """
    values = [value for row in groups.values() for value in row.values() if value is not None]
    if not values:
        raise ValueError(f"chart {title!r} has no value to draw")
    low, high = min(0.0, *values), max(0.0, *values)
    high = high if high > low else low + 0.01
    series = tuple(dict.fromkeys(name for row in groups.values() for name in row))
    end = BAR_WIDTH - 64  # what follows a bar is its number

    def across(value: float) -> float:
        return round(BAR_LABELS + (value - low) / (high - low) * (end - BAR_LABELS), 1)

    bars, labels = [], []
    for row, (name, members) in enumerate(groups.items()):
        top = row * BAR_ROW + (BAR_ROW - BAR_THICK * len(series)) / 2
        labels.append(Tick(row * BAR_ROW + BAR_ROW / 2 + 4, name))
        for place, one in enumerate(series):
            value = members.get(one)
            if value is None:
                continue
            left, right = sorted((across(0.0), across(value)))
            bars.append(
                Bar(
                    series=place,
                    x=left,
                    y=round(top + place * BAR_THICK, 1),
                    width=round(max(right - left, 1.0), 1),
                    height=BAR_THICK - 2,
                    label=f"{100 * value:+.1f} %",
                    label_x=round(max(right, across(0.0)) + 4, 1),
                )
            )
    bottom = len(groups) * BAR_ROW
    return BarChart(
        title=title,
        series=series,
        groups=tuple(labels),
        bars=tuple(bars),
        ticks=tuple(Tick(across(v), f"{100 * v:g} %") for v in nice_ticks(low, high)),
        zero=across(0.0),
        width=BAR_WIDTH,
        height=bottom + 24,
        left=BAR_LABELS,
        bottom=bottom,
    )


@dataclass(frozen=True)
class Column:
    """One piece of a stacked column, in pixels.

    Attributes:
        series: its place among the series of the chart.
        x: left end.
        y: upper edge.
        width: of the column.
        height: of the piece.
        label: what it counts, as text.
    """

    series: int
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class ColumnChart:
    """A histogram, its series stacked, ready to draw in a ``WIDTH`` x ``HEIGHT`` viewport."""

    title: str
    x_label: str
    series: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    columns: tuple[Column, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


_BINS = 12


def column_chart(title: str, x_label: str, series: Mapping[str, Sequence[float]]) -> ColumnChart:
    """Lay out a histogram with round bin edges, about ``_BINS`` of them.

    A bin holds its lower edge, not its upper one.

    Args:
        title: of the chart.
        x_label: of the horizontal axis.
        series: name to its values, which are counted.

    Raises:
        ValueError: there is no value to count.
    """
    values = [value for members in series.values() for value in members]
    if not values:
        raise ValueError(f"chart {title!r} has no value to count")
    low, high = min(values), max(values)
    ticks = nice_ticks(low, high if high > low else low + 1.0, _BINS)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    first = math.floor(low / step + 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    bins = {name: [0] * count for name in series}
    for name, members in series.items():
        for value in members:
            bins[name][min(math.floor(value / step + 1e-9) - first, count - 1)] += 1
    tallest = max(sum(column) for column in zip(*bins.values(), strict=True))
    wide = (WIDTH - RIGHT - LEFT) / count
    high_px = HEIGHT - BOTTOM - TOP

    columns = []
    for place in range(count):
        below = 0
        start, end = (first + place) * step, (first + place + 1) * step
        for number, (name, counts) in enumerate(bins.items()):
            size = counts[place]
            if size:
                columns.append(
                    Column(
                        series=number,
                        x=round(LEFT + place * wide + 1, 1),
                        y=round(HEIGHT - BOTTOM - (below + size) / tallest * high_px, 1),
                        width=round(wide - 2, 1),
                        height=round(size / tallest * high_px, 1),
                        label=f"{start:g} to {end:g} {x_label}, {name}: {size}",
                    )
                )
            below += size
    every = max(1, math.ceil(count / 6))
    return ColumnChart(
        title=title,
        x_label=x_label,
        series=tuple(series),
        x_ticks=tuple(
            Tick(round(LEFT + place * wide, 1), f"{(first + place) * step:g}")
            for place in range(0, count + 1, every)
        ),
        y_ticks=tuple(
            Tick(round(HEIGHT - BOTTOM - value / tallest * high_px, 1), f"{value:g}")
            for value in nice_ticks(0.0, float(tallest))
            if value == int(value)
        ),
        columns=tuple(columns),
    )
