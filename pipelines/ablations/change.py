"""How a variant's errors differ from the full model's on the same clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dimitra.metrics.definitions import OF_ALL_CLIPS
from dimitra.metrics.motion import distribution_gap
from dimitra.metrics.records import ClipRecord

CONFIDENCE = 0.95
COMPARED = ("mouth_mae", "expression_mae")
"""Errors that are compared clip by clip, each against fit and truth."""
GAPS = tuple(OF_ALL_CLIPS)
"""Errors of a data set as a whole: how far the head's motion is from the truth's."""
_DRAWS = 10_000


@dataclass(frozen=True)
class Difference:
    """Change of an error against the full model: of its mean over clips, or of a data set's gap.

    Attributes:
        mean: of the variant's value less the full model's.
        low: of its 95 % confidence interval over clips; one training of each.
        high: of the same.
        n: clips.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> Literal["worse", "better", "no difference"]:
        """Of an error: what the interval allows to say."""
        if self.low > 0.0:
            return "worse"
        return "better" if self.high < 0.0 else "no difference"


def paired(full: Sequence[float], variant: Sequence[float]) -> Difference | None:
    """Compare values of the same clips by Student's t; None for fewer than two.

    Raises:
        ValueError: the counts differ.
    """
    pairs = list(zip(full, variant, strict=True))
    if len(pairs) < 2:
        return None
    changes = np.array([after - before for before, after in pairs])
    mean, count = float(changes.mean()), len(changes)
    spread = float(changes.std(ddof=1)) / math.sqrt(count)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * spread
    mean, low, high = (round(value, 4) + 0.0 for value in (mean, mean - reach, mean + reach))
    return Difference(mean, low, high, count)


def _gaps(own: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """``distribution_gap`` of each row, ``[draws, clips]`` to ``[draws]``.

    Of two samples of one size, Wasserstein's distance is the mean difference of the sorted values.
    """
    apart = np.abs(np.sort(own, axis=1) - np.sort(truth, axis=1)).mean(axis=1)
    return np.asarray(apart / np.abs(truth).mean(axis=1))


def gap_change(
    full: Sequence[float], variant: Sequence[float], truth: Sequence[float]
) -> Difference | None:
    """Compare how far two distributions over the same clips are from that of the truth.

    The interval is the percentile bootstrap's (Efron, "Bootstrap methods: another look at the
    jackknife", Annals of Statistics 7, 1979): clips are drawn with replacement, the same for all
    three, from a fixed seed.

    Args:
        full: a value of each clip, as of the head's speed.
        variant: of the same clips.
        truth: of the same clips.

    Returns:
        None for fewer than two clips, or where the truth does not move.

    Raises:
        ValueError: the counts differ.
    """
    values = np.array([*zip(full, variant, truth, strict=True)], dtype=np.float64).T
    before, after = distribution_gap(full, truth), distribution_gap(variant, truth)
    if before is None or after is None or len(full) < 2:
        return None
    drawn = np.random.default_rng(0).integers(len(full), size=(_DRAWS, len(full)))
    one, two, aim = (row[drawn] for row in values)
    moves = np.abs(aim).mean(axis=1) > 0.0
    changes = _gaps(two[moves], aim[moves]) - _gaps(one[moves], aim[moves])
    tail = (1.0 - CONFIDENCE) / 2.0
    bounds = (after - before, *np.quantile(changes, (tail, 1.0 - tail)))
    mean, low, high = (round(float(value), 4) + 0.0 for value in bounds)
    return Difference(mean, low, high, len(full))


def compare(
    full: Mapping[str, ClipRecord], variant: Mapping[str, ClipRecord], method: str
) -> dict[str, dict[str, Any]]:
    """Changes of the errors of one data set against the full model.

    Args:
        full: records by clip id.
        variant: of the same data set.
        method: whose values.
    """
    found = {}
    both = sorted(full.keys() & variant.keys())
    for key in (f"{error}_{aim}" for error in COMPARED for aim in ("fit", "truth")):
        known = _known([(full, method), (variant, method)], key, both)
        change = paired(*known)
        if change is not None:
            found[key] = asdict(change)
    for key, source in OF_ALL_CLIPS.items():
        for aim in ("truth", "ground_truth"):
            known = _known([(full, method), (variant, method), (full, aim)], source, both)
            change = gap_change(*known)
            if change is not None:
                found[key] = asdict(change)
                break
    return found


def _known(
    columns: Sequence[tuple[Mapping[str, ClipRecord], str]], metric: str, clips: Sequence[str]
) -> list[list[float]]:
    """Values of a metric in each column, of the clips that have one in all."""
    rows = [[records[i].values[method][metric].value for records, method in columns] for i in clips]
    full = [[value for value in row if value is not None] for row in rows]
    kept = [row for row in full if len(row) == len(columns)]
    return [[row[place] for row in kept] for place in range(len(columns))]
