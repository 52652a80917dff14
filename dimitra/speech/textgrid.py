"""Praat TextGrid files (long text format) of an alignment: tiers ``words`` and ``phones``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from dimitra.speech.phonemes import Interval

_STRING = re.compile(r'"((?:[^"]|"")*)"')
_ITEMS = "item []:"
_ITEM = re.compile(r"item \[\d+\]:")
_INTERVAL = re.compile(r"intervals \[(\d+)\]:?")
_SIZE = re.compile(r"size\s*=\s*(\S+)")
_CLASS = re.compile(r'class\s*=\s*"(\d+)"')
_NAME = re.compile(r'name\s*=\s*"(\d+)"')
_END = re.compile(r"xmax\s*=\s*(\S+)")
_CONTENT = re.compile(r'\s*xmin\s*=\s*(\S+)\s+xmax\s*=\s*(\S+)\s+text\s*=\s*"(\d+)"\s*')
_SHOWN = 80
"""Characters of an unreadable interval in a message."""
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
        ValueError: not a TextGrid in the long text format; tiers or intervals that are not as many
            as the file says, cannot be read, overlap, run backwards or leave the file; two tiers of
            one name; another duration than the sound's. The message names file, tier and interval.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from None
    if 'Object class = "TextGrid"' not in text or _ITEMS not in text:
        raise ValueError(f"{name} is not a TextGrid in Praat's long text format")
    strings: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        strings.append(match[1].replace('""', '"'))
        return f'"{len(strings) - 1}"'

    # With a number in place of each string no label can be taken for a part of the format.
    head, _, body = _STRING.sub(numbered, text).partition(_ITEMS)
    end = _END.search(head)
    last_s = _seconds("none" if end is None else end[1], f"{name}: xmax")
    if duration_s is not None and abs(last_s - duration_s) > tolerance_s:
        raise ValueError(
            f"{name} lasts {last_s:.3f} s, its sound {duration_s:.3f} s: more than {tolerance_s} s "
            "apart, so it belongs to another sound"
        )
    items = _ITEM.split(body)[1:]
    _check_size(head, len(items), "tiers", name)
    tiers: dict[str, list[Interval]] = {}
    for number, item in enumerate(items, start=1):
        kind, found = _CLASS.search(item), _NAME.search(item)
        if kind is None or found is None:
            raise ValueError(f"{name}, tier {number} of {len(items)} has no class or no name")
        if strings[int(kind[1])] != "IntervalTier":
            continue
        tier = strings[int(found[1])]
        if tier in tiers:
            raise ValueError(f"{name} has two tiers {tier!r}; rename or remove one")
        intervals = _intervals(item, strings, f"{name}, tier {tier!r}")
        _check_order(intervals, name, tier, last_s)
        tiers[tier] = [interval for interval in intervals if interval.label]
    return tiers


def _intervals(item: str, strings: Sequence[str], what: str) -> list[Interval]:
    """The intervals of a tier's text, each string of which is its place among ``strings``."""
    head, *pieces = _INTERVAL.split(item)
    numbers, contents = pieces[::2], pieces[1::2]
    _check_size(head, len(contents), "intervals", what)
    intervals = []
    for place, (number, content) in enumerate(zip(numbers, contents, strict=True), start=1):
        if int(number) != place:
            raise ValueError(f"{what}: interval {number} stands where {place} belongs")
        one = f"{what}, interval {place} of {len(contents)}"
        match = _CONTENT.fullmatch(content)
        if match is None:
            said = re.sub(r'"(\d+)"', lambda m: f'"{strings[int(m[1])]}"', content)
            raise ValueError(
                f"{one} is {' '.join(said.split())[:_SHOWN]!r}; need xmin, xmax and a text in "
                "quotes: the file is damaged"
            )
        start_s, end_s = (_seconds(time, one) for time in match.groups()[:2])
        intervals.append(Interval(start_s, end_s, strings[int(match[3])]))
    return intervals


def _seconds(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} has the time {text!r}; need seconds as a number")
    return value


def _check_size(head: str, found: int, items: str, what: str) -> None:
    """Hold what was found against the ``size = N`` before it."""
    size = _SIZE.search(head)
    if size is None or size[1] != str(found):
        said = "no size" if size is None else f"size = {size[1]}"
        raise ValueError(f"{what} has {found} {items} and says {said}: the file is damaged")


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
