"""The light in the mouth, of ``mouth``, in torch for a batch of frames on a device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dimitra.render.device_raster import Rasters
from dimitra.render.mouth import GAP_DEPTH, GAP_WIDTH, LOWER_LIP, SLIT_DM, UPPER_LIP


def light_inside(
    rasters: Rasters,
    triangles: Int[Tensor, "faces 3"],
    inside: Bool[Tensor, " faces"],
    number: Float[Tensor, " vertices"],
    samples_per_dm: float,
) -> Float[Tensor, "frames height width"]:
    """Share of light that reaches each sample of the mouth's inside, 1 elsewhere.

    Args:
        rasters: the posed head.
        triangles: of those rasters.
        inside: the mouth's inside.
        number: of ``tooth_numbers``, ``NO_TOOTH`` elsewhere.
        samples_per_dm: scale of the rasters.
    """
    face = rasters.face
    within = inside[face.clamp(min=0)] & (face >= 0)
    height = face.shape[1]
    row = torch.arange(height, dtype=torch.int32, device=face.device)[None, :, None]
    start = torch.where(within, 0, row + 1).cummax(dim=1).values
    end = torch.where(within, height, row).flip(1).cummin(dim=1).values.flip(1)
    at = within.nonzero(as_tuple=True)
    start, end, row = start[at].double(), end[at].double(), at[1].double()

    share = 1.0 - torch.exp(-(end - start) / (SLIT_DM * samples_per_dm))
    for away, (depth, reach) in (
        ((row - start + 0.5) / samples_per_dm, UPPER_LIP),
        ((end - row - 0.5) / samples_per_dm, LOWER_LIP),
    ):
        share = share * (1.0 - depth * torch.exp(-away / reach))
    parts = rasters.barycentric[at] * number[triangles[face[at]]]
    tooth = parts.double().sum(dim=1)
    from_gap = (tooth - torch.round(tooth)) / GAP_WIDTH
    gap = 1.0 - GAP_DEPTH * torch.exp(-from_gap * from_gap)
    share = torch.where(tooth > -0.5, share * gap, share)
    light = torch.ones(face.shape, device=face.device)
    light[at] = share.float()
    return light
