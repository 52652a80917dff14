"""Frechet distance of two sets of features: how unlike two sets of pictures are.

Heusel et al. ("GANs trained by a two time-scale update rule", NeurIPS 2017) take features of
single pictures (FID), Unterthiner et al. ("Towards accurate generative models of video", 2018)
those of short clips (FVD); the distance is that of Gaussians of the same mean and covariance
(Dowson and Landau 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and scatter of features, of which parts can be added.

    Attributes:
        count: features.
        mean: ``[D]``.
        scatter: ``[D, D]``, sum of the outer products of what differs from the mean.
    """

    count: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Moments:
        """Those of features ``[N, D]``, N > 0.

        Raises:
            ValueError: another shape, or a value that is not finite.
        """
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
            raise ValueError(f"features of shape {values.shape} must be [N > 0, D] and finite")
        mean = values.mean(axis=0)
        away = values - mean
        return cls(len(values), mean, away.T @ away)

    def __add__(self, other: Moments) -> Moments:
        """Those of both sets together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Array:
        """``[D, D]``, unbiased; zero for a single feature."""
        return self.scatter / max(1, self.count - 1)


def frechet_distance(one: Moments, two: Moments) -> float:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``; 0 for equal Gaussians, never below.

    The trace of the root is the sum of the roots of the eigenvalues of ``R C2 R``, where ``R`` is
    the root of ``C1``: symmetric, so that singular covariances (fewer features than dimensions)
    need no care.

    Raises:
        ValueError: the features are of different lengths.
    """
    if one.mean.shape != two.mean.shape:
        raise ValueError(
            f"features of {len(one.mean)} and of {len(two.mean)} values do not compare"
        )
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ two.covariance @ root)
    apart = float(np.square(one.mean - two.mean).sum())
    spread = float(np.trace(one.covariance) + np.trace(two.covariance))
    return max(0.0, apart + spread - 2.0 * float(np.sqrt(np.maximum(shared, 0.0)).sum()))
