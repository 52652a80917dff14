"""The smoothness term against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dimitra.morphable.smoothness import bending, bending_diagonal, solve_smooth


def _differences(frames: int) -> Tensor:
    """Second differences as a matrix [frames - 2, frames]."""
    rows = torch.zeros(max(frames - 2, 0), frames, dtype=torch.float64)
    for row in range(len(rows)):
        rows[row, row : row + 3] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    return rows


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9])
def test_operator_and_diagonal_are_those_of_the_matrix(frames: int) -> None:
    generator = torch.Generator().manual_seed(frames)
    state = torch.randn(frames, 70, generator=generator, dtype=torch.float64)
    matrix = _differences(frames).T @ _differences(frames)
    assert torch.allclose(bending(state), matrix @ state, atol=1e-12)
    assert torch.equal(bending_diagonal(state), matrix.diagonal())


def test_solution_is_the_dense_one() -> None:
    generator = torch.Generator().manual_seed(0)
    frames, size = 12, 70
    root = torch.randn(frames, size, size, generator=generator, dtype=torch.float64)
    hessian = root @ root.transpose(1, 2) / size + torch.eye(size, dtype=torch.float64)
    smooth = 4.0 * torch.rand(size, generator=generator, dtype=torch.float64)
    right = torch.randn(frames, size, generator=generator, dtype=torch.float64)
    matrix = _differences(frames).T @ _differences(frames)
    dense = torch.block_diag(*hessian) + torch.kron(matrix, torch.diag(smooth))
    expected = torch.linalg.solve(dense, right.flatten()).reshape(frames, size)
    diagonal = bending_diagonal(right)[:, None] * smooth
    found = solve_smooth(hessian, smooth, diagonal, right, steps=200, tolerance=1e-10)
    assert torch.allclose(found, expected, atol=1e-8)
