"""Training losses (paper, section III-B.4): ``lambda * L_diff``, plus ``L_first`` for the head.

An option beside the paper: the velocity loss of MDM (Tevet et al., 2023, equation 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossWeights:
    """How the parts of the loss are added up.

    Attributes:
        diffusion: the paper's lambda, 6.
        first_pose: 1 for the head, 0 otherwise.
        velocity: 0 in the paper.
    """

    diffusion: float
    first_pose: float
    velocity: float = 0.0


@dataclass(frozen=True)
class Losses:
    """The loss and its parts, each a scalar.

    Attributes:
        total: the weighted sum.
        diffusion: L_diff, mean squared error of x_0 over the real frames.
        first_pose: L_first, the same over the first frame of each window.
        velocity: mean squared error of the change from frame to frame, over the real pairs.
    """

    total: Tensor
    diffusion: Tensor
    first_pose: Tensor
    velocity: Tensor


def losses(
    error: Tensor,
    mask: Tensor,
    weights: LossWeights,
    frames: Tensor | None = None,
    windows: int | None = None,
    levels: Tensor | None = None,
) -> Losses:
    """Losses of a batch, or the share of a part of it.

    Where a batch is spread over several processes, each calls this with its own windows and the
    counts of the whole batch; the sums of their losses, and of their gradients, are the batch's.

    Args:
        error: [B, N, d] of the model's prediction; what stands outside the mask is arbitrary.
        mask: [B, N] bool, True for the real frames, which are the first of a window, one at least.
        weights: of the parts.
        frames: real frames of the whole batch, a scalar; by default those of ``mask``.
        windows: of the whole batch; by default B.
        levels: [B] weight of each window's squared error; by default 1.
    """
    # First: masked later, an error that is no number would still spoil the gradient.
    error = error.masked_fill(~mask[..., None], 0.0)
    squared = error.square().mean(dim=-1).masked_fill(~mask, 0.0)
    change = error.diff(dim=1).square().mean(dim=-1).masked_fill(~mask[:, 1:], 0.0)
    if levels is not None:
        squared, change = squared * levels[:, None], change * levels[:, None]
    count = mask.sum() if frames is None else frames
    number = len(squared) if windows is None else windows
    diffusion = squared.sum() / count.clamp(min=1)
    first_pose = squared[:, 0].sum() / number
    velocity = change.sum() / (count - number).clamp(min=1)
    total = weights.diffusion * diffusion + weights.first_pose * first_pose
    if weights.velocity:
        total = total + weights.velocity * velocity
    return Losses(total, diffusion, first_pose, velocity.detach())
