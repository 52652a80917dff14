"""Axis-parallel boxes ``x0, y0, x1, y1`` in pixels; x to the right, y down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float32]
"""``[4]``: x0, y0, x1, y1; the last two lie one past the last pixel."""


def area(box: Box) -> float:
    """Area in square pixels; 0 for an empty box."""
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def overlap(first: Box, second: Box) -> float:
    """Intersection over union, 0 to 1."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[2:], second[2:])
    common = area(np.concatenate([low, high]))
    union = area(first) + area(second) - common
    return common / union if union > 0 else 0.0
