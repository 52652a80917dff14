"""Fitting the face model to the 68 landmarks of a clip.

The unknowns are one identity for the clip, and an expression and a head pose for every frame.
Gauss-Newton steps on the projected landmark distances are solved in closed form with

* priors from the model's own variances (every coefficient is N(0, 1) under the model);
* a smoothness term on the second differences in time, part of the normal equations rather than a
  filter afterwards, solved by conjugate gradients preconditioned frame by frame;
* weights that fall with distance (Geman and McClure, 1985), so that a lost landmark does not pull;
* jaw landmarks that slide on the silhouette (``contour``).

Identity comes first, jointly with the expressions of a few frames spread over the clip, by
elimination of the frames (Schur complement); then all frames are solved with identity held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dimitra.morphable.alignment import RESCALE, align, align_clip, five_points
from dimitra.morphable.camera import (
    CENTRE_PX,
    DISTANCE,
    FOCAL_PX,
    crop_to_aligned,
    project,
    rotation,
    to_camera,
)
from dimitra.morphable.contour import JAW, contour_candidates, slide
from dimitra.morphable.model import FaceModel, LinearShape

EXPRESSION = 64
FRAME = 70
"""Unknowns of a frame: expression 64, angles 3, translation 3."""

ANGLE_STD = 0.5
TRANSLATION_STD = (0.5, 0.5, 1.0)
"""Weak priors on pose: radians, decimetres."""
STEP_TOLERANCE = 2e-3
"""A step that changes no unknown by more ends the iterations (deviations, radians, decimetres)."""


@dataclass(frozen=True)
class FitSettings:
    """What the fit depends on besides the landmarks.

    Attributes:
        iterations: Gauss-Newton steps over all frames.
        smoothness: weight of the smoothness term; 1 is the noise model below.
        prior: weight of the coefficient priors.
        noise_px: standard deviation of a landmark, pixels of the 224 frame.
        robust_px: distance at which a landmark has lost three quarters of its weight.
        identity_frames: frames that identity is estimated from.
        identity_iterations: Gauss-Newton steps on those.
        identity_evidence: how many independent frames those are worth: a detector's bias does not
            average out.
        expression_change: standard deviation of the second difference of an expression coefficient.
        angle_change: the same for angles, radians.
        translation_change: the same for translations, decimetres.
        window: frames solved together; bounds the memory of long clips.
        overlap: frames solved twice at a window's ends, and dropped there.
    """

    iterations: int = 4
    smoothness: float = 1.0
    prior: float = 1.0
    noise_px: float = 1.0
    robust_px: float = 8.0
    identity_frames: int = 24
    identity_iterations: int = 10
    identity_evidence: float = 12.0
    expression_change: float = 0.5
    angle_change: float = 0.01
    translation_change: float = 0.01
    window: int = 1000
    overlap: int = 25


@dataclass(frozen=True)
class ClipFit:
    """Fitted coefficients of a clip; the residual counts the 51 landmarks inside the face."""

    identity: Float[Tensor, "80"]
    expression: Float[Tensor, "frames 64"]
    pose: Float[Tensor, "frames 6"]
    crop: Float[Tensor, "3"]
    residual_px: Float[Tensor, " frames"]


@dataclass(frozen=True)
class _Problem:
    """Landmark observations and the model points that explain them."""

    shape: LinearShape
    candidates: LinearShape
    points: Float[Tensor, "frames 68 2"]
    weights: Float[Tensor, "frames 68"]
    settings: FitSettings

    def take(self, frames: Int[Tensor, " kept"] | slice) -> _Problem:
        return replace(self, points=self.points[frames], weights=self.weights[frames])


def landmark_weights() -> Float[Tensor, "68"]:
    """Relative trust in each landmark: the outline and the brows are the least repeatable."""
    weights = torch.ones(68)
    weights[:JAW] = 0.25
    weights[17:27] = 0.6
    weights[[60, 64]] = 0.5
    return weights


def fit_clip(
    model: FaceModel,
    landmarks: Float[Tensor, "frames 68 2"],
    detected: Bool[Tensor, " frames"] | None = None,
    settings: FitSettings | None = None,
) -> ClipFit:
    """Fit identity, expression, pose and crop to a clip.

    Args:
        model: a face model with 68 landmarks.
        landmarks: pixels of the 256x256 crop, y down.
        detected: False where a frame's landmarks were interpolated; they count a tenth.
        settings: noise model and effort.

    Raises:
        ValueError: no frames, or landmarks that are not finite.
    """
    settings = settings or FitSettings()
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2) or len(landmarks) == 0:
        raise ValueError(f"landmarks are {list(landmarks.shape)}, expected [frames > 0, 68, 2]")
    if not bool(torch.isfinite(landmarks).all()):
        raise ValueError("landmarks are not finite; quarantine the clip as FACE_LOST upstream")
    landmarks = landmarks.to(torch.float64)
    frames = len(landmarks)
    sure = torch.ones(frames, dtype=torch.bool) if detected is None else detected
    standard = five_points(model.mean[model.landmarks_68]).to(torch.float64)
    crop = align_clip(landmarks[sure] if bool(sure.any()) else landmarks, standard)
    trust = torch.where(sure, 1.0, 0.1).to(torch.float64)
    problem = _Problem(
        shape=_double(model.subset(model.landmarks_68)),
        candidates=_double(model.subset(contour_candidates(model).flatten())),
        points=crop_to_aligned(landmarks, crop.expand(frames, 3)),
        weights=trust[:, None] * landmark_weights().to(torch.float64),
        settings=settings,
    )
    start = _initial_frames(problem.points, standard)
    chosen = _spread(sure, settings.identity_frames)
    identity = _fit_identity(problem.take(chosen), start[chosen])
    state = torch.cat(
        [
            _fit_frames(problem.take(piece), start[piece], identity)[keep]
            for piece, keep in _windows(frames, settings.window, settings.overlap)
        ]
    )
    points = to_camera(problem.shape.vertices(identity, state[:, :EXPRESSION]), state[:, 64:])
    distance = torch.linalg.vector_norm(project(points) - problem.points, dim=-1) / crop[0]
    return ClipFit(
        identity=identity.float(),
        expression=state[:, :EXPRESSION].float(),
        pose=state[:, EXPRESSION:].float(),
        crop=crop.float(),
        residual_px=distance[:, JAW:].mean(dim=1).float(),
    )


def _double(shape: LinearShape) -> LinearShape:
    return LinearShape(
        shape.mean.double(), shape.identity_basis.double(), shape.expression_basis.double()
    )


def _spread(sure: Bool[Tensor, " frames"], count: int) -> Int[Tensor, " kept"]:
    """At most ``count`` measured frames, evenly spread."""
    candidates = sure.nonzero().flatten()
    if len(candidates) == 0:
        candidates = torch.arange(len(sure))
    places = torch.linspace(0, len(candidates) - 1, min(count, len(candidates)))
    return candidates[places.round().long()]


def _windows(frames: int, window: int, overlap: int) -> list[tuple[slice, slice]]:
    """Pieces of a long clip, and which part of each to keep: bounds the memory."""
    pieces = []
    for start in range(0, frames, window):
        stop = min(start + window, frames)
        low, high = max(start - overlap, 0), min(stop + overlap, frames)
        pieces.append((slice(low, high), slice(start - low, stop - low)))
    return pieces


def _initial_frames(
    points: Float[Tensor, "frames 68 2"], standard: Float[Tensor, "5 3"]
) -> Float[Tensor, "frames 70"]:
    """Neutral faces looking ahead, at the place and distance of the five points."""
    place = align(points, standard, height=0)
    state = points.new_zeros(len(points), FRAME)
    scale = (RESCALE / place[:, 0]).clamp(60.0, 160.0)
    depth = FOCAL_PX / scale
    state[:, 69] = DISTANCE - depth
    state[:, 67] = (place[:, 1] - CENTRE_PX) * depth / FOCAL_PX
    state[:, 68] = (place[:, 2] + 1 + CENTRE_PX) * depth / FOCAL_PX
    return state


@dataclass(frozen=True)
class _Linear:
    """Weighted residuals (68 landmarks, x and y) and their Jacobians; identity's on request."""

    residual: Float[Tensor, "frames rows"]
    frame: Float[Tensor, "frames rows 70"]
    identity: Float[Tensor, "frames rows 80"]


