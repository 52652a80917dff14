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
    frames: Tensor | None = None,
    windows: int | None = None,
) -> Losses:
    """Losses of a batch, or the share of a part of it.

    Where a batch is spread over several processes, each calls this with its own windows and the
    counts of the whole batch; the sums of their losses, and of their gradients, are the batch's.

    Args:
        error: [B, N, d] of the model's prediction; what stands outside the mask is arbitrary.
        mask: [B, N] bool, True for the real frames; the first frame of a window is real.
        loss_weight: the paper's lambda, 6.
        first_pose_weight: 1 for the head, 0 otherwise.
        frames: real frames of the whole batch, a scalar; by default those of ``mask``.
        windows: of the whole batch; by default B.
    """
    squared = error.square().mean(dim=-1).masked_fill(~mask, 0.0)
    count = mask.sum() if frames is None else frames
    diffusion = squared.sum() / count.clamp(min=1)
    first_pose = squared[:, 0].sum() / (len(squared) if windows is None else windows)
    return Losses(
        total=loss_weight * diffusion + first_pose_weight * first_pose,
        diffusion=diffusion,
        first_pose=first_pose,
    )
