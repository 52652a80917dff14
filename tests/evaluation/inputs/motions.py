"""A clip's motion as `fit` leaves it with Deng's encoder, with values that are known in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = 50


def at(time_s: NDArray[np.float64], width: int, size: float = 0.2) -> NDArray[np.float64]:
    """``[times, width]`` values that grow evenly with time."""
    return size * (np.linspace(-1.0, 1.0, width) * time_s[:, None] + 0.1)


def motion(frames: int = FRAMES) -> dict[str, NDArray[Any]]:
    """``motion.npz`` of a clip, in single precision."""
    middle_s = (np.arange(frames) + 0.5) / 25
    roll = np.zeros((frames, 3))
    roll[:, 2] = 0.3 * middle_s
    rng = np.random.default_rng(0)
    arrays = {
        "identity": rng.normal(size=80),
        "texture": rng.normal(size=80),
        "illumination": rng.normal(size=27),
        "expression": at(middle_s, 64),
        "pose": np.concatenate([roll, at(middle_s, 3)], axis=1),
        "crop": np.array([0.9, 128.0, 130.0]) + at(middle_s, 3),
    }
    return {name: value.astype(np.float32) for name, value in arrays.items()}
