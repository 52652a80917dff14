"""The warp of ``warp`` in torch, for a batch of frames on a device.

``WarpGrid.displace`` smooths folded cells node by node, each from neighbours already smoothed.
Nodes on one diagonal of the grid do not see each other: diagonal after diagonal, and all frames at
once, the numbers are the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dimitra.render.warp import LEAST_AREA, UNFOLD_PASSES

_REACH = 4
"""Nodes along a side of the square around a folded cell that are smoothed."""


def displace(
    response_x: Float[Tensor, "nodes handles"],
    response_y: Float[Tensor, "nodes handles"],
    nodes: Float[Tensor, "nodes 2"],
    pulled: Float[Tensor, "frames handles 2"],
) -> Float[Tensor, "frames nodes 2"]:
    """Node displacements for handle displacements, pixels, as of ``WarpGrid.displace``."""
    moved = torch.stack(
        [response_x @ pulled[..., 0].T, response_y @ pulled[..., 1].T], dim=-1
    ).transpose(0, 1)
    side = round(len(nodes) ** 0.5)
    rest = nodes.view(side, side, 2)
    unfolded = _unfold(rest, moved.reshape(len(pulled), side, side, 2))
    return unfolded.reshape(len(pulled), -1, 2)


def _folded(
    rest: Float[Tensor, "side side 2"], moved: Float[Tensor, "frames side side 2"]
) -> Bool[Tensor, "frames cells cells"]:
    """Cells with a corner that turned over or shrank below ``LEAST_AREA``."""
    whole = (rest[0, 1, 0] - rest[0, 0, 0]) * (rest[1, 0, 1] - rest[0, 0, 1])
    placed = rest + moved
    right, down = placed[:, :, 1:] - placed[:, :, :-1], placed[:, 1:] - placed[:, :-1]
    right_y = moved[:, :, 1:, 1] - moved[:, :, :-1, 1]
    down_x = moved[:, 1:, :, 0] - moved[:, :-1, :, 0]
    least = LEAST_AREA * whole.to(torch.float64)
    folded = torch.zeros_like(right_y[:, 1:], dtype=torch.bool)
    for i in (slice(None, -1), slice(1, None)):  # the cell's upper side, its lower one
        for j in (slice(None, -1), slice(1, None)):  # its left side, its right one
            area = right[:, i, :, 0] * down[:, :, j, 1] - right_y[:, i] * down_x[:, :, j]
            folded |= area.to(torch.float64) < least
    return folded


def _around(folded: Bool[Tensor, "frames cells cells"]) -> Bool[Tensor, "frames side side"]:
    """Free nodes in the square around each folded cell."""
    spread = torch.nn.functional.max_pool2d(
        folded.to(torch.float32), _REACH, stride=1, padding=_REACH // 2
    )
    near = torch.zeros_like(spread, dtype=torch.bool)
    near[:, 1:-1, 1:-1] = spread[:, 1:-1, 1:-1] > 0.0
    return near


def _unfold(
    rest: Float[Tensor, "side side 2"], moved: Float[Tensor, "frames side side 2"]
) -> Float[Tensor, "frames side side 2"]:
    side = len(rest)
    row = torch.arange(side, device=rest.device).repeat(2 * side - 1, 1)
    diagonal = torch.arange(2 * side - 1, device=rest.device)[:, None]
    column = diagonal - row
    outside = (column < 0) | (column >= side)
    column = column.clamp(0, side - 1)
    for _ in range(UNFOLD_PASSES):
        folded = _folded(rest, moved)
        if not bool(folded.any()):
            break
        # [diagonals, frames, side, 2]: what is at (row, column) lies at (row + column, row).
        slanted = moved[:, row, column].transpose(0, 1).contiguous()
        near = (_around(folded)[:, row, column] & ~outside).transpose(0, 1)[..., None].contiguous()
        for d in range(2, 2 * side - 3):
            low, high = max(1, d - side + 2), min(side - 2, d - 1) + 1
            before, here, after = slanted[d - 1], slanted[d, :, low:high], slanted[d + 1]
            around = before[:, low - 1 : high - 1] + after[:, low + 1 : high + 1]
            around = around + (before[:, low:high] + after[:, low:high])
            smooth = 0.5 * here + 0.125 * around
            slanted[d, :, low:high] = torch.where(near[d, :, low:high], smooth, here)
        index = torch.arange(side, device=rest.device)
        moved = slanted[index[:, None] + index, :, index[:, None]].permute(2, 0, 1, 3).contiguous()
    return moved
