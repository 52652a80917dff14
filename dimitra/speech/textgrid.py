"""Praat TextGrid files (long text format) of an alignment: tiers ``words`` and ``phones``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dimitra.speech.phonemes import Interval

_STRING = r'"((?:[^"]|"")*)"'
_TIER = re.compile(rf"name = {_STRING}")
_TIME = r"(-?[\d.]+(?:[eE][-+]?\d+)?)"
_INTERVAL = re.compile(rf"xmin = {_TIME}\s+xmax = {_TIME}\s+text = {_STRING}")
_END = re.compile(rf"xmax = {_TIME}")
_STEP_S = 1e-4
"""Times that differ by less are one: MFA rounds to a tenth of a millisecond and more."""


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _filled(intervals: Sequence[Interval], duration_s: float) -> list[Interval]:
    """Intervals without gaps from 0 to the end, as Praat demands; gaps get an empty label."""
    filled: list[Interval] = []
    time = 0.0
    for interval in intervals:
        if interval.start_s < time - 1e-6 or interval.end_s > duration_s + 1e-6:
            raise ValueError(
                f"{interval.label!r} at {interval.start_s}-{interval.end_s} s overlaps the "
                f"interval before it (until {time} s) or the end of the clip ({duration_s} s)"
            )
        if interval.start_s > time + 1e-6:
            filled.append(Interval(time, interval.start_s, ""))
        filled.append(interval)
        time = interval.end_s
    if time < duration_s - 1e-6:
        filled.append(Interval(time, duration_s, ""))
    return filled


def textgrid_bytes(tiers: Mapping[str, Sequence[Interval]], duration_s: float) -> bytes:
    """A TextGrid of interval tiers, in the order given.

    Raises:
        ValueError: intervals of a tier overlap or exceed the duration.
    """
    end = _number(duration_s)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(tiers.items(), start=1):
        filled = _filled(intervals, duration_s)
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name}"',
            "        xmin = 0",
            f"        xmax = {end}",
            f"        intervals: size = {len(filled)}",
        ]
        for index, interval in enumerate(filled, start=1):
            label = interval.label.replace('"', '""')
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {_number(interval.start_s)}",
                f"            xmax = {_number(interval.end_s)}",
                f'            text = "{label}"',
            ]
    return ("\n".join(lines) + "\n").encode()


def read_textgrid(
    data: bytes,
    name: str = "TextGrid",
    duration_s: float | None = None,
    tolerance_s: float = 0.05,
) -> dict[str, list[Interval]]:
    """Interval tiers of a long-format TextGrid (as `textgrid_bytes`, Praat and MFA write it).

    Intervals with an empty label are left out.

    Args:
        data: the file.
        name: the file, for messages.
        duration_s: length of the sound that it belongs to; None where it is not known.
        tolerance_s: largest difference of the two lengths.

    Raises:
        ValueError: not a TextGrid in the long text format; intervals that overlap, run backwards or
            leave the file; another duration than the sound's. The message names file, tier and
            times.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from None
    end = _END.search(text)
    if 'Object class = "TextGrid"' not in text or "item []:" not in text or end is None:
        raise ValueError(f"{name} is not a TextGrid in Praat's long text format")
    last_s = float(end[1])
    if duration_s is not None and abs(last_s - duration_s) > tolerance_s:
        raise ValueError(
            f"{name} lasts {last_s:.3f} s, its sound {duration_s:.3f} s: more than {tolerance_s} s "
            "apart, so it belongs to another sound"
        )
    tiers: dict[str, list[Interval]] = {}
    for item in re.split(r"item \[\d+\]:", text)[1:]:
        found = _TIER.search(item)
        if 'class = "IntervalTier"' not in item or found is None:
            continue
        tier = found[1].replace('""', '"')
        intervals = [
            Interval(float(match[1]), float(match[2]), match[3].replace('""', '"'))
            for match in _INTERVAL.finditer(item)
        ]
        _check_order(intervals, name, tier, last_s)
        tiers[tier] = [interval for interval in intervals if interval.label]
    return tiers


def _check_order(intervals: Sequence[Interval], name: str, tier: str, last_s: float) -> None:
    before = Interval(0.0, 0.0, "")
    for interval in intervals:
        what = f"{name}, tier {tier!r}: {interval.label!r} at {interval.start_s}-{interval.end_s} s"
        if interval.end_s < interval.start_s:
            raise ValueError(f"{what} ends before it starts")
        if interval.start_s < before.end_s - _STEP_S:
            raise ValueError(
                f"{what} overlaps {before.label!r} at {before.start_s}-{before.end_s} s"
            )
        if interval.end_s > last_s + _STEP_S:
            raise ValueError(f"{what} ends after the file ({last_s} s)")
        before = interval
