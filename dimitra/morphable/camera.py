"""Deng's camera: head rotation, translation and perspective projection.

Row vectors: a head vertex ``v`` goes to ``v @ R.T + t`` with ``R = Rz Ry Rx`` written for column
vectors, then to ``10 - z`` in front of the camera; y points up in space and down in the image
(Deng et al. 2019, ``Deep3DFaceRecon``).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FOCAL_PX = 1015.0
CENTRE_PX = 112.0
IMAGE_PX = 224
DISTANCE = 10.0


def rotation(angles: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """``Rz Ry Rx`` for column vectors.

    Args:
        angles: pitch (about x), yaw (about y), roll (about z), radians.
    """
    x, y, z = angles.unbind(-1)
    sx, cx, sy, cy, sz, cz = x.sin(), x.cos(), y.sin(), y.cos(), z.sin(), z.cos()
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def angles_of(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Inverse of ``rotation`` for yaw within (-pi/2, pi/2)."""
    yaw = torch.asin((-matrix[..., 2, 0]).clamp(-1.0, 1.0))
    pitch = torch.atan2(matrix[..., 2, 1], matrix[..., 2, 2])
    roll = torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0])
    return torch.stack((pitch, yaw, roll), dim=-1)


def turn_ahead(ray: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Smallest rotation that turns a ray of the camera straight ahead, to (0, 0, -1).

    A head off the axis is seen turned by this: ``turn_ahead(ray) @ rotation(angles)`` is what a
    picture cut out around it shows.

    Args:
        ray: direction of any length, y up, not straight back.
    """
    x, y, z = torch.nn.functional.normalize(ray, dim=-1).unbind(-1)
    zero = torch.zeros_like(x)
    # Rodrigues' formula with the axis ray x ahead = (-y, x, 0).
    skew = torch.stack(
        (
            torch.stack((zero, zero, x), dim=-1),
            torch.stack((zero, zero, y), dim=-1),
            torch.stack((-x, -y, zero), dim=-1),
        ),
        dim=-2,
    )
    one = torch.eye(3, dtype=ray.dtype, device=ray.device)
    return one + skew + skew @ skew / (1.0 - z)[..., None, None]


def to_camera(
    vertices: Float[Tensor, "*batch points 3"], pose: Float[Tensor, "*batch 6"]
) -> Float[Tensor, "*batch points 3"]:
    """Apply head rotation and translation.

    Args:
        vertices: in the model frame, decimetres.
        pose: three angles in radians, three translations in decimetres.
    """
    return vertices @ rotation(pose[..., :3]).transpose(-1, -2) + pose[..., None, 3:]


def project(points: Float[Tensor, "*batch points 3"]) -> Float[Tensor, "*batch points 2"]:
    """Posed points to pixels of the 224x224 aligned frame (x right, y down)."""
    depth = DISTANCE - points[..., 2]
    x = FOCAL_PX * points[..., 0] / depth + CENTRE_PX
    y = CENTRE_PX - FOCAL_PX * points[..., 1] / depth
    return torch.stack((x, y), dim=-1)


def crop_to_aligned(
    points: Float[Tensor, "*batch points 2"], crop: Float[Tensor, "*batch 3"], height: float = 256
) -> Float[Tensor, "*batch points 2"]:
    """Crop pixels (y down) to pixels of the 224x224 aligned frame.

    Args:
        points: pixels of a crop of ``height`` rows.
        crop: ``s, tx, ty`` of Deng's alignment; ``ty`` counts upwards from the bottom.
        height: rows of the crop.
    """
    return crop[..., None, :1] * (points - _centre(crop, height)) + CENTRE_PX


def aligned_to_crop(
    points: Float[Tensor, "*batch points 2"], crop: Float[Tensor, "*batch 3"], height: float = 256
) -> Float[Tensor, "*batch points 2"]:
    """Inverse of ``crop_to_aligned``."""
    return (points - CENTRE_PX) / crop[..., None, :1] + _centre(crop, height)


def _centre(crop: Float[Tensor, "*batch 3"], height: float) -> Float[Tensor, "*batch 1 2"]:
    return torch.stack((crop[..., 1], height - crop[..., 2]), dim=-1)[..., None, :]
