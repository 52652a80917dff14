"""Fitting the face model to the landmarks of a clip.

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
from dimitra.morphable.contour import slide
from dimitra.morphable.correspondence import Correspondence, ibug_68, mediapipe_478
from dimitra.morphable.model import FaceModel

EXPRESSION = 64
FRAME = 70
"""Unknowns of a frame: expression 64, angles 3, translation 3."""

IDENTITY_TOLERANCE = 0.02
"""The same for the identity that a few frames share."""
UNSEEN = 0.1
"""Trust in landmarks that were interpolated."""
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
        scores: weight of the blendshape scores.
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
    scores: float = 1.0
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
class MeshLandmarks:
    """MediaPipe's answer for a clip.

    Attributes:
        points: pixels of the 256x256 crop.
        scores: blendshape scores, in MediaPipe's order.
        found: False where a frame's values were interpolated.
    """

    points: Float[Tensor, "frames 478 2"]
    scores: Float[Tensor, "frames 52"]
    found: Bool[Tensor, " frames"]


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

    seen: Correspondence
    points: Float[Tensor, "frames points 2"]
    weights: Float[Tensor, "frames points"]
    scores: Float[Tensor, "frames scores"]
    trust: Float[Tensor, " frames"]
    settings: FitSettings

    def take(self, frames: Int[Tensor, " kept"] | slice) -> _Problem:
        return replace(
            self,
            points=self.points[frames],
            weights=self.weights[frames],
            scores=self.scores[frames],
            trust=self.trust[frames],
        )


def fit_clip(
    model: FaceModel,
    landmarks: Float[Tensor, "frames 68 2"],
    detected: Bool[Tensor, " frames"] | None = None,
    settings: FitSettings | None = None,
    mesh: MeshLandmarks | None = None,
) -> ClipFit:
    """Fit identity, expression, pose and crop to a clip.

    Args:
        model: a face model with 68 landmarks.
        landmarks: pixels of the 256x256 crop, y down; they place the aligned frame.
        detected: False where a frame's landmarks were interpolated; they count a tenth.
        settings: noise model and effort.
        mesh: MediaPipe's landmarks; where given, the face is fitted to them alone.

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
    problem = _problem(model, landmarks, sure, mesh, crop, settings)
    start = _initial_frames(crop_to_aligned(landmarks, crop.expand(frames, 3)), standard)
    chosen = _spread(sure, settings.identity_frames)
    identity = _fit_identity(problem.take(chosen), start[chosen])
    state = torch.cat(
        [
            _fit_frames(problem.take(piece), start[piece], identity)[keep]
            for piece, keep in _windows(frames, settings.window, settings.overlap)
        ]
    )
    inner = problem.points[:, problem.seen.contour_points :]
    points = to_camera(problem.seen.shape.vertices(identity, state[:, :EXPRESSION]), state[:, 64:])
    distance = torch.linalg.vector_norm(project(points) - inner, dim=-1) / crop[0]
    return ClipFit(
        identity=identity.float(),
        expression=state[:, :EXPRESSION].float(),
        pose=state[:, EXPRESSION:].float(),
        crop=crop.float(),
        residual_px=distance.mean(dim=1).float(),
    )


