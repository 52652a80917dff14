"""Jaw landmarks that slide on the silhouette.

An image's jaw line is the outline of the face as seen, not a fixed line on the skin. Each jaw
landmark therefore has a few candidate vertices, from the cheek back to the ear, and every frame
uses the outermost one.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimitra.morphable.model import FaceModel

JAW = 17
CANDIDATES = 9
_DEPTHS = np.linspace(-0.35, 0.45, CANDIDATES)
"""Candidate depths about the landmark's own, decimetres."""
_ANGLE_WEIGHT = 1.5
_INNERMOST = 0.6
"""A candidate is no nearer to the view axis than this share of its landmark's distance."""


def contour_candidates(model: FaceModel) -> Int[Tensor, "17 candidates"]:
    """Vertices at the direction of each jaw landmark about the view axis, at several depths."""
    skin = model.part("skin").numpy(force=True)
    mean = model.mean.numpy(force=True).astype(np.float64)
    chosen = np.empty((JAW, CANDIDATES), dtype=np.int64)
    for row, landmark in enumerate(model.landmarks_68[:JAW].tolist()):
        own = mean[landmark]
        direction = own[:2] / np.linalg.norm(own[:2])
        side = mean[:, :2] @ np.array([-direction[1], direction[0]])
        outward = mean[:, :2] @ direction
        for column, depth in enumerate(_DEPTHS):
            wanted = own[2] + depth
            miss = np.hypot(_ANGLE_WEIGHT * side, mean[:, 2] - wanted)
            ok = skin & (outward > _INNERMOST * np.linalg.norm(own[:2])) & (miss < 0.08)
            inside = np.flatnonzero(ok)
            chosen[row, column] = inside[outward[inside].argmax()] if len(inside) else landmark
    return torch.from_numpy(chosen).to(model.mean.device)


def slide(
    points: Float[Tensor, "frames 17 candidates 2"], centre: Float[Tensor, "frames 2"]
) -> tuple[Int[Tensor, "frames 17"], Float[Tensor, "frames 17 2"]]:
    """Outermost candidate of each jaw landmark, as seen from the face's centre.

    Args:
        points: projected candidates, pixels.
        centre: projected centre of the face, pixels.

    Returns:
        index of the chosen candidate, and the outward unit direction of each landmark.
    """
    offset = points - centre[:, None, None]
    outward = torch.nn.functional.normalize(offset.mean(dim=2), dim=-1)
    reach = torch.einsum("fjkc,fjc->fjk", offset, outward)
    return reach.argmax(dim=2), outward
