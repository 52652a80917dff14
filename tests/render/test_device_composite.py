"""The batched composite and light on made-up rasters, against the compiled ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dimitra.render.composite import (
    EYE,
    FILL,
    INTERIOR,
    SHADE,
    SKIN,
    TRUST,
    TWIN_TRUST,
    pack_pictures,
)
from dimitra.render.composite import compose as compiled_compose
from dimitra.render.device_composite import compose
from dimitra.render.device_light import light_inside
from dimitra.render.device_raster import rasterize
from dimitra.render.device_vertices import Vertices
from dimitra.render.mouth import NO_TOOTH
from dimitra.render.mouth import light_inside as compiled_light
from dimitra.render.rasterizer import empty_raster
from dimitra.render.rasterizer import rasterize as compiled_rasterize

SIDE, VERTICES, FRAMES = 24, 40, 3


def _points(rng: np.random.Generator) -> NDArray[np.float64]:
    points = rng.uniform(-4, 2 * SIDE + 4, (FRAMES, VERTICES, 3))
    points[..., 2] += 10.0
    return points


def _attributes(rng: np.random.Generator) -> NDArray[np.float32]:
    """Positions close enough to agree often, and shares of 0, 1 and between."""
    values = rng.uniform(8.0, 12.0, (FRAMES, VERTICES, 8))
    for column in (TRUST, TWIN_TRUST, FILL, SHADE):
        values[..., column] = np.clip(rng.uniform(-0.7, 1.7, (FRAMES, VERTICES)), 0.0, 1.0)
    return values.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_every_level_is_the_compiled_composites(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, attributes = _points(rng), _attributes(rng)
    triangles = rng.integers(0, VERTICES, (12, 3)).astype(np.int32)
    layer = rng.choice([SKIN, SKIN, EYE, INTERIOR], 12).astype(np.uint8)
    colours = rng.uniform(0, 255, (FRAMES, VERTICES, 3)).astype(np.float32)
    light = rng.uniform(0, 1, (FRAMES, 2 * SIDE, 2 * SIDE)).astype(np.float32)
    under = rng.uniform(-1, SIDE, (FRAMES, SIDE, SIDE, 2)).astype(np.float32)
    flesh = np.array([58, 22, 20], np.float32)
    pictures = pack_pictures(list(rng.uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)))
    faces = torch.from_numpy(triangles.astype(np.int64))
    rasters = rasterize(torch.from_numpy(points), faces, 2 * SIDE, 2 * SIDE)
    portrait = SimpleNamespace(
        photo=SimpleNamespace(size=SIDE),
        layer=torch.from_numpy(layer.astype(np.int64)),
        flesh=torch.from_numpy(flesh),
        pictures=torch.from_numpy(pictures.reshape(-1, 4)),
    )
    vertices = Vertices(*(torch.from_numpy(a) for a in (points, attributes, colours, points)))
    found = compose(
        rasters,
        faces,
        vertices,
        torch.from_numpy(light),
        torch.from_numpy(under),
        cast("Any", portrait),
    )
    assert (rasters.face >= 0).float().mean() > 0.4
    for frame in range(FRAMES):
        wanted = compiled_compose(
            compiled_rasterize(points[frame], triangles, 2 * SIDE, 2 * SIDE),
            triangles,
            layer,
            attributes[frame],
            colours[frame],
            light[frame],
            flesh,
            under[frame],
            pictures,
        )
        np.testing.assert_array_equal(found[frame], wanted)


def test_light_is_the_compiled_light() -> None:
    rng = np.random.default_rng(5)
    points = _points(rng)
    triangles = rng.integers(0, VERTICES, (12, 3)).astype(np.int32)
    inside = rng.random(12) < 0.5
    number = np.where(rng.random(VERTICES) < 0.5, rng.uniform(0, 7, VERTICES), NO_TOOTH)
    number = number.astype(np.float32)
    faces = torch.from_numpy(triangles.astype(np.int64))
    rasters = rasterize(torch.from_numpy(points), faces, 2 * SIDE, 2 * SIDE)
    choice, numbers = torch.from_numpy(inside), torch.from_numpy(number)
    found = light_inside(rasters, faces, choice, numbers, 90.0).numpy()
    assert found.min() < 0.9
    for frame in range(FRAMES):
        wanted = np.ones((2 * SIDE, 2 * SIDE), np.float32)
        raster = compiled_rasterize(
            points[frame], triangles, 2 * SIDE, 2 * SIDE, out=empty_raster(2 * SIDE, 2 * SIDE)
        )
        compiled_light(raster, triangles, inside, number, points[frame, :, :2], 90.0, wanted)
        np.testing.assert_allclose(found[frame], wanted, atol=1e-6)
