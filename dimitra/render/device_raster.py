"""The rasteriser of ``rasterizer`` in torch, for a batch of frames on a device.

Snapping, fill rule, weights and depth are the same, number for number. A triangle becomes rows, a
row the span of pixels between its edges, by division in whole numbers. What is nearest is the
least of the keys ``depth, triangle`` at a pixel: a minimum does not depend on the order in which
the device takes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimitra.render.rasterizer import COORDINATE_LIMIT, SUBPIXELS

_NEXT, _LAST, _SWAPPED = [1, 2, 0], [2, 0, 1], [0, 2, 1]
_NOTHING = torch.iinfo(torch.int64).max
_FACE_BITS = 32


@dataclass(frozen=True)
class Rasters:
    """What every pixel of some frames sees.

    Attributes:
        face: index of the nearest triangle, -1 where there is none.
        barycentric: float32 weights of that triangle's corners, 0 where there is none.
    """

    face: Int[Tensor, "frames height width"]
    barycentric: Float[Tensor, "frames height width 3"]


@dataclass(frozen=True)
class _Rows:
    """Rows of pixels that triangles cover, R of them, and the M triangles that they belong to.

    ``constant + slope * x`` is the edges' value at column x.
    """

    triangle: Int[Tensor, " rows"]
    y: Int[Tensor, " rows"]
    first: Int[Tensor, " rows"]
    count: Int[Tensor, " rows"]
    constant: Int[Tensor, "rows 3"]
    slope: Int[Tensor, "triangles 3"]


@dataclass(frozen=True)
class _Drawn:
    """Triangles of all frames that may cover a pixel, corners clockwise on the screen."""

    frame: Int[Tensor, " triangles"]
    face: Int[Tensor, " triangles"]
    corners: Int[Tensor, "triangles 3 2"]
    depth: Float[Tensor, "triangles 3"]
    area: Int[Tensor, " triangles"]
    swapped: Int[Tensor, " triangles"]
    low: Int[Tensor, "triangles 2"]
    high: Int[Tensor, "triangles 2"]


def _shared_out(counts: Int[Tensor, " owners"]) -> tuple[Tensor, Tensor]:
    """Owner of every part, and its number within the owner, [sum of the counts] each."""
    owner = torch.repeat_interleave(counts)
    before = torch.cumsum(counts, 0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - before[owner]


def _facing(
    points: Float[Tensor, "frames vertices 3"],
    triangles: Int[Tensor, "faces 3"],
    height: int,
    width: int,
    cull: int,
) -> _Drawn:
    corners = torch.round(points[..., :2] * float(SUBPIXELS)).to(torch.int64)[:, triangles]
    along, across = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    area = along[..., 0] * across[..., 1] - across[..., 0] * along[..., 1]
    last = torch.tensor([width - 1, height - 1], device=points.device)
    low = -torch.div(-corners.amin(dim=2), SUBPIXELS, rounding_mode="floor")
    high = torch.div(corners.amax(dim=2), SUBPIXELS, rounding_mode="floor")
    low, high = low.clamp(min=0), torch.minimum(high, last)
    frame, face = ((area != 0) & (area * cull >= 0) & (low <= high).all(dim=2)).nonzero(
        as_tuple=True
    )
    area, corners = area[frame, face], corners[frame, face]
    depth = points[..., 2][frame[:, None], triangles[face]]
    swapped = area < 0
    corners = torch.where(swapped[:, None, None], corners[:, _SWAPPED], corners)
    depth = torch.where(swapped[:, None], depth[:, _SWAPPED], depth)
    return _Drawn(
        frame, face, corners, depth, area.abs(), swapped, low[frame, face], high[frame, face]
    )


def _rows(drawn: _Drawn) -> _Rows:
    start = drawn.corners[:, _NEXT]
    step_x, step_y = (drawn.corners[:, _LAST] - start).unbind(2)
    # An edge owns its pixels when it is a left edge or a horizontal top edge.
    owned = (step_y < 0) | ((step_y == 0) & (step_x > 0))
    slope = -step_y * SUBPIXELS
    triangle, offset = _shared_out(drawn.high[:, 1] - drawn.low[:, 1] + 1)
    y = drawn.low[triangle, 1] + offset
    fixed = step_y * start[..., 0] - step_x * start[..., 1]
    constant = step_x[triangle] * (SUBPIXELS * y)[:, None] + fixed[triangle]
    slopes = slope[triangle]
    limit = constant - (~owned[triangle]).to(torch.int64)  # limit + slope * x is at least 0
    whole = torch.div(limit, slopes.abs().clamp(min=1), rounding_mode="floor")
    left = torch.where(slopes > 0, -whole, drawn.low[triangle, :1]).amax(dim=1)
    right = torch.where(slopes < 0, whole, drawn.high[triangle, :1]).amin(dim=1)
    left = torch.maximum(left, drawn.low[triangle, 0])
    right = torch.minimum(right, drawn.high[triangle, 0])
    count = (right - left + 1).clamp(min=0)
    count = count.masked_fill(((slopes == 0) & (limit < 0)).any(dim=1), 0)
    return _Rows(triangle, y, left, count, constant, slope)


def _key(depth: Float[Tensor, " pixels"], face: Int[Tensor, " pixels"]) -> Tensor:
    """Whole numbers in the order of depth (float32), then of the triangle."""
    bits = (depth + 0.0).view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # floats below 0 count downwards
    return (ordered.to(torch.int64) << _FACE_BITS) | face


def rasterize(
    points: Float[Tensor, "frames vertices 3"],
    triangles: Int[Tensor, "faces 3"],
    height: int,
    width: int,
    *,
    cull: int = 0,
) -> Rasters:
    """Find the nearest triangle at every pixel centre of every frame.

    Args:
        points: float64; pixel x, pixel y, depth (nearer is smaller).
        triangles: int64, vertex indices.
        height: pixels.
        width: pixels.
        cull: as of ``rasterizer.rasterize``.

    Raises:
        ValueError: a coordinate is not finite, or beyond ``COORDINATE_LIMIT``.
    """
    furthest = float(points[..., :2].abs().amax())
    if not furthest <= COORDINATE_LIMIT or not bool(torch.isfinite(points[..., 2]).all()):
        raise ValueError(
            f"a vertex lies at {furthest} px, or its depth is not finite; finite coordinates "
            f"within {COORDINATE_LIMIT:.0f} px are needed"
        )
    drawn = _facing(points, triangles, height, width, cull)
    rows = _rows(drawn)
    row, offset = _shared_out(rows.count)
    triangle, x = rows.triangle[row], rows.first[row] + offset
    edges = rows.constant[row] + rows.slope[triangle] * x[:, None]
    weights = edges.to(torch.float64) * (1.0 / drawn.area.to(torch.float64))[triangle, None]
    parts = (weights * drawn.depth[triangle]).unbind(1)
    key = _key((parts[0] + parts[1] + parts[2]).to(torch.float32), drawn.face[triangle])
    place = (drawn.frame[triangle] * height + rows.y[row]) * width + x
    frames = len(points)
    best = torch.full((frames * height * width,), _NOTHING, device=points.device)
    best.scatter_reduce_(0, place, key, "amin")
    nearest = key == best[place]
    place, triangle, weights = place[nearest], triangle[nearest], weights[nearest]
    weights = torch.where(drawn.swapped[triangle, None], weights[:, _SWAPPED], weights)
    barycentric = torch.zeros((len(best), 3), device=points.device)
    barycentric[place] = weights.to(torch.float32)
    face = torch.where(best == _NOTHING, -1, best & ((1 << _FACE_BITS) - 1))
    return Rasters(face.view(frames, height, width), barycentric.view(frames, height, width, 3))


def weighted(
    barycentric: Float[Tensor, "*places 3"], corners: Float[Tensor, "*places 3 channels"]
) -> Float[Tensor, "*places channels"]:
    """Values at places inside triangles from those at the corners."""
    a, b, c = corners.unbind(-2)
    wa, wb, wc = barycentric[..., None].unbind(-2)
    return wa * a + wb * b + wc * c


def interpolate(
    rasters: Rasters, triangles: Int[Tensor, "faces 3"], values: Float[Tensor, "vertices channels"]
) -> Float[Tensor, "frames height width channels"]:
    """Spread one picture's vertex values over the pixels of all frames, 0 where no triangle is."""
    return weighted(rasters.barycentric, values[triangles[rasters.face.clamp(min=0)]])
