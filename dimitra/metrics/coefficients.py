"""Errors in the space of the face model's coefficients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_absolute_error(generated: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean of ``|generated - reference|`` over frames and coefficients, in double precision.

    Args:
        generated: ``[T, D]``, or ``[D]`` for a motionless clip.
        reference: ``[T, D]``.

    Raises:
        ValueError: the frame counts or widths differ, or there is no frame.
    """
    held = np.broadcast_to(generated, reference.shape) if generated.ndim == 1 else generated
    if held.shape != reference.shape or reference.ndim != 2 or reference.size == 0:
        raise ValueError(
            f"generated coefficients {generated.shape} and reference {reference.shape} must both "
            "be [T, D] with at least one frame"
        )
    return float(np.abs(held.astype(np.float64) - reference.astype(np.float64)).mean())
