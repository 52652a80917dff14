"""The smoothness term: squared second differences in time, and the system that holds them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def bending(state: Float[Tensor, "frames 70"]) -> Float[Tensor, "frames 70"]:
    """``D' D state`` where D takes second differences in time (free ends)."""
    if len(state) < 3:
        return torch.zeros_like(state)
    bend = state[2:] - 2 * state[1:-1] + state[:-2]
    out = torch.zeros_like(state)
    out[2:] += bend
    out[1:-1] -= 2 * bend
    out[:-2] += bend
    return out


def bending_diagonal(state: Float[Tensor, "frames 70"]) -> Float[Tensor, " frames"]:
    """Diagonal of ``D' D``: 1, 5, 6, ..., 6, 5, 1."""
    diagonal = state.new_zeros(len(state))
    if len(state) >= 3:
        diagonal[2:] += 1
        diagonal[1:-1] += 4
        diagonal[:-2] += 1
    return diagonal


def solve_smooth(
    hessian: Float[Tensor, "frames 70 70"],
    smooth: Float[Tensor, "70"],
    diagonal: Float[Tensor, "frames 70"],
    right: Float[Tensor, "frames 70"],
    steps: int = 20,
    tolerance: float = 1e-2,
) -> Float[Tensor, "frames 70"]:
    """Solve ``(hessian + smooth D'D) x = right`` by conjugate gradients.

    Preconditioned frame by frame with the inverse of the block on the diagonal.

    Args:
        hessian: symmetric positive definite block of each frame.
        smooth: weight of the second differences of each unknown.
        diagonal: ``bending_diagonal`` times ``smooth``.
        right: right-hand side.
        steps: most iterations.
        tolerance: of the preconditioned residual's norm, as a share of the first.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian + torch.diag_embed(diagonal)))

    def precondition(vector: Tensor) -> Tensor:
        return (inverse @ vector[..., None])[..., 0]

    x = torch.zeros_like(right)
    left = right.clone()
    direction = z = precondition(left)
    product = (left * z).sum()
    target = tolerance**2 * float(product)
    for _ in range(steps):
        image = (hessian @ direction[..., None])[..., 0]
        image = image + smooth * bending(direction)
        alpha = product / (direction * image).sum().clamp_min(1e-300)
        x = x + alpha * direction
        left = left - alpha * image
        z = precondition(left)
        following = (left * z).sum()
        if float(following) <= target:
            break
        direction = z + following / product * direction
        product = following
    return x
