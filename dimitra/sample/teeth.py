"""Where on which tooth a point of the open head's two rows lies, for painting single teeth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.model import FaceModel

_WIDTHS_DM = {
    "upper_teeth": (0.085, 0.067, 0.076, 0.071, 0.067, 0.100, 0.095),
    "lower_teeth": (0.054, 0.059, 0.069, 0.070, 0.071, 0.110, 0.105),
}
"""Crowns from the middle to the back (Wheeler's Dental Anatomy, mean widths)."""
_ARCH_CENTRE_Z = -0.30
_INNER_SHARE = 0.93
"""A vertex nearer to the arch's centre than this share of the row's radius is on the tongue's
side."""


def _row(points: NDArray[Any], upper: bool) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Distance along the arch, height above the edge in [0, 1], and whether on the inner side.

    Args:
        points: of one row, model frame, ``[N, 3]``.
        upper: the edge is the lowest line; else the highest.
    """
    depth = points[:, 2] - _ARCH_CENTRE_Z
    angle, radius = np.arctan2(points[:, 0], depth), np.hypot(points[:, 0], depth)
    near = np.abs(angle[:, None] - angle) < 0.1
    inner = radius < _INNER_SHARE * np.where(near, radius, 0).max(1)
    down = -points[:, 1] if upper else points[:, 1]
    column = near & ~inner
    edge = np.where(column, down, -np.inf).max(1)
    root = np.where(column, down, np.inf).min(1)
    height = (edge - down) / np.maximum(edge - root, 1e-6)
    line = np.flatnonzero(~inner & (height < 0.1))
    line = line[np.argsort(angle[line])]
    steps = np.linalg.norm(np.diff(points[line][:, [0, 2]], axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    middle = np.interp(0.0, angle[line], length)
    return np.interp(angle, angle[line], length - middle), height, inner


def tooth_coordinates(
    model: FaceModel, triangles: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Texture coordinates of the teeth.

    Args:
        model: the open head.
        triangles: ``[F, 3]``.

    Returns:
        the teeth's faces ``[T]`` and their corners' coordinates ``[T, 3, 2]``: u counts teeth from
        the middle (whole numbers are the gaps), v is 0 at the edge and 1 at the root; v is -1 on
        the tongue's side.
    """
    mean = model.mean.numpy().astype(np.float64)
    coordinates = np.zeros((len(mean), 2))
    behind = np.zeros(len(mean), bool)
    for name, widths in _WIDTHS_DM.items():
        row = np.flatnonzero(model.part(name).numpy())
        along, height, behind[row] = _row(mean[row], name == "upper_teeth")
        gaps = np.concatenate([[0.0], np.cumsum(widths)])
        number = np.interp(np.abs(along), gaps, np.arange(len(gaps)))
        coordinates[row] = np.stack([np.sign(along) * number, height], 1)
    faces = np.flatnonzero(model.part(*_WIDTHS_DM).numpy()[triangles].all(1))
    corners = coordinates[triangles[faces]]
    corners[behind[triangles[faces]].any(1), :, 1] = -1.0
    return faces, corners