def _problem(
    model: FaceModel,
    landmarks: Float[Tensor, "frames 68 2"],
    sure: Bool[Tensor, " frames"],
    mesh: MeshLandmarks | None,
    crop: Float[Tensor, "3"],
    settings: FitSettings,
) -> _Problem:
    frames = len(landmarks)
    if mesh is None:
        seen, points, scores = ibug_68(model), landmarks, landmarks.new_zeros(frames, 0)
    else:
        seen, points, sure = mediapipe_478(model), mesh.points.to(torch.float64), mesh.found
        if seen.scores is None or len(points) != frames:
            raise ValueError(f"{len(points)} frames of mesh landmarks beside {frames} of iBUG's")
        scores = mesh.scores.to(torch.float64)[:, seen.scores.columns]
    trust = torch.where(sure, 1.0, UNSEEN).to(torch.float64)
    return _Problem(
        seen=seen,
        points=crop_to_aligned(points[:, seen.indices], crop.expand(frames, 3)),
        weights=trust[:, None] * seen.weights,
        scores=scores,
        trust=trust,
        settings=settings,
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
    settings, seen, frames = problem.settings, problem.seen, len(state)
    jaw = seen.contour_points
    expression, pose = state[:, :EXPRESSION], state[:, EXPRESSION:]
    matrix = rotation(pose[:, :3])
    vertices = seen.shape.vertices(identity, expression)
    outward, index = vertices.new_zeros(frames, 0, 2), torch.zeros(frames, 0, dtype=torch.int64)
    if jaw:
        outline, outward, index = _outline(seen, expression, pose, identity)
        vertices = torch.cat((outline, vertices), dim=1)
    camera = to_camera(vertices, pose)
    depth = DISTANCE - camera[..., 2]
    projected = project(camera)
    # d(pixel)/d(camera point)
    scale = FOCAL_PX / depth
    by_camera = camera.new_zeros(*depth.shape, 2, 3)
    by_camera[..., 0, 0] = scale
    by_camera[..., 0, 2] = scale * camera[..., 0] / depth
    by_camera[..., 1, 1] = -scale
    by_camera[..., 1, 2] = -scale * camera[..., 1] / depth
    residual = projected - problem.points
    if jaw:
        # Tangential misses of the outline cost little: only its normal is observed.
        normal = outward[..., :, None] * outward[..., None, :]
        along = 0.85 * normal + 0.15 * torch.eye(2, dtype=state.dtype)
        residual[:, :jaw] = torch.einsum("fpab,fpb->fpa", along, residual[:, :jaw])
        by_camera[:, :jaw] = torch.einsum("fpab,fpbc->fpac", along, by_camera[:, :jaw])
    squared = residual.square().sum(-1)
    robust = 1.0 / (1.0 + squared / settings.robust_px**2)
    weight = (problem.weights * robust / settings.noise_px)[..., None]
    by_camera = by_camera * weight[..., None]
    by_vertex = torch.einsum("fpab,fbc->fpac", by_camera, matrix)
    turned = torch.einsum("faij,fpj->fpia", _rotation_derivatives(pose[:, :3]), vertices)
    # Many rows: single precision. The residual itself is computed in double precision above.
    kind = torch.float32 if seen.modes.shape[1] else state.dtype
    by_vertex = by_vertex.to(kind)
    columns = [
        (residual * weight)[..., None].to(kind),
        _chain(by_vertex, seen.contour.expression_basis[:, index], seen.shape.expression_basis),
        torch.einsum("fpab,fpbk->fpak", by_camera, turned).to(kind),
        by_camera.to(kind),
    ]
    if with_identity:
        contour = seen.contour.identity_basis[:, index]
        columns.append(_chain(by_vertex, contour, seen.shape.identity_basis))
    whole = torch.cat(columns, dim=-1).flatten(1, 2)
    if seen.modes.shape[1]:
        modes = seen.modes.to(kind).expand(frames, -1, -1)
        whole = torch.baddbmm(whole, modes, modes.transpose(1, 2) @ whole, alpha=-1)
    return _Linear(whole[..., 0], whole[..., 1 : 1 + FRAME], whole[..., 1 + FRAME :])


def _chain(
    by_vertex: Float[Tensor, "frames points 2 3"],
    contour: Float[Tensor, "k frames jaw 3"],
    fixed: Float[Tensor, "k inner 3"],
) -> Float[Tensor, "frames points 2 k"]:
    """Pixels by coefficients: the contour's basis differs from frame to frame, the rest's not."""
    frames, jaw = len(by_vertex), contour.shape[2]
    places = by_vertex[:, jaw:].permute(1, 0, 2, 3).flatten(1, 2)
    inner = places @ fixed.to(by_vertex).permute(1, 2, 0)
    inner = inner.reshape(len(places), frames, 2, -1).transpose(0, 1)
    if not jaw:
        return inner
    return torch.cat((by_vertex[:, :jaw] @ contour.permute(1, 2, 3, 0), inner), dim=1)


def _outline(
    seen: Correspondence,
    expression: Float[Tensor, "frames 64"],
    pose: Float[Tensor, "frames 6"],
    identity: Float[Tensor, "80"],
) -> tuple[Float[Tensor, "frames jaw 3"], Float[Tensor, "frames jaw 2"], Int[Tensor, "frames jaw"]]:
    """Contour points where they are seen, their outward directions, and the candidates' indices."""
    neutral = seen.contour.mean + torch.einsum("k,kpc->pc", identity, seen.contour.identity_basis)
    around = neutral + torch.einsum("fk,kpc->fpc", expression, seen.contour.expression_basis)
    jaw = seen.contour_points
    places = project(to_camera(around, pose)).reshape(len(pose), jaw, -1, 2)
    picked, outward = slide(places, project(pose[:, None, 3:])[:, 0])
    index = picked + places.shape[2] * torch.arange(jaw)
    return torch.take_along_dim(around, index[:, :, None], dim=1), outward, index


def _priors(
    problem: _Problem, state: Float[Tensor, "frames 70"]
) -> tuple[Float[Tensor, "frames 70 70"], Float[Tensor, "frames 70"]]:
    """Hessian and gradient of what is known of a frame besides its landmarks."""
    diagonal = _frame_prior(problem.settings)
    hessian = torch.diag(diagonal).expand(len(state), -1, -1).clone()
    gradient = diagonal * state
    model = problem.seen.scores
    if model is not None:
        reading = model.matrix @ model.whitener
        miss = (state[:, :EXPRESSION] @ model.matrix + model.bias - problem.scores) @ model.whitener
        sure = problem.settings.scores * problem.trust.square()
        hessian[:, :EXPRESSION, :EXPRESSION] += sure[:, None, None] * (reading @ reading.T)
        gradient[:, :EXPRESSION] += sure[:, None] * (miss @ reading.T)
    return hessian, gradient


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
        jacobian = linear.frame[..., EXPRESSION:].to(state)
        hessian = jacobian.transpose(1, 2) @ jacobian + torch.diag(prior)
        gradient = (jacobian.transpose(1, 2) @ linear.residual.to(state)[..., None])[..., 0]
        gradient = gradient + prior * state[:, EXPRESSION:]
        state = state.clone()
        state[:, EXPRESSION:] -= torch.linalg.solve(hessian, gradient)
    return state


def _fit_identity(problem: _Problem, state: Float[Tensor, "frames 70"]) -> Float[Tensor, "80"]:
    """Identity shared by some frames, their expressions and poses eliminated."""
    settings = problem.settings
    identity = state.new_zeros(80)
    share = settings.prior * max(len(state) / settings.identity_evidence, 1.0)
    state = _rigid_steps(problem, state, identity, 4)
    for _ in range(settings.identity_iterations):
        linear = _linearise(problem, state, identity, with_identity=True)
        by_identity = linear.identity
        frame_t = linear.frame.transpose(1, 2)
        known, known_gradient = _priors(problem, state)
        hessian = (frame_t @ linear.frame).to(known) + known
        mixed = (frame_t @ by_identity).to(known)
        gradient = (frame_t @ linear.residual[..., None])[..., 0].to(known) + known_gradient
        eye = torch.eye(80, dtype=state.dtype)
        stacked = by_identity.flatten(0, 1)
        shared = (stacked.T @ stacked).to(known) + share * eye
        shared_gradient = (stacked.T @ linear.residual.flatten()).to(known)
        shared_gradient = shared_gradient + share * identity
        factor = torch.linalg.cholesky(hessian)
        solved = torch.cholesky_solve(torch.cat((mixed, gradient[..., None]), dim=-1), factor)
        reduced = shared - torch.einsum("fik,fil->kl", mixed, solved[..., :80])
        right = shared_gradient - torch.einsum("fik,fi->k", mixed, solved[..., 80])
        step = -torch.linalg.solve(reduced, right)
        identity = identity + step
        state = state - solved[..., 80] - torch.einsum("fik,k->fi", solved[..., :80], step)
        if float(step.abs().max()) < IDENTITY_TOLERANCE:
            break
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
        known, known_gradient = _priors(problem, state)
        hessian = (frame_t @ linear.frame).to(known) + known
        gradient = (frame_t @ linear.residual[..., None])[..., 0].to(known) + known_gradient
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
