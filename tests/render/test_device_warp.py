"""The batched warp moves nodes as the compiled one does, folds and all."""

from __future__ import annotations

import numpy as np
import torch

from dimitra.render.device_warp import displace
from dimitra.render.warp import WarpGrid, warp_grid

FRAMES = 5


def _pulled(grid: WarpGrid, pulled: np.ndarray) -> np.ndarray:
    arrays = (grid.response_x, grid.response_y, grid.nodes, pulled)
    return displace(*(torch.from_numpy(array) for array in arrays)).numpy()


def test_nodes_move_as_compiled_and_no_cell_folds_further() -> None:
    rng = np.random.default_rng(0)
    handles = rng.uniform(20, 108, (60, 2))
    grid = warp_grid(128, 128, handles, np.ones(60))
    strength = np.array([0.0, 1.0, 4.0, 9.0, 25.0])[:, None, None]  # from rest to hopeless folds
    pulled = (strength * rng.normal(size=(FRAMES, 60, 2))).astype(np.float32)
    linear = np.stack([pulled[..., 0] @ grid.response_x.T, pulled[..., 1] @ grid.response_y.T], -1)
    found = _pulled(grid, pulled)
    for frame in range(FRAMES):
        np.testing.assert_allclose(found[frame], grid.displace(pulled[frame]), atol=1e-4)
    smoothed = np.abs(found - linear).max(axis=(1, 2))
    assert not found[0].any()
    assert smoothed[1] < 1e-4
    assert 0.1 < smoothed[3] < smoothed[4]


def test_a_frame_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(1)
    grid = warp_grid(64, 64, rng.uniform(10, 54, (30, 2)), np.ones(30))
    pulled = (6.0 * rng.normal(size=(FRAMES, 30, 2))).astype(np.float32)
    other = pulled.copy()
    other[1:] = 0.0  # they need no smoothing any more
    np.testing.assert_array_equal(_pulled(grid, pulled)[0], _pulled(grid, other)[0])
