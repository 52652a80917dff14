"""A smooth warp of a whole picture that follows moving handles and rests at the border.

The picture is covered by a grid. A node's displacement minimises the membrane and thin-plate
energies (Terzopoulos 1986, "Regularization of inverse visual problems involving discontinuities")
plus the weighted squared distance to the handles' displacements, with zero displacement at the
border (along the upper border, where hair is often cut, a spring). That is linear in the handles,
so one matrix per reference picture gives every frame.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.compiled import compiled

CELLS = 32
THIN_PLATE = 2.0
"""Weight of the thin-plate energy beside the membrane energy, per squared cell."""
SPRING = 0.02
"""Weight of the upper border's rest: hair that the border cuts slides along it."""
LEAST_AREA = 0.15
"""Share of its area that a cell keeps at least."""
UNFOLD_PASSES = 40
STIFFNESS = 0.02
"""Weight of both energies beside the handles: handles of weight 1 are met within about 1 %."""


@dataclass(frozen=True)
class WarpGrid:
    """A picture's grid and its response to the handles.

    Attributes:
        nodes: [G, 2], reference position of the nodes, pixels.
        triangles: [F, 3] int32, the grid's cells, halved; clockwise on the screen.
        response_x: [G, K] float32, share of each handle's displacement to the right in each node's.
        response_y: [G, K] float32, the same downwards.
    """

    nodes: NDArray[np.float32]
    triangles: NDArray[np.int32]
    response_x: NDArray[np.float32]
    response_y: NDArray[np.float32]

    def displace(self, displacement: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Node displacements [G, 2] for handle displacements [K, 2], pixels; nothing folds."""
        pulled = displacement.astype(np.float32)
        moved = np.stack([self.response_x @ pulled[:, 0], self.response_y @ pulled[:, 1]], axis=1)
        side = round(len(self.nodes) ** 0.5)
        _unfold(self.nodes.reshape(side, side, 2), moved.reshape(side, side, 2))
        return moved


@compiled
def _unfold(rest: NDArray[np.float32], moved: NDArray[np.float32]) -> None:
    """Smooth displacements [S, S, 2] where cells turn over or shrink below ``LEAST_AREA``.

    Handles at different depths cross on the screen when the head turns; the warp must not.
    """
    side = rest.shape[0]
    whole = (rest[0, 1, 0] - rest[0, 0, 0]) * (rest[1, 0, 1] - rest[0, 0, 1])
    bad = np.zeros((side, side), np.bool_)
    for _ in range(UNFOLD_PASSES):
        bad[:] = False
        found = False
        for i in range(side - 1):
            for j in range(side - 1):
                for i0, j0, di, dj in (
                    (i, j, 1, 1),
                    (i, j + 1, 1, -1),
                    (i + 1, j, -1, 1),
                    (i + 1, j + 1, -1, -1),
                ):
                    ax = rest[i0, j0 + dj, 0] + moved[i0, j0 + dj, 0]
                    ax -= rest[i0, j0, 0] + moved[i0, j0, 0]
                    ay = moved[i0, j0 + dj, 1] - moved[i0, j0, 1]
                    by = rest[i0 + di, j0, 1] + moved[i0 + di, j0, 1]
                    by -= rest[i0, j0, 1] + moved[i0, j0, 1]
                    bx = moved[i0 + di, j0, 0] - moved[i0, j0, 0]
                    if (ax * by - ay * bx) * di * dj < LEAST_AREA * whole:
                        found = True
                        for a in range(max(i - 1, 1), min(i + 3, side - 1)):
                            for b in range(max(j - 1, 1), min(j + 3, side - 1)):
                                bad[a, b] = True
                        break
        if not found:
            return
        for i in range(1, side - 1):
            for j in range(1, side - 1):
                if bad[i, j]:
                    for k in range(2):
                        around = moved[i - 1, j, k] + moved[i + 1, j, k]
                        around += moved[i, j - 1, k] + moved[i, j + 1, k]
                        moved[i, j, k] = np.float32(0.5) * moved[i, j, k] + (
                            np.float32(0.125) * around
                        )


@functools.cache
def _energy(side: int) -> NDArray[np.float64]:
    """Both energies of a square grid [side^2, side^2], from its graph Laplacian."""
    path = 2.0 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    path[0, 0] = path[-1, -1] = 1.0
    one = np.eye(side)
    laplacian = np.kron(path, one) + np.kron(one, path)
    energy = STIFFNESS * (laplacian + THIN_PLATE * laplacian @ laplacian)
    energy.flags.writeable = False
    return np.asarray(energy)


def warp_grid(
    height: int,
    width: int,
    handles: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    still: NDArray[np.floating[Any]] | None = None,
    cells: int = CELLS,
) -> WarpGrid:
    """Lay a grid over a picture and solve for its response to the handles.

    Args:
        height: pixels.
        width: pixels.
        handles: [K, 2], reference positions in pixels; those outside the picture are ignored.
        weights: [K], trust in each handle; the handles in one cell share one cell's weight.
        still: [cells + 1, cells + 1], weight with which each node rests; by default nothing but
            the border does.
        cells: cells along each side.

    Raises:
        ValueError: there are no handles inside the picture, or fewer than two cells.
    """
    if cells < 2:
        raise ValueError(f"a warp grid of {cells} cells has no free node; at least 2 are needed")
    side = cells + 1
    span_x, span_y = np.linspace(-0.5, width - 0.5, side), np.linspace(-0.5, height - 0.5, side)
    grid_y, grid_x = np.meshgrid(span_y, span_x, indexing="ij")
    nodes = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)
    number = np.arange(side * side).reshape(side, side)
    a, b = number[:-1, :-1].ravel(), number[:-1, 1:].ravel()
    c, d = number[1:, 1:].ravel(), number[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])

    column = (handles[:, 0] + 0.5) * cells / width
    row = (handles[:, 1] + 0.5) * cells / height
    inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells) & (weights > 0)
    if not inside.any():
        raise ValueError(f"none of {len(handles)} handles lies in the {width}x{height} picture")
    index = np.flatnonzero(inside)
    column, row = column[inside], row[inside]
    j, i = column.astype(int), row.astype(int)
    fx, fy = column - j, row - i
    shared = np.bincount(i * cells + j, weights[index], cells * cells)[i * cells + j]
    weight = weights[index] / np.maximum(shared, 1.0)
    bilinear = np.zeros((len(index), side * side))
    for di, dj, share in (
        (0, 0, (1 - fx) * (1 - fy)),
        (0, 1, fx * (1 - fy)),
        (1, 0, (1 - fx) * fy),
        (1, 1, fx * fy),
    ):
        bilinear[np.arange(len(index)), (i + di) * side + (j + dj)] = share

    energy = _energy(side)
    pulled = bilinear.T * weight
    system = energy + pulled @ bilinear
    if still is not None:
        system[number, number] += still
    free = np.ones((side, side), bool)
    free[[0, -1]] = free[:, [0, -1]] = False
    response_y = _solve(system, pulled, free, index, len(handles))
    free[0, 1:-1] = True  # along the upper border the picture slides on a spring
    system[number[0], number[0]] += SPRING
    response_x = _solve(system, pulled, free, index, len(handles))
    return WarpGrid(nodes.astype(np.float32), triangles.astype(np.int32), response_x, response_y)


def _solve(
    system: NDArray[np.float64],
    pulled: NDArray[np.float64],
    free: NDArray[np.bool_],
    index: NDArray[np.int64],
    count: int,
) -> NDArray[np.float32]:
    """Response [G, count] of the free nodes to the handles ``index``."""
    nodes = np.flatnonzero(free)
    response = np.zeros((free.size, count), np.float32)
    response[np.ix_(nodes, index)] = np.linalg.solve(system[np.ix_(nodes, nodes)], pulled[nodes])
    return response
