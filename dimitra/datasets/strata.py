"""Strata of a split: groups that are alike in length, number of clips, or a column of the manifest.

Cochran (1977), Sampling Techniques, chapter 5: a sample that takes its share of every stratum is
like the whole in what the strata are made of. Shares are rounded by largest remainders (Hamilton).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields

import numpy as np

from dimitra.clips import Clip

CLIPS, SECONDS = "clips", "seconds"
COLUMNS = tuple(sorted({field.name for field in fields(Clip)} - {"clip_id", "sha256"}))
"""Columns of the manifest that can make strata, beside ``clips`` and ``seconds``."""


class StrataError(ValueError):
    """There is no such column."""


def _value(clips: Sequence[Clip], column: str) -> float | str:
    """What a group is in one respect: a sum, the median of numbers, or the most frequent value."""
    if column == CLIPS:
        return float(len(clips))
    if column == SECONDS:
        return float(sum(clip.duration_s for clip in clips))
    values = [getattr(clip, column) for clip in clips]
    if all(isinstance(value, (int, float)) for value in values):
        return float(np.median(values))
    counts = Counter(str(value) for value in values)
    return min(counts, key=lambda value: (-counts[value], value))


def _bins(values: Sequence[float | str], count: int) -> list[Hashable]:
    """Numbers to the number of their quantile; equal ones always to the same. Text stays."""
    if not all(isinstance(value, float) for value in values):
        return [str(value) for value in values]
    edges = np.quantile(np.asarray(values, np.float64), np.arange(1, count) / count)
    return [int(place) for place in np.searchsorted(edges, values, side="left")]


def strata(
    groups: Mapping[str, Sequence[Clip]], by: Sequence[str], bins: int
) -> dict[tuple[Hashable, ...], list[str]]:
    """Put groups into strata.

    Args:
        groups: name of each group to its clips, at least one.
        by: ``clips`` (how many), ``seconds`` (together), or columns of the manifest. With several,
            a stratum is what is alike in all of them; with none, all are one stratum.
        bins: into how many parts of equal size numbers are cut.

    Returns:
        stratum to its groups, both sorted.

    Raises:
        StrataError: a column is not known, or there is no bin.
    """
    if bins < 1:
        raise StrataError(f"{bins} bins, but at least one is needed")
    unknown = [column for column in by if column not in {CLIPS, SECONDS, *COLUMNS}]
    if unknown:
        raise StrataError(
            f"there is no column {', '.join(unknown)} to make strata of; there are {CLIPS}, "
            f"{SECONDS}, {', '.join(COLUMNS)}"
        )
    names = sorted(groups)
    keys = [_bins([_value(groups[name], column) for name in names], bins) for column in by]
    found: dict[tuple[Hashable, ...], list[str]] = defaultdict(list)
    for number, name in enumerate(names):
        found[tuple(key[number] for key in keys)].append(name)
    return {key: found[key] for key in sorted(found, key=repr)}


def shares(sizes: Sequence[int], share: float) -> list[int]:
    """How many to take of each stratum: ``share`` of it, rounded so that the sum is right.

    Args:
        sizes: of the strata.
        share: 0 to 1.

    Returns:
        counts that sum to ``round(share * sum(sizes))``; each is at most one from its exact share.
    """
    exact = [share * size for size in sizes]
    counts = [int(value) for value in exact]
    order = sorted(range(len(sizes)), key=lambda number: (counts[number] - exact[number], number))
    for number in order[: round(share * sum(sizes)) - sum(counts)]:
        counts[number] += 1
    return counts
