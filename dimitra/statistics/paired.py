"""Paired tests: do two methods differ on the same clips?

The sign-flip permutation test asks about the mean (Fisher 1935): were the methods alike, each
difference could as well have the other sign. Wilcoxon's signed ranks ask about the middle. Holm's
correction (1979) keeps the chance of one false finding among several comparisons at its level.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from dimitra.statistics.intervals import Interval, mean_interval

PERMUTATIONS = 20_000
EXACT = 14
"""Differences up to which every pattern of signs is counted: 2^14 = 16,384 of them."""
_BLOCK = 2_000_000
_TIE = 1e-12
"""Relative slack: sums that differ by rounding alone are ties."""


@dataclass(frozen=True)
class PairedTest:
    """First method less second, on the clips that both have a value for.

    Attributes:
        n: clips that both have.
        dropped: clips that only one has, or neither.
        difference: mean, None where n is 0.
        interval: of the mean difference, over clips.
        identity_interval: over identities.
        permutation_p: two-sided, of the sign-flip test; None where n is 0.
        wilcoxon_p: two-sided; None where every difference is 0.
        identity_p: sign flips of whole identities; None where they are not known.
    """

    n: int
    dropped: int
    difference: float | None
    interval: Interval
    identity_interval: Interval
    permutation_p: float | None
    wilcoxon_p: float | None
    identity_p: float | None


def sign_flip_p(differences: NDArray[np.float64], *, seed: int = 0) -> float:
    """Two-sided p of the mean being 0, exact up to ``EXACT`` differences.

    Beyond, of ``PERMUTATIONS`` random patterns, the observed one among them, so that p is never 0
    (Phipson and Smyth 2010).

    Args:
        differences: ``[N]``, N > 0.
        seed: of the random patterns.

    Raises:
        ValueError: not one-dimensional, empty, or not finite.
    """
    if differences.ndim != 1 or not differences.size or not np.isfinite(differences).all():
        raise ValueError(f"differences of shape {differences.shape} must be [N > 0] and finite")
    count = len(differences)
    observed = abs(differences.sum()) - _TIE * np.abs(differences).sum()
    if count <= EXACT:
        return float((np.abs(_patterns(count) @ differences) >= observed).mean())
    few = PERMUTATIONS * count <= _BLOCK
    blocks = (_signs(count, seed),) if few else _sign_blocks(count, seed)
    extreme = sum(int((np.abs(signs @ differences) >= observed).sum()) for signs in blocks)
    return (extreme + 1) / (PERMUTATIONS + 1)


@functools.lru_cache(maxsize=4)
def _patterns(count: int) -> NDArray[np.float64]:
    """Every pattern of signs, ``[2^count, count]``."""
    patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return 1.0 - 2.0 * patterns.astype(np.float64)


def _sign_blocks(count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Random patterns of signs, ``PERMUTATIONS`` rows of ``count`` in all."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // count)
    for start in range(0, PERMUTATIONS, step):
        rows = min(step, PERMUTATIONS - start)
        yield 2.0 * rng.integers(2, size=(rows, count)).astype(np.float64) - 1.0


@functools.lru_cache(maxsize=4)
def _signs(count: int, seed: int) -> NDArray[np.float64]:
    """All of them, kept, since a table asks for many tests of as many clips."""
    return np.concatenate(list(_sign_blocks(count, seed)))


def compare(
    first: Sequence[float | None],
    second: Sequence[float | None],
    identities: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> PairedTest:
    """Test two methods on the same clips.

    Args:
        first: one value a clip, None where there is none.
        second: likewise, the same clips in the same order.
        identities: who speaks in each clip; None where that is not known.
        seed: of draws and permutations.

    Raises:
        ValueError: lengths differ.
    """
    if len(first) != len(second) or (identities is not None and len(identities) != len(first)):
        raise ValueError(f"{len(first)} and {len(second)} clips: need the same, with identities")
    both = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if None not in (a, b)]
    gaps = np.array([first[i] - second[i] for i in both], dtype=np.float64)  # type: ignore[operator] # neither is None
    dropped = len(first) - len(both)
    clips = mean_interval(gaps, seed=seed)
    unknown = Interval(None, None, 0, "identities are not known")
    if not both:
        return PairedTest(0, dropped, None, clips, unknown, None, None, None)
    people = None if identities is None else [identities[i] for i in both]
    return PairedTest(
        n=len(both),
        dropped=dropped,
        difference=float(gaps.mean()),
        interval=clips,
        identity_interval=unknown if people is None else mean_interval(gaps, people, seed=seed),
        permutation_p=sign_flip_p(gaps, seed=seed),
        wilcoxon_p=float(wilcoxon(gaps).pvalue) if gaps.any() else None,
        identity_p=None if people is None else sign_flip_p(_sums(gaps, people), seed=seed),
    )


def _sums(values: NDArray[np.float64], groups: Sequence[Hashable]) -> NDArray[np.float64]:
    places = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    return np.bincount([places[name] for name in groups], values).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure, in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = least
    return adjusted
