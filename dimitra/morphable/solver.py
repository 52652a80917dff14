"""Gauss-Newton steps of the landmark fit: pose alone, shared identity, all frames."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dimitra.morphable.coefficients import ANGLES, EXPRESSION_SIZE, SIZES, TRANSLATION
from dimitra.morphable.linearisation import linearise
from dimitra.morphable.observation import Observations
from dimitra.morphable.prior import prior_terms, prior_weights
from dimitra.morphable.smoothness import bending, bending_diagonal, solve_smooth

STEP_TOLERANCE = 2e-3
"""A step that changes no unknown by more ends the iterations (deviations, radians, decimetres)."""
IDENTITY_TOLERANCE = 0.02
"""The same for the identity that a few frames share."""


def fit_pose(
    observed: Observations,
    state: Float[Tensor, "frames 70"],
    identity: Float[Tensor, "80"],
    steps: int,
) -> Float[Tensor, "frames 70"]:
    """Pose alone, with the face held, in so many steps."""
    prior = prior_weights(observed)[EXPRESSION_SIZE:]
    for _ in range(steps):
        linear = linearise(observed, state, identity, with_identity=False)
        jacobian = linear.frame[..., EXPRESSION_SIZE:].to(state)
        hessian = jacobian.transpose(1, 2) @ jacobian + torch.diag(prior)
        gradient = (jacobian.transpose(1, 2) @ linear.residual.to(state)[..., None])[..., 0]
        gradient = gradient + prior * state[:, EXPRESSION_SIZE:]
        state = state.clone()
        state[:, EXPRESSION_SIZE:] -= torch.linalg.solve(hessian, gradient)
    return state


def fit_identity(observed: Observations, state: Float[Tensor, "frames 70"]) -> Float[Tensor, "80"]:
    """Identity shared by some frames, their expressions and poses eliminated."""
    settings = observed.settings
    identity = state.new_zeros(SIZES["identity"])
    share = settings.prior * max(len(state) / settings.identity_evidence, 1.0)
    state = fit_pose(observed, state, identity, 4)
    for _ in range(settings.identity_iterations):
        linear = linearise(observed, state, identity, with_identity=True)
        by_identity = linear.identity
        frame_t = linear.frame.transpose(1, 2)
        known, known_gradient = prior_terms(observed, state)
        hessian = (frame_t @ linear.frame).to(known) + known
        mixed = (frame_t @ by_identity).to(known)
        gradient = (frame_t @ linear.residual[..., None])[..., 0].to(known) + known_gradient
        eye = torch.eye(len(identity), dtype=state.dtype, device=state.device)
        stacked = by_identity.flatten(0, 1)
        shared = (stacked.T @ stacked).to(known) + share * eye
        shared_gradient = (stacked.T @ linear.residual.flatten()).to(known)
        shared_gradient = shared_gradient + share * identity
        factor = torch.linalg.cholesky(hessian)
        solved = torch.cholesky_solve(torch.cat((mixed, gradient[..., None]), dim=-1), factor)
        reduced = shared - torch.einsum("fik,fil->kl", mixed, solved[..., :-1])
        right = shared_gradient - torch.einsum("fik,fi->k", mixed, solved[..., -1])
        step = -torch.linalg.solve(reduced, right)
        identity = identity + step
        state = state - solved[..., -1] - torch.einsum("fik,k->fi", solved[..., :-1], step)
        if float(step.abs().max()) < IDENTITY_TOLERANCE:
            break
    return identity


def fit_frames(
    observed: Observations, state: Float[Tensor, "frames 70"], identity: Float[Tensor, "80"]
) -> Float[Tensor, "frames 70"]:
    """Expression and pose of all frames, identity held, smooth in time."""
    settings = observed.settings
    change = state.new_full((state.shape[1],), settings.expression_change)
    change[ANGLES], change[TRANSLATION] = settings.angle_change, settings.translation_change
    smooth = settings.smoothness * change**-2
    diagonal = bending_diagonal(state)[:, None] * smooth
    state = fit_pose(observed, state, identity, 3)
    for _ in range(settings.iterations):
        linear = linearise(observed, state, identity, with_identity=False)
        frame_t = linear.frame.transpose(1, 2)
        known, known_gradient = prior_terms(observed, state)
        hessian = (frame_t @ linear.frame).to(known) + known
        gradient = (frame_t @ linear.residual[..., None])[..., 0].to(known) + known_gradient
        gradient = gradient + smooth * bending(state)
        step = solve_smooth(hessian, smooth, diagonal, -gradient)
        state = state + step
        if float(step.abs().max()) < STEP_TOLERANCE:
            break
    return state
