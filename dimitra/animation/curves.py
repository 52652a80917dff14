"""Curves of a motion that a person understands: how far the mouth is open, where the head looks."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.morphable.coefficients import ANGLES, EXPRESSION_SIZE
from dimitra.morphable.model import FaceModel, interocular

_BLOCK = 2000
_INNER_LIPS = (62, 66)
_EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))


class Curves(TypedDict):
    """Values at each of T frames.

    Attributes:
        mouth: gap of the inner lips in percent of the distance between the outer eye corners.
        eyes: opening of the eyes, mean of both: height over width (Soukupova and Cech 2016).
        pitch: degrees, as the face model counts them.
        yaw: degrees.
        roll: degrees.
    """

    mouth: list[float]
    eyes: list[float]
    pitch: list[float]
    yaw: list[float]
    roll: list[float]


def motion_curves(
    motion: NDArray[np.float32], identity: NDArray[np.float32], model: FaceModel
) -> Curves:
    """Curves of motion [T, 70] of the face ``identity`` [80]."""
    shape = model.subset(model.landmarks_68)
    mouth, eyes = [], []
    for start in range(0, len(motion), _BLOCK):
        block = torch.from_numpy(motion[start : start + _BLOCK, :EXPRESSION_SIZE].copy())
        points = shape.vertices(torch.from_numpy(identity).expand(len(block), -1), block)
        upper, lower = (points[:, index] for index in _INNER_LIPS)
        mouth.append(100.0 * torch.linalg.norm(upper - lower, dim=-1) / interocular(points))
        eyes.append(torch.stack([_opening(points[:, list(eye)]) for eye in _EYES]).mean(dim=0))
    angles = np.degrees(motion[:, ANGLES])
    return {
        "mouth": _rounded(torch.cat(mouth).numpy()),
        "eyes": _rounded(torch.cat(eyes).numpy()),
        "pitch": _rounded(angles[:, 0]),
        "yaw": _rounded(angles[:, 1]),
        "roll": _rounded(angles[:, 2]),
    }


def _opening(eye: torch.Tensor) -> torch.Tensor:
    """Height over width of an eye's six landmarks [T, 6, 3]; 0 where the lids pass each other.

    Heights are along y, up: the points are those of the face before the head is turned.
    """
    heights = (eye[:, 1:3, 1] - eye[:, [5, 4], 1]).mean(dim=-1).clamp(min=0.0)
    return torch.as_tensor(heights / torch.linalg.norm(eye[:, 0] - eye[:, 3], dim=-1))


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(value), 3) for value in values]
