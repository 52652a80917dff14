"""What a training of the cMDT keeps of its steps, and the state from which it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from dimitra.learning.state import StateKind


@dataclass(frozen=True)
class StepRecord:
    """One row of the training curve.

    Attributes:
        step: from 0.
        loss: the weighted sum.
        diffusion: L_diff.
        first_pose: L_first.
        velocity: of the change from frame to frame.
        grad_norm: before clipping.
        learning_rate: of this step.
    """

    step: int
    loss: float
    diffusion: float
    first_pose: float
    velocity: float
    grad_norm: float
    learning_rate: float


STATE = StateKind("dimitra-training-1", StepRecord)
