"""Fine colour of skin, hair and cloth as textures: pores, freckles, brows, stubble, strands, weave.

A texture is a factor on the vertex colours, times 128. Skin is unwrapped around a vertical axis
inside the head, so that brows and beards are drawn in the angle from the front and the height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

Array = NDArray[np.float32]

DETAIL_PX = 1024
_AXIS_Z = -0.5
_TOP, _SPAN = 1.45, 2.75
_BROW_ANGLE = (0.10, 0.32, 0.57, 0.85)
_BROW_HEIGHT = (0.422, 0.457, 0.447, 0.392)
"""Middle of the brow on the mean head: angle from the front, radians, and height, decimetres. The
upper edge is where the model has its brow landmarks."""
_BROW_SHAPE = (0.75, 1.0, 0.85, 0.3)


@dataclass(frozen=True)
class Hairs:
    """What grows on a face.

    Attributes:
        colour: sRGB.
        brow_half_dm: half thickness of the brows.
        brow_density: 0 to 1.
        brow_arch_dm: how far their outer third is raised.
        beard: strength of stubble or beard, 0 to 1.
        beard_reach: how far the beard goes up the cheeks, 0 (chin and lip) to 1.
    """

    colour: tuple[float, float, float]
    brow_half_dm: float
    brow_density: float
    brow_arch_dm: float
    beard: float
    beard_reach: float


def unwrap(points: NDArray[np.float64] | Array) -> NDArray[np.float64]:
    """Texture coordinates of points of the mean head: ``[..., 3]`` -> ``[..., 2]``, v down."""
    angle = np.arctan2(points[..., 0], points[..., 2] - _AXIS_Z)
    u = 0.5 + np.clip(angle, -np.pi / 2, np.pi / 2) / np.pi
    return np.stack([u, np.clip((_TOP - points[..., 1]) / _SPAN, 0, 1)], -1)


def _noise(
    generator: np.random.Generator, size: int, grain: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth noise of unit deviation with the given grain in texels (rows, columns)."""
    steps = [max(int(sigma // 3), 1) for sigma in grain]  # coarse noise is made coarse: it is quick
    shape = [-(-size // step) for step in steps]
    sigmas = [sigma / step for sigma, step in zip(grain, steps, strict=True)]
    field = gaussian_filter(generator.standard_normal(shape), sigmas, mode="wrap")
    if max(steps) > 1:
        field = zoom(field, steps, order=1)[:size, :size]
    return np.asarray(field / field.std())


def _brows(hairs: Hairs, angle: NDArray[np.float64], height: NDArray[np.float64],
           strokes: NDArray[np.float64]) -> NDArray[np.float64]:  # fmt: skip
    """How much brow hair covers each texel, in [0, 1]."""
    side = np.abs(angle)
    lift = hairs.brow_arch_dm * np.exp(-(((side - 0.55) / 0.2) ** 2))
    middle = np.interp(side, _BROW_ANGLE, _BROW_HEIGHT) + lift
    half = hairs.brow_half_dm * np.interp(side, _BROW_ANGLE, _BROW_SHAPE)
    ends = np.clip((side - 0.075) / 0.05, 0, 1) * np.clip((0.90 - side) / 0.12, 0, 1)
    edge = 1.25 - np.abs(height - middle) / half + 0.28 * strokes
    return np.asarray(np.clip(1.6 * edge, 0, 1) * ends * hairs.brow_density)


def _beard(hairs: Hairs, angle: NDArray[np.float64], height: NDArray[np.float64],
           grain: NDArray[np.float64]) -> NDArray[np.float64]:  # fmt: skip
    """How much stubble covers each texel, in [0, 1]."""
    side = np.abs(angle)
    line = -0.46 + hairs.beard_reach * np.interp(
        side, [0.25, 0.6, 1.0, 1.3], [0.0, 0.08, 0.25, 0.5]
    )
    jaw = np.clip((line - height) / 0.10, 0, 1) * np.clip((1.55 - side) / 0.3, 0, 1)
    lip = np.exp(-(((height + 0.215) / 0.045) ** 2)) * np.clip((0.36 - side) / 0.1, 0, 1)
    around = np.clip((side - 0.27) / 0.06, 0, 1) * np.clip((0.46 - side) / 0.1, 0, 1)
    around = around * np.clip((-0.20 - height) / 0.05, 0, 1)
    cover = np.clip(np.maximum(np.maximum(jaw, 0.9 * lip), around), 0, 1)
    return np.asarray(np.clip(cover * hairs.beard * (1 + 0.2 * grain), 0, 1))


def paint(
    generator: np.random.Generator, hairs: Hairs, skin_colour: Array, freckles: float
) -> NDArray[np.uint8]:
    """Textures of skin, hair and cloth.

    Args:
        generator: for all that is random.
        hairs: of the face.
        skin_colour: albedo that the hairs cover, ``[3]``.
        freckles: strength, 0 for none.

    Returns:
        ``[3, S, S, 3]``.
    """
    size = DETAIL_PX
    blotch = _noise(generator, size, (24, 24))
    fine = _noise(generator, size, (1.2, 1.2))
    medium = _noise(generator, size, (4.0, 4.0))
    spots = np.clip(_noise(generator, size, (2.0, 2.0)) - 2.1, 0, 0.8) * freckles
    skin = 1 + 0.018 * (fine + 0.8 * medium)[..., None]
    skin = skin + 0.020 * blotch[..., None] * np.array([0.4, 1.0, 0.9])
    skin = skin - spots[..., None] * np.array([0.18, 0.32, 0.38])
    row, column = (np.mgrid[0:size, 0:size] + 0.5) / size
    angle, height = (column - 0.5) * np.pi, _TOP - _SPAN * row
    strokes = _noise(generator, size, (1.0, 3.0))
    cover = _brows(hairs, angle, height, strokes)
    colour = np.asarray(hairs.colour) * 0.75
    ratio = np.clip(colour / skin_colour, 0.05, 0.98)
    skin = skin * (1 - cover[..., None] * (1 - ratio))
    stubble = _beard(hairs, angle, height, fine)
    skin = skin * (1 - stubble[..., None] * (1 - np.clip(1.15 * ratio, 0, 0.98)))
    strands = _noise(generator, size, (80, 1.2)) + 0.7 * _noise(generator, size, (120, 5.0))
    hair = 1 + 0.24 * strands[..., None] * np.ones(3)
    folds = _noise(generator, size, (60, 24))
    cloth = 1 + (0.04 * fine.T + 0.10 * folds)[..., None] * np.ones(3)
    layers = np.clip(np.stack([skin, hair, cloth]) * 128, 0, 255)
    return np.asarray(layers, np.uint8)
