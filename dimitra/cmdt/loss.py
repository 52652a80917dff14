"""Training losses (paper, section III-B.4): ``lambda * L_diff``, plus ``L_first`` for the head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """The loss and its parts, each a scalar.

    Attributes:
        total: ``loss_weight * diffusion + first_pose_weight * first_pose``.
        diffusion: L_diff, mean squared error of x_0 over the real frames.
        first_pose: L_first, the same over the first frame of each window.
    """

    total: Tensor
    diffusion: Tensor
    first_pose: Tensor


def losses(
    error: Tensor,
    mask: Tensor,
    loss_weight: float,
    first_pose_weight: float,
) -> Losses:
    """Losses of a batch.

    Args:
        error: [B, N, d] of the model's prediction; what stands outside the mask is arbitrary.
        mask: [B, N] bool, True for the real frames; the first frame of a window is real.
        loss_weight: the paper's lambda, 6.
        first_pose_weight: 1 for the head, 0 otherwise.
    """
    squared = error.square().mean(dim=-1).masked_fill(~mask, 0.0)
    diffusion = squared.sum() / mask.sum().clamp(min=1)
    first_pose = squared[:, 0].mean()
    return Losses(
        total=loss_weight * diffusion + first_pose_weight * first_pose,
        diffusion=diffusion,
        first_pose=first_pose,
    )
