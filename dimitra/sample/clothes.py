"""Shoulders, neck and collar as closed rings, in the camera's frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Collar = Literal["turtleneck", "round", "v"]
COLLARS: tuple[Collar, ...] = ("round", "v", "turtleneck")

COLUMNS = 48
_CENTRE_Z = -0.50
_SHOULDERS = (
    (-1.08, 0.66, 0.55), (-1.18, 0.95, 0.58), (-1.32, 1.30, 0.62), (-1.5, 1.58, 0.68),
    (-1.75, 1.72, 0.74), (-2.1, 1.78, 0.80), (-2.8, 1.75, 0.82), (-4.0, 1.7, 0.8),
)  # fmt: skip
"""Rings of height, half width and half depth."""
_TALL = ((-0.76, 0.59, 0.54), (-0.86, 0.60, 0.54), (-0.95, 0.62, 0.54), (-1.02, 0.64, 0.54))
_NECK = (
    (-0.25, 0.34, 0.34),
    (-0.45, 0.42, 0.40),
    (-0.62, 0.47, 0.42),
    (-0.80, 0.54, 0.46),
    (-0.95, 0.598, 0.50),
)


def _rings(
    table: tuple[tuple[float, float, float], ...], dip: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Rings ``[R, C, 3]``; ``dip`` ``[C]`` lowers the upper ones."""
    angle = np.linspace(np.pi, 3 * np.pi, COLUMNS, endpoint=False)
    front, side = np.cos(angle), np.sin(angle)
    rows = []
    for y, across, depth in table:
        wide = 0.65 + (across - 0.65) * width if across > 0.65 else across
        low = dip * np.clip((y + 1.6) / 0.5, 0, 1)
        x = np.sign(side) * np.abs(side) ** 0.85 * wide
        rows.append(np.stack([x, y - low, _CENTRE_Z + depth * front], 1))
    return np.stack(rows)


def neck_half_width(heights: Array) -> Array:
    """Half width of the neck at some heights, decimetres."""
    known = np.array(_NECK)[::-1]
    return np.asarray(np.interp(heights, known[:, 0], known[:, 1]), np.float32)


def make_body(collar: Collar, width: float) -> tuple[Array, Array]:
    """Skin of neck and chest, and the garment over it.

    Args:
        collar: what the garment leaves to see.
        width: of the shoulders, 1 for broad ones.

    Returns:
        two grids of closed rings from top to bottom, ``[R, COLUMNS, 3]``.
    """
    angle = np.linspace(np.pi, 3 * np.pi, COLUMNS, endpoint=False)
    front, side = np.cos(angle), np.abs(np.sin(angle))
    dip = {
        "turtleneck": 0.16 * np.clip(front, 0, 1),
        "round": 0.26 * np.clip(front, 0, 1),
        "v": 0.62 * np.clip(1 - side / 0.75, 0, 1) * (front > 0) + 0.06 * np.clip(front, 0, 1),
    }[collar]
    table = (*_TALL, *_SHOULDERS) if collar == "turtleneck" else _SHOULDERS
    cloth = _rings(table, dip, width)
    chest = _rings(_SHOULDERS, dip, width)
    chest = (chest - [0, 0, _CENTRE_Z]) * [0.97, 1, 0.955] + [0, -0.012, _CENTRE_Z]
    neck = _rings(_NECK, np.zeros(COLUMNS), width)
    skin = np.concatenate([neck, chest])
    return skin.astype(np.float32), cloth.astype(np.float32)
