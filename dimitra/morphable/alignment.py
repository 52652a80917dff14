"""Deng's five-point alignment: where the 224x224 aligned frame lies in an image.

Five points (eye centres, nose tip, mouth corners) are fitted to the model's own five points with
a scaled orthographic camera (POS; DeMenthon and Davis, 1995). ``s = 102 / fitted scale`` and the
image position of the model's origin ``(tx, ty)`` place the crop; ``ty`` counts upwards. Source:
Deng et al. (2019), ``Deep3DFaceRecon_pytorch``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

RESCALE = 102.0
"""Pixels per decimetre of an aligned face."""


def five_points(landmarks: Float[Tensor, "*batch 68 axes"]) -> Float[Tensor, "*batch 5 axes"]:
    """Eye centres (means of iBUG 37, 40 and 43, 46), nose tip 31, mouth corners 49, 55.

    Numbers count from 1; works in the image and in space.
    """
    pick = landmarks[..., [36, 39, 42, 45, 30, 48, 54], :]
    return torch.stack(
        (
            (pick[..., 0, :] + pick[..., 1, :]) / 2,
            (pick[..., 2, :] + pick[..., 3, :]) / 2,
            pick[..., 4, :],
            pick[..., 5, :],
            pick[..., 6, :],
        ),
        dim=-2,
    )


def align(
    landmarks: Float[Tensor, "*batch 68 2"],
    standard: Float[Tensor, "5 3"],
    height: int = 256,
) -> Float[Tensor, "*batch 3"]:
    """Alignment of every frame.

    Args:
        landmarks: image points, pixels, y down.
        standard: the model's five points, decimetres, y up.
        height: rows of the image.

    Returns:
        ``s, tx, ty``.
    """
    points = five_points(landmarks)
    flipped = torch.stack((points[..., 0], height - 1 - points[..., 1]), dim=-1)
    one = torch.ones(5, 1, dtype=points.dtype, device=points.device)
    solver = torch.linalg.pinv(torch.cat((standard.to(points), one), dim=1))
    solution = torch.einsum("kp,...pc->...ck", solver, flipped)
    scale = torch.linalg.vector_norm(solution[..., :3], dim=-1).mean(-1)
    return torch.stack((RESCALE / scale, solution[..., 0, 3], solution[..., 1, 3]), dim=-1)


def align_clip(
    landmarks: Float[Tensor, "frames 68 2"],
    standard: Float[Tensor, "5 3"],
    height: int = 256,
) -> Float[Tensor, "3"]:
    """One alignment for a clip: the median over its frames, so that the frame does not swim."""
    return align(landmarks, standard, height).median(dim=0).values
