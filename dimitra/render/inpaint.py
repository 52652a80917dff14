"""Fill the unknown part of a picture smoothly from the known part (push-pull pyramid).

Gortler et al. 1996, "The lumigraph", section 3.4: the picture is averaged down over its known
pixels until nothing is unknown, then the gaps are filled from the coarser levels on the way up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def _halve(image: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width, channels = image.shape
    padded = np.zeros((height + height % 2, width + width % 2, channels), np.float32)
    padded[:height, :width] = image
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, channels)
    return np.asarray(blocks.sum(axis=(1, 3)), np.float32)


def _double(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Bilinear doubling, cut to height x width."""
    for axis in (0, 1):
        edge = [(0, 0)] * image.ndim
        edge[axis] = (1, 1)
        padded = np.pad(image, edge, mode="edge")
        count = image.shape[axis]
        before = np.take(padded, range(count), axis)
        after = np.take(padded, range(2, count + 2), axis)
        pair = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis + 1)
        shape = list(image.shape)
        shape[axis] = 2 * count
        image = pair.reshape(shape)
    return np.asarray(image[:height, :width], np.float32)


def fill_unknown(
    image: NDArray[np.floating[Any]], known: NDArray[np.floating[Any] | np.bool_]
) -> NDArray[np.float32]:
    """Replace the unknown pixels by a smooth continuation of the known ones.

    Args:
        image: [H, W, C].
        known: [H, W], trust in each pixel from 0 to 1; pixels of trust 1 stay as they are.

    Returns:
        [H, W, C] float32.

    Raises:
        ValueError: no pixel is known.
    """
    weight = np.clip(np.asarray(known, np.float32), 0.0, 1.0)[..., None]
    if not weight.any():
        raise ValueError(f"none of the {image.shape[1]}x{image.shape[0]} pixels is known")
    levels = [(image.astype(np.float32) * weight, weight)]
    while levels[-1][0].shape[:2] != (1, 1):
        colour, share = _halve(levels[-1][0]), _halve(levels[-1][1])
        scale = np.minimum(share, 1.0) / np.maximum(share, np.float32(1e-12))
        levels.append((colour * scale, np.minimum(share, 1.0)))
    colour, share = levels[-1]
    filled = np.asarray(colour / np.maximum(share, np.float32(1e-12)), np.float32)
    for colour, share in reversed(levels[:-1]):
        coarse = _double(filled, *colour.shape[:2])
        filled = np.asarray(colour + (1.0 - share) * coarse, np.float32)
    return filled
