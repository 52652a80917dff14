"""A dense face mesh over a clip, and how a track stores it.

As float32 the 478 points of a frame would take most of a track's bytes, for digits that no detector
measures. They are stored in steps of a 16384th of the crop's side (1/64 px at 256 px, an error of
at most 0.008 px), the scores in steps of 1/65535.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 478
SCORES = 52

_STEPS_A_SIDE = 16_384
_SCORE_STEPS = 65_535


@dataclass(frozen=True)
class FaceMesh:
    """MediaPipe's answer for ``T`` frames.

    Attributes:
        points: ``[T, 478, 2]``, pixels (x right, y down, pixel centres at integers).
        scores: ``[T, 52]``, blendshape scores from 0 to 1, in MediaPipe's order.
        found: ``[T]``, False where the face was not found and the values were interpolated.
    """

    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    found: NDArray[np.bool_]


def pack(mesh: FaceMesh, side: int) -> dict[str, NDArray[Any]]:
    """The arrays that a track stores.

    Args:
        mesh: in pixels of a crop.
        side: of the crop, pixels; points more than a side away from it are moved to that limit.

    Returns:
        ``mesh`` int16 in units of ``mesh_unit`` (float32, pixels), ``mesh_scores`` uint16 in units
        of 1/65535, ``mesh_found``.
    """
    limits = np.iinfo(np.int16)
    steps = np.rint(mesh.points.astype(np.float64) * (_STEPS_A_SIDE / side))
    scores = np.rint(mesh.scores.astype(np.float64).clip(0.0, 1.0) * _SCORE_STEPS)
    return {
        "mesh": steps.clip(limits.min, limits.max).astype(np.int16),
        "mesh_unit": np.float32(side / _STEPS_A_SIDE).reshape(()),
        "mesh_scores": scores.astype(np.uint16),
        "mesh_found": mesh.found,
    }


def unpack(track: Mapping[str, NDArray[Any]]) -> FaceMesh | None:
    """The mesh of a track's arrays; None where it has none.

    Raises:
        ValueError: the arrays are of another layout; the crops were made by another version.
    """
    if "mesh" not in track:
        return None
    points, scores = track["mesh"], track["mesh_scores"]
    if points.dtype != np.int16 or scores.dtype != np.uint16 or "mesh_unit" not in track:
        raise ValueError(
            f"the track's mesh is {points.dtype} with scores of {scores.dtype}, need int16 with a "
            "unit and uint16: make the crops again with this version"
        )
    return FaceMesh(
        points.astype(np.float32) * np.float32(track["mesh_unit"]),
        (scores / np.float32(_SCORE_STEPS)).astype(np.float32),
        track["mesh_found"],
    )
