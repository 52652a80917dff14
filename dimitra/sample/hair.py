"""Hair and headwear: a cap that follows the head, and surfaces that fall or stand off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.model import FaceModel

Array = NDArray[np.float32]
Style = Literal["bald", "crop", "short", "tied", "tucked", "long", "scarf", "beanie"]

STYLES: dict[str, tuple[Style, ...]] = {
    "f": ("tucked", "long", "scarf", "long", "tied", "short", "long", "tucked"),
    "m": ("short", "crop", "beanie", "crop", "short", "short", "bald", "crop"),
}
"""Styles that identities of a voice draw from, repeated by frequency."""
HEADWEAR: frozenset[Style] = frozenset({"scarf", "beanie"})


@dataclass(frozen=True)
class Hair:
    """Hair or headwear of an identity.

    Attributes:
        style: one of ``STYLES``.
        colour: of the hair, sRGB.
        thickness: how far the cap stands off each head vertex, negative for none, ``[V]``.
        scalp: how much of the hair's colour the skin of each vertex takes, ``[V]``.
        fall: surface beside the cap, rows of a grid in the head's frame, ``[R, C, 3]``; R may be 0.
    """

    style: Style
    colour: tuple[float, float, float]
    thickness: Array
    scalp: Array
    fall: Array


def _smoothed(values: NDArray[np.float64], model: FaceModel, rounds: int) -> NDArray[np.float64]:
    """Vertex values averaged over the mesh's edges, so that their contours are smooth, ``[V]``."""
    triangles = model.triangles.numpy()
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = np.bincount(ends[:, 0], minlength=len(values))
    for _ in range(rounds):
        total = np.bincount(ends[:, 0], values[ends[:, 1]], minlength=len(values))
        values = 0.5 * values + 0.5 * total / np.maximum(count, 1)
    return values


def smooth_part(model: FaceModel, part: str, rounds: int) -> NDArray[np.float64]:
    """A part of the head as a mask with a soft border, ``[V]``."""
    return _smoothed(model.part(part).numpy().astype(np.float64), model, rounds)


def _rows(
    table: tuple[tuple[float, float, float, float], ...], columns: int, wave: float
) -> NDArray[np.float64]:
    """A surface around the back of the head.

    Args:
        table: rows of height, half width, depth, and the angle from the back to where it ends.
        columns: of the grid.
        wave: share of a ripple along the angle.
    """
    known = np.array(table)
    heights = np.linspace(known[0, 0], known[-1, 0], 20)
    width, depth, opening = (
        np.interp(-heights, -known[:, 0], known[:, k])[:, None] for k in (1, 2, 3)
    )
    angle = np.linspace(-1, 1, columns)[None] * opening
    ripple = 1 + wave * np.sin(9 * angle + 2 * heights[:, None])
    x = width * np.sin(angle) * ripple
    z = -0.62 - depth * np.cos(angle) * ripple
    return np.stack([x, np.broadcast_to(heights[:, None], x.shape), z], -1)


_FALLS: dict[Style, tuple[tuple[float, float, float, float], ...]] = {
    "long": (
        (0.85, 0.66, 0.92, 2.05), (0.45, 0.86, 0.98, 2.25), (-0.1, 0.91, 0.98, 2.3),
        (-0.6, 0.88, 0.95, 2.2), (-1.6, 0.84, 0.88, 2.05),
    ),
    "tucked": (
        (0.85, 0.50, 0.90, 1.5), (0.1, 0.60, 0.92, 1.5), (-0.25, 0.74, 0.92, 1.6),
        (-0.7, 0.84, 0.90, 1.7), (-1.6, 0.80, 0.84, 1.75),
    ),
    "scarf": (
        (0.95, 0.66, 0.95, 1.80), (0.75, 0.76, 1.05, 2.00), (0.3, 0.80, 1.08, 2.15),
        (-0.2, 0.78, 1.06, 2.28), (-0.55, 0.72, 0.98, 2.45), (-0.80, 0.67, 0.88, 2.66),
        (-1.02, 0.66, 0.80, np.pi), (-1.3, 0.84, 0.86, np.pi), (-1.75, 1.08, 0.96, np.pi),
    ),
}  # fmt: skip
"""Rows of ``_rows``: hair over the ears, hair behind them, and a headscarf closed at the neck."""


def _knot() -> NDArray[np.float64]:
    """A knot on the crown."""
    turn = np.linspace(0, -2 * np.pi, 25)
    tilt = np.linspace(0.05, np.pi - 0.05, 20)[:, None]
    x = 0.30 * np.sin(tilt) * np.sin(turn)
    z = -0.72 + 0.30 * np.sin(tilt) * np.cos(turn)
    return np.stack([x, np.broadcast_to(1.46 + 0.25 * np.cos(tilt), x.shape), z], -1)


def _fall(style: Style, length: float) -> NDArray[np.float64]:
    if style == "tied":
        return _knot()
    if style not in _FALLS:
        return np.zeros((0, 2, 3))
    if style == "scarf":
        return _rows(_FALLS[style], 48, 0.012)
    *upper, last = _FALLS[style]
    return _rows((*upper, (0.85 - length, *last[1:])), 40, 0.02)


def make_hair(
    model: FaceModel,
    gender: str,
    colour: tuple[float, float, float],
    generator: np.random.Generator,
) -> Hair:
    """Draw hair or headwear.

    Args:
        model: the open head.
        gender: ``f`` or ``m``, of the voice.
        colour: of the hair.
        generator: for all that is random.
    """
    style = STYLES[gender][int(generator.integers(len(STYLES[gender])))]
    height, length = float(generator.uniform(0, 1)), float(generator.uniform(1.7, 2.6))
    mean = model.mean.numpy().astype(np.float64)
    inside = smooth_part(model, "scalp", rounds=6)
    crown = np.clip((mean[:, 1] - 0.1) / 1.2, 0, 1)
    waves = np.sin(mean @ generator.normal(0, 3.5, (3, 4)) + generator.uniform(0, 6, 4)).mean(1)
    cover = np.clip(2.2 * inside - 0.95, -0.35, 1.0)
    scalp = np.clip(3 * inside - 1.0, 0, 1)
    if style == "bald":
        amount, scalp = np.full(len(mean), -1.0), 0.35 * height * scalp
    elif style == "crop":
        amount = cover * (0.022 + 0.02 * height)
    elif style == "beanie":
        above = mean[:, 1] - 0.25 * mean[:, 2] - (0.66 + 0.08 * height)
        amount = np.clip(4.0 * above, -0.35, 1.0) * 0.10 * (0.8 + 0.5 * crown)
        amount[inside < 0.02] = np.minimum(amount[inside < 0.02], 0.05)
    elif style == "scarf":
        amount = np.clip(2.2 * inside - 0.75, -0.35, 1.0) * 0.10
    else:
        low = 0.06 if style == "short" else 0.09
        amount = cover * (low + 0.07 * height) * (0.55 + 0.6 * crown) * (1 + 0.35 * waves)
    ears = model.part("ears").numpy()
    amount[ears] = -1.0
    return Hair(
        style=style,
        colour=colour,
        thickness=amount.astype(np.float32),
        scalp=scalp.astype(np.float32),
        fall=_fall(style, length).astype(np.float32),
    )
