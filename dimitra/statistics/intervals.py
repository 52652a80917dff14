"""Bootstrap intervals of a mean over clips, and over identities.

Clips of one person are alike, so an interval over clips is too narrow for the question how a method
does on other people. The cluster bootstrap draws whole identities: a mean over clips is then a
ratio, sum of the drawn identities' sums over the sum of their numbers of clips. Both intervals are
BCa (Efron, "Better bootstrap confidence intervals", JASA 82, 1987; acceleration by the jackknife).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

DRAWS = 10_000
CONFIDENCE = 0.95
_BLOCK = 2_000_000
"""Numbers drawn at once, a bound on memory."""


@dataclass(frozen=True)
class Interval:
    """An interval of a mean, or why there is none.

    Attributes:
        low: lower bound, None where there is none.
        high: upper bound, None where there is none.
        groups: what was drawn: clips or identities.
        reason: why there is none, else None.
    """

    low: float | None
    high: float | None
    groups: int
    reason: str | None = None


def mean_interval(
    values: Sequence[float] | NDArray[np.float64],
    identities: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
) -> Interval:
    """BCa bootstrap interval of the mean over clips; the same seed gives the same bounds.

    Args:
        values: ``[N]``, one a clip.
        identities: ``[N]``, who speaks; None draws clips one by one.
        seed: of the draws.
        draws: bootstrap samples.
        confidence: share of intervals that hold the true mean.

    Raises:
        ValueError: lengths differ, a value is not finite, or ``confidence`` is not within 0..1.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values of shape {array.shape} must be [N] and finite")
    if not 0.0 < confidence < 1.0 or draws < 1:
        raise ValueError(f"confidence {confidence} must lie within 0..1, draws {draws} above 0")
    sums, counts = _grouped(array, identities)
    groups = len(sums)
    if groups < 2:
        what = "identity" if identities is not None else "clip"
        return Interval(None, None, groups, f"{groups} {what}: an interval needs 2")
    if np.ptp(sums / counts) == 0.0:
        mean = float(sums.sum() / counts.sum())
        return Interval(mean, mean, groups)
    means = _resampled(sums, counts, draws, seed)
    low, high = _bca(means, sums, counts, confidence)
    return Interval(low, high, groups)


def _grouped(
    values: NDArray[np.float64], identities: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of clips of each group, in the order of first appearance."""
    if identities is None:
        return values, np.ones(len(values))
    if len(identities) != len(values):
        raise ValueError(f"{len(identities)} identities for {len(values)} values")
    places = {name: place for place, name in enumerate(dict.fromkeys(identities))}
    index = np.array([places[name] for name in identities], dtype=np.int64)
    sums = np.bincount(index, values, len(places)).astype(np.float64)
    return sums, np.bincount(index, minlength=len(places)).astype(np.float64)


def _resampled(
    sums: NDArray[np.float64], counts: NDArray[np.float64], draws: int, seed: int
) -> NDArray[np.float64]:
    """Means of ``draws`` samples of groups with replacement."""
    groups = len(sums)
    if draws * groups <= _BLOCK:
        times = _times_drawn(groups, draws, seed)
        return np.asarray((times @ sums) / (times @ counts))
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // groups)
    means = []
    for start in range(0, draws, step):
        chosen = rng.integers(groups, size=(min(step, draws - start), groups))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    return np.concatenate(means)


@functools.lru_cache(maxsize=4)
def _times_drawn(groups: int, draws: int, seed: int) -> NDArray[np.float64]:
    """How often each sample holds each group, ``[draws, groups]``.

    Kept, since a table asks for many intervals of as many groups.
    """
    chosen = np.random.default_rng(seed).integers(groups, size=(draws, groups))
    places = chosen + groups * np.arange(draws)[:, None]
    counted = np.bincount(places.ravel(), minlength=draws * groups)
    return counted.reshape(draws, groups).astype(np.float64)


def _bca(
    means: NDArray[np.float64],
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    confidence: float,
) -> tuple[float, float]:
    """Bounds of Efron 1987, equations 2.3 (bias) and 6.6 (acceleration)."""
    estimate = sums.sum() / counts.sum()
    below = float((np.sum(means < estimate) + np.sum(means <= estimate)) / (2 * len(means)))
    # All samples on one side: a bias of more than the draws can tell.
    edge = 0.5 / len(means)
    bias = float(ndtri(min(max(below, edge), 1.0 - edge)))
    without = (sums.sum() - sums) / (counts.sum() - counts)
    away = without.mean() - without
    spread = float(np.square(away).sum())
    speed = float((away**3).sum()) / (6.0 * math.pow(spread, 1.5)) if spread else 0.0
    tail = (1.0 - confidence) / 2.0
    normal = bias + ndtri(np.array([tail, 1.0 - tail]))
    levels = ndtr(bias + normal / (1.0 - speed * normal))
    low, high = np.quantile(means, levels)
    return float(low), float(high)
