"""What a renderer's training keeps of its steps, and the state from which it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from dimitra.learning.state import StateKind


@dataclass(frozen=True)
class RendererStep:
    """One row of the training curve.

    Attributes:
        step: from 0.
        loss: the weighted sum.
        warp: of the moved photo, unweighted.
        final: of the drawn picture, unweighted; 0 while the warping net alone is trained.
        grad_norm: of all gradients.
        learning_rate: of this step.
    """

    step: int
    loss: float
    warp: float
    final: float
    grad_norm: float
    learning_rate: float


STATE = StateKind("dimitra-renderer-training-1", RendererStep, ("exp_avg", "exp_avg_sq", "step"))
"""The editing net's count of steps begins later than the others'."""