def _rotation_derivatives(angles: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3 3 3"]:
    """Derivatives of the rotation by pitch, yaw and roll, along the second axis."""
    zero = torch.zeros_like(angles[:, 0])
    x, y, z = angles.unbind(-1)

    def turn(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
        return rotation(torch.stack((pitch, yaw, roll), dim=-1))

    def generator(axis: int) -> Tensor:
        matrix = torch.zeros(3, 3, dtype=angles.dtype, device=angles.device)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        matrix[second, first], matrix[first, second] = 1.0, -1.0
        return matrix

    rx, ry, rz = turn(x, zero, zero), turn(zero, y, zero), turn(zero, zero, z)
    return torch.stack(
        (
            rz @ ry @ rx @ generator(0),
            rz @ ry @ generator(1) @ rx,
            generator(2) @ rz @ ry @ rx,
        ),
        dim=1,
    )


def _linearise(
    problem: _Problem,
    state: Float[Tensor, "frames 70"],
    identity: Float[Tensor, "80"],
    with_identity: bool,
) -> _Linear:
    """Residuals and analytic Jacobians of the projected landmarks."""
    settings, frames = problem.settings, len(state)
    expression, pose = state[:, :EXPRESSION], state[:, EXPRESSION:]
    matrix = rotation(pose[:, :3])
    neutral = problem.candidates.mean + torch.einsum(
        "k,kpc->pc", identity, problem.candidates.identity_basis
    )
    around = neutral + torch.einsum("fk,kpc->fpc", expression, problem.candidates.expression_basis)
    seen = project(to_camera(around, pose)).reshape(frames, JAW, -1, 2)
    centre = project(pose[:, None, 3:])[:, 0]
    picked, outward = slide(seen, centre)
    per_landmark = seen.shape[2]
    index = picked + per_landmark * torch.arange(JAW)
    basis = torch.cat(
        (
            problem.candidates.expression_basis[:, index].permute(1, 0, 2, 3),
            problem.shape.expression_basis[:, JAW:].expand(frames, -1, -1, -1),
        ),
        dim=2,
    )
    jaw = torch.take_along_dim(around, index[:, :, None], dim=1)
    rest = problem.shape.vertices(identity, expression)[:, JAW:]
    vertices = torch.cat((jaw, rest), dim=1)
    camera = to_camera(vertices, pose)
    depth = DISTANCE - camera[..., 2]
    projected = project(camera)
    # d(pixel)/d(camera point)
    scale = FOCAL_PX / depth
    by_camera = camera.new_zeros(frames, 68, 2, 3)
    by_camera[..., 0, 0] = scale
    by_camera[..., 0, 2] = scale * camera[..., 0] / depth
    by_camera[..., 1, 1] = -scale
    by_camera[..., 1, 2] = -scale * camera[..., 1] / depth
    residual = projected - problem.points
    # Tangential misses of the outline cost little: only its normal is observed.
    along = torch.eye(2, dtype=state.dtype).expand(frames, 68, 2, 2).clone()
    normal = outward[..., :, None] * outward[..., None, :]
    along[:, :JAW] = 0.85 * normal + 0.15 * along[:, :JAW]
    residual = torch.einsum("fpab,fpb->fpa", along, residual)
    squared = residual.square().sum(-1)
    robust = 1.0 / (1.0 + squared / settings.robust_px**2)
    weight = (problem.weights * robust / settings.noise_px)[..., None]
    by_camera = torch.einsum("fpab,fpbc->fpac", along, by_camera) * weight[..., None]
    by_vertex = torch.einsum("fpab,fbc->fpac", by_camera, matrix)
    turned = torch.einsum("faij,fpj->fpia", _rotation_derivatives(pose[:, :3]), vertices)
    jacobian = torch.cat(
        (
            torch.einsum("fpac,fkpc->fpak", by_vertex, basis),
            torch.einsum("fpab,fpbk->fpak", by_camera, turned),
            by_camera,
        ),
        dim=-1,
    )
    by_identity = jacobian.new_zeros(frames, 136, 0)
    if with_identity:
        id_basis = torch.cat(
            (
                problem.candidates.identity_basis[:, index].permute(1, 0, 2, 3),
                problem.shape.identity_basis[:, JAW:].expand(frames, -1, -1, -1),
            ),
            dim=2,
        )
        by_identity = torch.einsum("fpac,fkpc->fpak", by_vertex, id_basis).flatten(1, 2)
    return _Linear((residual * weight).flatten(1), jacobian.flatten(1, 2), by_identity)


def _frame_prior(settings: FitSettings) -> Float[Tensor, "70"]:
    """Inverse variances of a frame's unknowns."""
    return torch.cat(
        (
            torch.full((EXPRESSION,), settings.prior, dtype=torch.float64),
            torch.full((3,), ANGLE_STD**-2, dtype=torch.float64),
            torch.tensor(TRANSLATION_STD, dtype=torch.float64) ** -2,
        )
    )


def _rigid_steps(
    problem: _Problem, state: Float[Tensor, "frames 70"], identity: Float[Tensor, "80"], steps: int
) -> Float[Tensor, "frames 70"]:
    """Pose alone, with the face held."""
    prior = _frame_prior(problem.settings)[EXPRESSION:]
    for _ in range(steps):
        linear = _linearise(problem, state, identity, with_identity=False)
        jacobian = linear.frame[..., EXPRESSION:]
        hessian = jacobian.transpose(1, 2) @ jacobian + torch.diag(prior)
        gradient = (jacobian.transpose(1, 2) @ linear.residual[..., None])[..., 0]
        gradient = gradient + prior * state[:, EXPRESSION:]
        state = state.clone()
        state[:, EXPRESSION:] -= torch.linalg.solve(hessian, gradient)
    return state


def _fit_identity(problem: _Problem, state: Float[Tensor, "frames 70"]) -> Float[Tensor, "80"]:
    """Identity shared by some frames, their expressions and poses eliminated."""
    settings = problem.settings
    prior = _frame_prior(settings)
    identity = state.new_zeros(80)
    share = settings.prior * max(len(state) / settings.identity_evidence, 1.0)
    state = _rigid_steps(problem, state, identity, 4)
    for _ in range(settings.identity_iterations):
        linear = _linearise(problem, state, identity, with_identity=True)
        by_identity = linear.identity
        frame_t = linear.frame.transpose(1, 2)
        hessian = frame_t @ linear.frame + torch.diag(prior)
        mixed = frame_t @ by_identity
        gradient = (frame_t @ linear.residual[..., None])[..., 0] + prior * state
        eye = torch.eye(80, dtype=state.dtype)
        shared = torch.einsum("frk,frl->kl", by_identity, by_identity) + share * eye
        shared_gradient = torch.einsum("frk,fr->k", by_identity, linear.residual)
        shared_gradient = shared_gradient + share * identity
        factor = torch.linalg.cholesky(hessian)
        solved = torch.cholesky_solve(torch.cat((mixed, gradient[..., None]), dim=-1), factor)
        reduced = shared - torch.einsum("fik,fil->kl", mixed, solved[..., :80])
        right = shared_gradient - torch.einsum("fik,fi->k", mixed, solved[..., 80])
        step = -torch.linalg.solve(reduced, right)
        identity = identity + step
        state = state - solved[..., 80] - torch.einsum("fik,k->fi", solved[..., :80], step)
    return identity


def _second_difference_operator(
    state: Float[Tensor, "frames 70"],
) -> Float[Tensor, "frames 70"]:
    """``D' D state`` where D takes second differences in time (free ends)."""
    if len(state) < 3:
        return torch.zeros_like(state)
    bend = state[2:] - 2 * state[1:-1] + state[:-2]
    out = torch.zeros_like(state)
    out[2:] += bend
    out[1:-1] -= 2 * bend
    out[:-2] += bend
    return out


def _fit_frames(
    problem: _Problem, state: Float[Tensor, "frames 70"], identity: Float[Tensor, "80"]
) -> Float[Tensor, "frames 70"]:
    """Expression and pose of all frames, identity held, smooth in time."""
    settings = problem.settings
    prior = _frame_prior(settings)
    change = torch.cat(
        (
            torch.full((EXPRESSION,), settings.expression_change, dtype=state.dtype),
            torch.full((3,), settings.angle_change, dtype=state.dtype),
            torch.full((3,), settings.translation_change, dtype=state.dtype),
        )
    )
    smooth = settings.smoothness * change**-2
    diagonal = _second_difference_diagonal(len(state), state.dtype)[:, None] * smooth
    state = _rigid_steps(problem, state, identity, 3)
    for _ in range(settings.iterations):
        linear = _linearise(problem, state, identity, with_identity=False)
        frame_t = linear.frame.transpose(1, 2)
        hessian = frame_t @ linear.frame + torch.diag(prior)
        gradient = (frame_t @ linear.residual[..., None])[..., 0] + prior * state
        gradient = gradient + smooth * _second_difference_operator(state)
        step = _conjugate_gradients(hessian, smooth, diagonal, -gradient)
        state = state + step
        if float(step.abs().max()) < STEP_TOLERANCE:
            break
    return state


def _second_difference_diagonal(frames: int, dtype: torch.dtype) -> Float[Tensor, " frames"]:
    """Diagonal of ``D' D``: 1, 5, 6, ..., 6, 5, 1."""
    diagonal = torch.zeros(frames, dtype=dtype)
    if frames >= 3:
        diagonal[2:] += 1
        diagonal[1:-1] += 4
        diagonal[:-2] += 1
    return diagonal


def _conjugate_gradients(
    hessian: Float[Tensor, "frames 70 70"],
    smooth: Float[Tensor, "70"],
    diagonal: Float[Tensor, "frames 70"],
    right: Float[Tensor, "frames 70"],
    steps: int = 20,
    tolerance: float = 1e-2,
) -> Float[Tensor, "frames 70"]:
    """Solve ``(hessian + smooth D'D) x = right``, preconditioned frame by frame."""
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
        image = image + smooth * _second_difference_operator(direction)
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
