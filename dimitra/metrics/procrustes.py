"""Least-squares similarity between two point sets (Umeyama 1991), batched over frames.

S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
IEEE TPAMI 13(4), 1991, equations 34 to 43.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """``y = scale * rotation @ x + translation``, one for each leading index.

    Attributes:
        scale: ``[...]``, not negative.
        rotation: ``[..., D, D]``, determinant +1 (never a reflection).
        translation: ``[..., D]``, in the units of the target.
    """

    scale: Array
    rotation: Array
    translation: Array

    def apply(self, points: ArrayLike) -> Array:
        """Map points ``[..., P, D]`` to ``[..., P, D]``."""
        moved = np.asarray(points, dtype=np.float64) @ np.swapaxes(self.rotation, -1, -2)
        return np.asarray(
            self.scale[..., None, None] * moved + self.translation[..., None, :], dtype=np.float64
        )


def umeyama(source: ArrayLike, target: ArrayLike, *, with_scale: bool = True) -> Similarity:
    """Similarity that brings ``source`` closest to ``target`` in the sum of squared distances.

    A mirrored source is answered with the best proper rotation, as in Umeyama's equation 43.

    Args:
        source: points ``[..., P, D]``.
        target: points ``[..., P, D]``.
        with_scale: estimate the scale; otherwise it is 1 (Kabsch's rigid fit).

    Raises:
        ValueError: the shapes differ, a value is not finite, or all points of a source coincide
            so that no scale exists.
    """
    x = np.asarray(source, dtype=np.float64)
    y = np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.ndim < 2 or x.shape[-2] < 1:
        raise ValueError(
            f"source points {x.shape} and target points {y.shape} must both be [..., P, D]"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("points to align hold NaN or infinity: leave out frames without landmarks")
    x_mean = x.mean(axis=-2)
    y_mean = y.mean(axis=-2)
    x_centred = x - x_mean[..., None, :]
    y_centred = y - y_mean[..., None, :]
    variance = np.square(x_centred).sum(axis=-1).mean(axis=-1)
    if with_scale and not (variance > 0.0).all():
        raise ValueError("all points of a source coincide: its scale to the target is undefined")
    covariance = np.swapaxes(y_centred, -1, -2) @ x_centred / x.shape[-2]
    u, singular, v_t = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    signs[..., -1] = np.where(np.linalg.det(u) * np.linalg.det(v_t) < 0.0, -1.0, 1.0)
    rotation = (u * signs[..., None, :]) @ v_t
    scale = (singular * signs).sum(axis=-1) / variance if with_scale else np.ones(variance.shape)
    translation = y_mean - scale[..., None] * (rotation @ x_mean[..., None])[..., 0]
    return Similarity(
        scale=np.asarray(scale, dtype=np.float64),
        rotation=np.asarray(rotation, dtype=np.float64),
        translation=np.asarray(translation, dtype=np.float64),
    )
