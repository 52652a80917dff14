"""The batched rasteriser gives what the compiled one gives, number for number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dimitra.render.device_raster import interpolate, rasterize
from dimitra.render.rasterizer import interpolate as compiled_interpolate
from dimitra.render.rasterizer import rasterize as compiled_rasterize

HEIGHT, WIDTH = 13, 17


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), cull=st.sampled_from((-1, 0, 1)), exact=st.booleans())
def test_every_number_is_the_compiled_rasterisers(seed: int, cull: int, exact: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0.5, 0.6, (3, 12, 3)) * [WIDTH, HEIGHT, 2.0]  # also off the picture
    if exact:  # corners and edges through pixel centres; equal depths; behind the camera
        points = np.round(points)
    triangles = rng.integers(0, 12, (20, 3))  # some have no area
    values = rng.normal(size=(12, 2)).astype(np.float32)
    found = rasterize(
        torch.from_numpy(points), torch.from_numpy(triangles), HEIGHT, WIDTH, cull=cull
    )
    spread = interpolate(found, torch.from_numpy(triangles), torch.from_numpy(values))
    for frame in range(len(points)):
        wanted = compiled_rasterize(points[frame], triangles, HEIGHT, WIDTH, cull=cull)
        np.testing.assert_array_equal(found.face[frame], wanted.face)
        np.testing.assert_array_equal(found.barycentric[frame], wanted.barycentric)
        np.testing.assert_array_equal(
            spread[frame], compiled_interpolate(wanted, triangles, values)
        )


def test_nothing_to_see_is_nothing() -> None:
    away = torch.full((2, 3, 3), 99.0, dtype=torch.float64)
    found = rasterize(away, torch.tensor([[0, 1, 2]]), HEIGHT, WIDTH)
    assert (found.face == -1).all()
    assert not found.barycentric.any()


@pytest.mark.parametrize(("axis", "value"), [(0, np.nan), (1, 2.0**21), (2, np.inf)])
def test_points_out_of_reach_are_refused(axis: int, value: float) -> None:
    points = torch.zeros((1, 3, 3), dtype=torch.float64)
    points[0, 1, axis] = value
    with pytest.raises(ValueError, match="finite coordinates within 1048576 px"):
        rasterize(points, torch.tensor([[0, 1, 2]]), HEIGHT, WIDTH)
