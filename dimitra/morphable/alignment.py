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


ENCODER_SHIFT_PX = 1.0
"""Deng's landmarks are flipped at ``H - 1`` and their image is cut at ``H``: a landmark that the
encoder's coefficients project lies this much higher in its picture than the camera says."""


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


def in_crop(
    crop: Float[Tensor, "*batch 3"],
    size: tuple[float, float],
    source: tuple[int, int],
    transform: Float[Tensor, "3"],
    side: int = 256,
) -> Float[Tensor, "*batch 3"]:
    """The alignment in a square cut out of the picture in which it was measured.

    The aligned frame that is cut from the square shows what it showed before. Lengths are counted
    from the picture's outer edges, as resizing keeps these: for a picture that is resized as a
    whole this is ``[s W / R, tx R / W, ty R / W]`` (Dimitra's released code).

    Args:
        crop: ``s, tx, ty``.
        size: width and height of the picture in which they were measured.
        source: width and height of the video, of which that picture is a copy of any size.
        transform: ``scale, x0, y0`` of ``crop = scale * (source - (x0, y0))``, pixel centres at
            integers.
        side: of the square after resizing, pixels.
    """
    scale, x0, y0 = transform.double().tolist()
    edge = 0.5 - 0.5 / scale  # from the first pixel's centre to the square's edge
    left, top = x0 + edge, y0 + edge
    enlarged = source[0] / size[0]
    s, tx, ty = crop.double().unbind(-1)
    return torch.stack(
        (
            s / (enlarged * scale),
            scale * (enlarged * tx - left),
            side - scale * (enlarged * (size[1] - ty) - top),
        ),
        dim=-1,
    )


def displacement_px(
    one: Float[Tensor, "*batch 3"], other: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch"]:
    """How far two alignments of one picture lie apart, pixels of it.

    The mean distance of the corners of a square of two decimetres around the aligned frame's
    middle, about the head's size: place and scale both count.
    """
    corners = RESCALE * torch.tensor(
        ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)), dtype=one.dtype, device=one.device
    )

    def placed(crop: Tensor) -> Tensor:
        middle = torch.stack((crop[..., 1], -crop[..., 2]), dim=-1)
        return middle[..., None, :] + corners / crop[..., None, :1]

    distance: Tensor = torch.linalg.vector_norm(placed(one) - placed(other), dim=-1)
    return distance.mean(dim=-1)
