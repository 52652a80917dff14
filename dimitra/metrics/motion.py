"""Numbers of motion: how the mouth opens, how the head moves, how samples differ.

A motion is ``[T, 70]``: 64 expression coefficients, three angles (pitch, yaw, roll, radians) and a
translation. docs/metrics.md says for each number which direction is better and where it is from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import wasserstein_distance

Floats = NDArray[np.floating]

_STILL = 1e-9
"""A deviation below this is that of rounding, not of a movement."""
_LOW, _HIGH = 5.0, 95.0
LAG = 12
"""Frames up to which one signal is looked for before and after another: half a second."""


def correlation(one: Floats, two: Floats) -> float | None:
    """Pearson's correlation of two signals ``[T]``; None where one of them does not move.

    Raises:
        ValueError: the shapes differ.
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"signals {a.shape} and {b.shape} must both be [T]")
    if len(a) < 2 or a.std() < _STILL or b.std() < _STILL:
        return None
    product = float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))
    return min(1.0, max(-1.0, product))


def lag(one: Floats, two: Floats) -> int | None:
    """Frames by which a signal comes later than another: where they correlate best.

    Pearson's correlation over the frames that both have once one is moved, -12 to 12 frames and at
    most half their length; of equal ones the least move. None where one of them does not move.

    Args:
        one: ``[T]``.
        two: ``[T]``.

    Returns:
        Positive where ``one`` follows ``two``.

    Raises:
        ValueError: the shapes differ.
    """
    if correlation(one, two) is None:
        return None
    most = min(LAG, len(one) // 2)
    found: list[tuple[float, int, int]] = []
    for shift in range(-most, most + 1):
        late, early = (one, two) if shift >= 0 else (two, one)
        like = correlation(late[abs(shift) :], early[: len(early) - abs(shift)])
        if like is not None:
            found.append((like, -abs(shift), shift))
    return max(found)[2]


def jerk(values: Floats) -> float | None:
    """Mean absolute third difference over frames and columns; None for fewer than four frames.

    The third derivative of position is what smooth movements of people keep small (Flash and
    Hogan, "The coordination of arm movements", 1985); here per frame cubed, of coefficients.

    Args:
        values: ``[T, D]``.
    """
    if len(values) < 4:
        return None
    return float(np.abs(np.diff(np.asarray(values, dtype=np.float64), n=3, axis=0)).mean())


def head_speed(angles: Floats, fps: float) -> float | None:
    """Mean angular speed of a head in degrees a second; None for fewer than two frames.

    The angle between two frames is that of the rotation from one to the other (the geodesic on
    SO(3): Huynh, "Metrics for 3D rotations", 2009, Phi_6), not the difference of Euler angles.

    Args:
        angles: ``[T, 3]`` pitch, yaw, roll in radians; ``R = Rz Ry Rx``.
        fps: frames a second.
    """
    if len(angles) < 2:
        return None
    heads = Rotation.from_euler("xyz", np.asarray(angles, dtype=np.float64))
    turns = (heads[1:] * heads[:-1].inv()).magnitude()
    return math.degrees(float(np.mean(turns))) * fps


def head_range(angles: Floats) -> float:
    """How far a head turns, in degrees: the 5th to the 95th percentile, mean over the three angles.

    Args:
        angles: ``[T, 3]`` radians, T at least 1.
    """
    low, high = np.percentile(np.asarray(angles, dtype=np.float64), (_LOW, _HIGH), axis=0)
    return math.degrees(float(np.mean(high - low)))


def diversity(samples: Floats) -> float:
    """Mean absolute difference over all pairs of samples of one input, in the values' unit.

    The multimodality of Guo et al. ("Action2Motion", 2020) with every pair in place of random
    ones, and absolute differences, so that it compares with a mean absolute error.

    Args:
        samples: ``[S, T, D]``, S at least 2.

    Raises:
        ValueError: there is no pair.
    """
    count = len(samples)
    if count < 2:
        raise ValueError(f"{count} samples make no pair")
    # Sorted, the k-th smallest is larger than k others and smaller than the rest.
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=0)
    weights = 2.0 * np.arange(count) - (count - 1)
    pairs = count * (count - 1) / 2
    return float(np.mean(np.tensordot(weights, ordered, axes=1)) / pairs)


def distribution_gap(values: Sequence[float], reference: Sequence[float]) -> float | None:
    """Wasserstein-1 distance of two distributions over the mean of the reference.

    0.25 bounds the relative difference of the means by 25 %, and that of all quantiles on average.
    None where the reference is empty or all zero.
    """
    if not len(reference) or not np.mean(np.abs(reference)) > 0.0:
        return None
    return float(wasserstein_distance(values, reference) / np.mean(np.abs(reference)))
