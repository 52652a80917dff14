"""What is known of a frame besides its landmarks: the model's variances, and blendshape scores."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dimitra.morphable.coefficients import EXPRESSION_SIZE
from dimitra.morphable.observation import Observations

ANGLE_STD = 0.5
TRANSLATION_STD = (0.5, 0.5, 1.0)
"""Weak priors on pose: radians, decimetres."""


def prior_terms(
    observed: Observations, state: Float[Tensor, "frames 70"]
) -> tuple[Float[Tensor, "frames 70 70"], Float[Tensor, "frames 70"]]:
    """Hessian and gradient of what is known of a frame besides its landmarks."""
    diagonal = prior_weights(observed)
    hessian = torch.diag(diagonal).expand(len(state), -1, -1).clone()
    gradient = diagonal * state
    model = observed.seen.scores
    if model is not None:
        reading = model.matrix @ model.whitener
        miss = (
            state[:, :EXPRESSION_SIZE] @ model.matrix + model.bias - observed.scores
        ) @ model.whitener
        sure = observed.settings.scores * observed.trust.square()
        hessian[:, :EXPRESSION_SIZE, :EXPRESSION_SIZE] += sure[:, None, None] * (
            reading @ reading.T
        )
        gradient[:, :EXPRESSION_SIZE] += sure[:, None] * (miss @ reading.T)
    return hessian, gradient


def prior_weights(observed: Observations) -> Float[Tensor, "70"]:
    """Inverse variances of a frame's unknowns."""
    return torch.cat(
        (
            observed.points.new_full((EXPRESSION_SIZE,), observed.settings.prior),
            observed.points.new_full((3,), ANGLE_STD**-2),
            observed.points.new_tensor(TRANSLATION_STD) ** -2,
        )
    )
