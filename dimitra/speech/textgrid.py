"""Praat TextGrid files (long text format) of an alignment: tiers ``words`` and ``phones``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dimitra.speech.phonemes import Interval

_STRING = r'"((?:[^"]|"")*)"'
_TIER = re.compile(rf"name = {_STRING}")
_INTERVAL = re.compile(rf"xmin = ([\d.]+)\s+xmax = ([\d.]+)\s+text = {_STRING}")


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


def read_textgrid(data: bytes) -> dict[str, list[Interval]]:
    """Interval tiers of a long-format TextGrid (as `textgrid_bytes`, Praat and MFA write it).

    Intervals with an empty label are left out.

    Raises:
        ValueError: not a TextGrid in the long text format.
    """
    text = data.decode("utf-8")
    if 'Object class = "TextGrid"' not in text or "item []:" not in text:
        raise ValueError("not a TextGrid in Praat's long text format")
    tiers: dict[str, list[Interval]] = {}
    for item in re.split(r"item \[\d+\]:", text)[1:]:
        name = _TIER.search(item)
        if 'class = "IntervalTier"' not in item or name is None:
            continue
        tiers[name[1].replace('""', '"')] = [
            Interval(float(match[1]), float(match[2]), match[3].replace('""', '"'))
            for match in _INTERVAL.finditer(item)
            if match[3]
        ]
    return tiers
