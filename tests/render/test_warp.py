"""The picture's warp follows its handles and rests at the border."""

from __future__ import annotations

import numpy as np
import pytest

from dimitra.render.rasterizer import interpolate, rasterize
from dimitra.render.warp import warp_grid

HANDLES = np.stack(np.meshgrid(np.arange(40.0, 90, 5), np.arange(40.0, 90, 5)), -1).reshape(-1, 2)


def test_no_motion_leaves_every_pixel_where_it_is() -> None:
    grid = warp_grid(128, 128, HANDLES, np.ones(len(HANDLES)))
    nodes = grid.nodes + grid.displace(np.zeros_like(HANDLES))
    flat = np.column_stack([nodes, np.ones(len(nodes))])
    raster = rasterize(flat, grid.triangles, 128, 128, cull=1)
    assert raster.covered.all()
    source = interpolate(raster, grid.triangles, grid.nodes)
    y, x = np.mgrid[:128, :128]
    np.testing.assert_allclose(source, np.stack([x, y], -1), atol=1e-4)


def test_handles_are_met_and_the_border_rests() -> None:
    grid = warp_grid(128, 128, HANDLES, np.ones(len(HANDLES)))
    move = np.tile([6.0, -3.0], (len(HANDLES), 1))
    moved = grid.displace(move)
    border = (np.abs(grid.nodes - 63.5) > 63.9).any(axis=1)
    assert border.sum() == 4 * 32
    assert (moved[border, 1] == 0).all()
    below = border & (grid.nodes[:, 1] > 0)
    assert (moved[below] == 0).all()
    assert np.abs(moved[border]).max() < 3.0  # the upper border slides a little
    inside = ((grid.nodes > 45) & (grid.nodes < 80)).all(axis=1)
    np.testing.assert_allclose(moved[inside], np.tile([6.0, -3.0], (inside.sum(), 1)), atol=0.15)
    assert np.abs(moved).max() < 6.5  # no overshoot worth seeing


def test_nodes_of_a_still_background_rest_and_the_handles_are_met_all_the_same() -> None:
    still = np.zeros((33, 33))
    still[:, :6] = 0.5
    weights, move = np.ones(len(HANDLES)), np.tile([6.0, -3.0], (len(HANDLES), 1))
    free = warp_grid(128, 128, HANDLES, weights).displace(move)
    held = warp_grid(128, 128, HANDLES, weights, still)
    moved = held.displace(move)
    left = held.nodes[:, 0] < 12
    assert np.abs(moved[left]).max() < 0.25 * np.abs(free[left]).max()
    inside = ((held.nodes > 45) & (held.nodes < 80)).all(axis=1)
    np.testing.assert_allclose(moved[inside], np.tile([6.0, -3.0], (inside.sum(), 1)), atol=0.2)


def test_the_response_is_linear() -> None:
    rng = np.random.default_rng(0)
    grid = warp_grid(96, 128, HANDLES, rng.uniform(0.1, 1, len(HANDLES)), cells=16)
    a, b = rng.normal(size=(2, *HANDLES.shape))
    np.testing.assert_allclose(
        grid.displace(2 * a - b), 2 * grid.displace(a) - grid.displace(b), atol=1e-4
    )


def test_a_moving_block_does_not_fold_the_picture() -> None:
    grid = warp_grid(128, 128, HANDLES, np.ones(len(HANDLES)))
    nodes = grid.nodes + grid.displace(np.tile([14.0, 9.0], (len(HANDLES), 1)))
    a, b, c = (nodes[grid.triangles[:, k]].astype(float) for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert area.min() > 0


def test_without_handles_there_is_no_warp() -> None:
    with pytest.raises(ValueError, match="none of 1 handles"):
        warp_grid(64, 64, np.array([[100.0, 5.0]]), np.ones(1))
