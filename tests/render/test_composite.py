"""Compositing against scipy's spline and against hand-made layers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dimitra.render.composite import EYE, INTERIOR, SKIN, compose, pack_pictures
from dimitra.render.rasterizer import empty_raster, magnify, rasterize

SIZE = 24
QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
PLAIN = [np.full((SIZE, SIZE, 3), v, np.float32) for v in (40.0, 80.0, 120.0, 160.0)]
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32)
STILL = np.stack([X, Y], axis=-1)
LIT = np.ones((2 * SIZE, 2 * SIZE), np.float32)
FLESH = np.array([60.0, 20.0, 16.0], np.float32)


def square(x0: float, x1: float) -> NDArray[np.float64]:
    return np.array([[x0, x0, 1.0], [x1, x0, 1.0], [x1, x1, 1.0], [x0, x1, 1.0]])


def draw(
    corners: NDArray[np.float64],
    layer: int,
    trust: float,
    fill: float = 0.0,
    colour: float = 0.0,
    pictures: list[NDArray[np.float32]] = PLAIN,
    twin: float = 0.0,
    shade: float = 1.0,
    light: float = 1.0,
) -> NDArray[np.uint8]:
    attributes = np.zeros((4, 8), np.float32)
    attributes[:, :2] = corners[:, :2]
    attributes[:, 2], attributes[:, 5], attributes[:, 6] = trust, twin, fill
    attributes[:, 7] = shade
    raster = rasterize(magnify(corners), QUAD, 2 * SIZE, 2 * SIZE)
    colours = np.full((4, 3), colour, np.float32)
    layers = np.full(2, layer, np.uint8)
    lit = np.float32(light) * LIT
    return compose(
        raster, QUAD, layers, attributes, colours, lit, FLESH, STILL, pack_pictures(pictures)
    )


def noise() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)


def test_nothing_moves_nothing_changes() -> None:
    photo = np.rint(noise())
    empty = compose(
        empty_raster(2 * SIZE, 2 * SIZE),
        QUAD,
        np.zeros(2, np.uint8),
        np.zeros((4, 8), np.float32),
        np.zeros((4, 3), np.float32),
        LIT,
        FLESH,
        STILL,
        pack_pictures([photo] * 4),
    )
    np.testing.assert_array_equal(empty, photo)
    skin = draw(square(3, 19), SKIN, 1.0, pictures=[photo] * 4)
    np.testing.assert_allclose(skin[4:18, 4:18], photo[4:18, 4:18], atol=1.0)
    np.testing.assert_allclose(skin[20:], photo[20:], atol=1.0)


def test_sampling_is_exact_on_a_parabola_and_a_catmull_rom_spline() -> None:
    ramp = np.repeat((0.2 * (X - 4.0) ** 2 + 3.0 * Y)[..., None], 3, axis=2)
    under = STILL + np.float32(0.37)
    out = compose(
        empty_raster(2 * SIZE, 2 * SIZE),
        QUAD,
        np.zeros(2, np.uint8),
        np.zeros((4, 8), np.float32),
        np.zeros((4, 3), np.float32),
        LIT,
        FLESH,
        under,
        pack_pictures([ramp] * 4),
    )
    expected = 0.2 * (X + 0.37 - 4.0) ** 2 + 3.0 * (Y + 0.37)
    inner = slice(2, SIZE - 3)
    np.testing.assert_allclose(out[inner, inner, 0], expected[inner, inner], atol=0.51)


def test_each_layer_reads_its_own_picture() -> None:
    at = (SIZE // 2, SIZE // 2, 0)
    assert draw(square(3, 19), SKIN, 1.0, fill=0.0)[at] == 40
    assert draw(square(3, 19), SKIN, 1.0, fill=1.0)[at] == 80
    assert draw(square(3, 19), EYE, 1.0, fill=0.25)[at] == 60
    assert draw(square(3, 19), EYE, 1.0, fill=1.0)[at] == 120
    assert draw(square(3, 19), INTERIOR, 1.0, fill=0.0, colour=10.0)[at] == 10
    assert draw(square(3, 19), INTERIOR, 1.0, fill=1.0, colour=10.0)[at] == 160
    assert draw(square(3, 19), SKIN, 0.0, twin=1.0)[at] == 80
    assert draw(square(3, 19), SKIN, 1.0, fill=1.0)[0, 0, 0] == 40


def test_shade_darkens_the_photo_and_light_the_inside_of_the_mouth() -> None:
    at = (SIZE // 2, SIZE // 2)
    warm = 0.35 * 0.5 * 0.5
    expected = np.rint(40.0 * (0.5 + warm * np.array([1.0, 0.0, -1.0])))
    np.testing.assert_array_equal(draw(square(3, 19), SKIN, 1.0, shade=0.5)[at], expected)
    inside = draw(square(3, 19), INTERIOR, 1.0, colour=80.0, light=0.5)[at]
    redder = 1.0 + 2.0 * warm * np.array([1.0, 0.0, -1.0])
    np.testing.assert_allclose(inside, (40.0 + 0.5 * FLESH) * redder, atol=0.5)
    unlit = draw(square(3, 19), INTERIOR, 1.0, colour=80.0, light=0.0, shade=0.0)[at]
    np.testing.assert_array_equal(unlit, FLESH)
    still = draw(square(3, 19), INTERIOR, 1.0, fill=1.0, light=0.5, shade=0.0)[at]
    np.testing.assert_array_equal(still, [160, 160, 160])  # the photo's own mouth
    assert draw(square(3, 19), INTERIOR, 1.0, fill=1.0, light=0.5)[at][1] == 80


def test_edges_between_layers_are_mixed_by_coverage() -> None:
    out = draw(square(4.0, 12.0), INTERIOR, 0.0, colour=240.0)
    # The square covers pixel centres 4..11 and half of pixels 3/4 and 11/12 on each side.
    assert out[8, 4, 0] in (140, 240)
    assert out[8, 12, 0] in (40, 140)
    assert out[8, 8, 0] == 240
    total = (out[..., 0].astype(float) - 40.0).sum() / 200.0
    assert total == pytest.approx(64.0, abs=0.5)


def test_distrusted_skin_is_the_warp() -> None:
    photo = noise()
    moved = square(3, 19)
    out = draw(moved, SKIN, 0.0, pictures=[photo] * 4)
    np.testing.assert_allclose(out, np.rint(photo), atol=1.0)


def test_sizes_must_agree() -> None:
    raster = empty_raster(SIZE, SIZE)
    args = (QUAD, np.zeros(2, np.uint8), np.zeros((4, 8), np.float32), np.zeros((4, 3), np.float32))
    with pytest.raises(ValueError, match="twice"):
        compose(raster, *args, LIT, FLESH, STILL, pack_pictures(PLAIN))
    with pytest.raises(ValueError, match="pictures"):
        compose(
            empty_raster(2 * SIZE, 2 * SIZE), *args, LIT, FLESH, STILL, pack_pictures(PLAIN[:2])
        )
