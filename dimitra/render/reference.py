"""The reference photo at the size that a renderer draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom


def resize_reference(
    photo: NDArray[np.uint8], crop: NDArray[np.float32], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A reference photo [S, S, 3] at another size, with Deng's alignment [3] to match.

    Raises:
        ValueError: the photo is not square.
    """
    side = photo.shape[0]
    if photo.shape[:2] != (side, side):
        raise ValueError(f"photo has shape {photo.shape}, but a square one is needed")
    if side == size:
        return photo, crop
    ratio = size / side
    pixels = photo.astype(np.float64)
    if ratio < 1.0:
        pixels = gaussian_filter(pixels, (0.5 * (1.0 / ratio - 1.0),) * 2 + (0.0,))
    scaled = zoom(pixels, (ratio, ratio, 1.0), order=1, mode="nearest", grid_mode=True)
    factors = np.array([1.0 / ratio, ratio, ratio], np.float32)
    return np.rint(scaled).astype(np.uint8), crop * factors
