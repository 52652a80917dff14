"""A file with the keys, orientations and types of ``BFM_model_front.mat``, made of a dome."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay


def bfm_contents(count: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """A dome seen from the front, with the keys, orientations and types of the real file."""
    rng = np.random.default_rng(seed)
    radius, turn = np.sqrt(rng.uniform(0, 1, count)), rng.uniform(0, 2 * np.pi, count)
    x, y = 0.7 * radius * np.cos(turn), 0.9 * radius * np.sin(turn)
    mean = np.stack([x + 0.01, y - 0.02, 0.6 + 0.8 * np.sqrt(1 - radius**2)], axis=1)
    triangles = Delaunay(mean[:, :2]).simplices
    return {
        "meanshape": mean.reshape(1, -1).astype(np.float32),
        "meantex": rng.uniform(40, 220, (1, 3 * count)),
        "idBase": 0.01 * rng.standard_normal((3 * count, 80), dtype=np.float32),
        "exBase": 0.01 * rng.standard_normal((3 * count, 64), dtype=np.float32),
        "texBase": 3 * rng.standard_normal((3 * count, 80), dtype=np.float32),
        "tri": (triangles + 1).astype(np.int32),
        "point_buf": np.ones((count, 8), np.int32),
        "tri_mask2": (triangles[:50] + 1).astype(np.int32),
        "keypoints": rng.choice(count, (1, 68), replace=False).astype(np.float64) + 1,
        "frontmask2_idx": np.arange(1, count // 2)[:, None],
        "skinmask": (rng.uniform(size=(1, count)) > 0.2).astype(np.uint8),
    }
