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

from dataclasses import dataclass

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
    to_camera,
)
from dimitra.morphable.coefficients import EXPRESSION_SIZE, MOTION_SIZE
from dimitra.morphable.head_encoder import EncodedClip
from dimitra.morphable.model import FaceModel
from dimitra.morphable.observation import FitSettings, MeshLandmarks, observe
from dimitra.morphable.residual import distance_px, inner_landmarks
from dimitra.morphable.solver import fit_frames, fit_identity

__all__ = ["ClipFit", "FitSettings", "MeshLandmarks", "checked", "fit_clip"]


LARGEST_RESCALE = 50.0
"""A face that must be enlarged more for the 224 frame is smaller than 5 pixels."""


@dataclass(frozen=True)
class ClipFit:
    """Fitted coefficients of a clip; the residual counts the 51 landmarks inside the face."""

    identity: Float[Tensor, "80"]
    expression: Float[Tensor, "frames 64"]
    pose: Float[Tensor, "frames 6"]
    crop: Float[Tensor, "3"]
    residual_px: Float[Tensor, " frames"]


def fit_clip(
    model: FaceModel,
    landmarks: Float[Tensor, "frames 68 2"],
    detected: Bool[Tensor, " frames"] | None = None,
    settings: FitSettings | None = None,
    mesh: MeshLandmarks | None = None,
) -> ClipFit:
    """Fit identity, expression, pose and crop to a clip, on the face model's device.

    Args:
        model: a face model with 68 landmarks.
        landmarks: pixels of the 256x256 crop, y down; they place the aligned frame.
        detected: False where a frame's landmarks were interpolated; they count a tenth.
        settings: noise model and effort.
        mesh: MediaPipe's landmarks; where given, the face is fitted to them alone.

    Raises:
        ValueError: no frames, wrong shapes, or landmarks that are not finite or span no face.
    """
    settings = settings or FitSettings()
    if landmarks.ndim != 3 or landmarks.shape[1:] != (68, 2) or len(landmarks) == 0:
        raise ValueError(f"landmarks are {list(landmarks.shape)}, expected [frames > 0, 68, 2]")
    if not bool(torch.isfinite(landmarks).all()):
        raise ValueError("landmarks are not finite; quarantine the clip as FACE_LOST upstream")
    if detected is not None and detected.shape != landmarks.shape[:1]:
        raise ValueError(f"detected is {list(detected.shape)} beside {len(landmarks)} frames")
    device = model.mean.device
    landmarks = landmarks.to(device, torch.float64)
    frames = len(landmarks)
    sure = torch.ones(frames, dtype=torch.bool, device=device)
    if detected is not None:
        sure = detected.to(device)
    standard = five_points(model.mean[model.landmarks_68]).to(torch.float64)
    crop = align_clip(landmarks[sure] if bool(sure.any()) else landmarks, standard)
    if not bool(torch.isfinite(crop).all()) or float(crop[0]) > LARGEST_RESCALE:
        raise ValueError(
            f"the landmarks span no face: it would have to be enlarged {float(crop[0]):.3g} times, "
            f"the limit is {LARGEST_RESCALE:g}"
        )
    observed = observe(model, landmarks, sure, mesh, crop, settings)
    start = _initial_frames(crop_to_aligned(landmarks, crop.expand(frames, 3)), standard)
    chosen = _spread(sure, settings.identity_frames)
    identity = fit_identity(observed.take(chosen), start[chosen])
    state = torch.cat(
        [
            fit_frames(observed.take(piece), start[piece], identity)[keep]
            for piece, keep in _windows(frames, settings.window, settings.overlap)
        ]
    )
    inner = observed.points[:, observed.seen.contour_points :]
    points = to_camera(
        observed.seen.shape.vertices(identity, state[:, :EXPRESSION_SIZE]),
        state[:, EXPRESSION_SIZE:],
    )
    distance = torch.linalg.vector_norm(project(points) - inner, dim=-1) / crop[0]
    return ClipFit(
        identity=identity.float(),
        expression=state[:, :EXPRESSION_SIZE].float(),
        pose=state[:, EXPRESSION_SIZE:].float(),
        crop=crop.float(),
        residual_px=distance.mean(dim=1).float(),
    )


def checked(
    model: FaceModel, encoded: EncodedClip, landmarks: Float[Tensor, "frames 68 2"]
) -> ClipFit:
    """Hold coefficients that an encoder gave against landmarks that it did not see.

    Args:
        model: a face model with 68 landmarks.
        encoded: the encoder's answer.
        landmarks: pixels of the 256x256 crop, y down.

    Raises:
        ValueError: another number of frames.
    """
    frames = len(encoded.expression)
    points = inner_landmarks(
        model,
        encoded.identity,
        encoded.expression,
        encoded.pose,
        encoded.crop.expand(frames, 3),
    )
    return ClipFit(
        identity=encoded.identity,
        expression=encoded.expression,
        pose=encoded.pose,
        crop=encoded.crop,
        residual_px=distance_px(points, landmarks),
    )


def _spread(sure: Bool[Tensor, " frames"], count: int) -> Int[Tensor, " kept"]:
    """At most ``count`` measured frames, evenly spread."""
    candidates = sure.nonzero().flatten()
    if len(candidates) == 0:
        candidates = torch.arange(len(sure), device=sure.device)
    places = torch.linspace(0, len(candidates) - 1, min(count, len(candidates)), device=sure.device)
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
    state = points.new_zeros(len(points), MOTION_SIZE)
    scale = (RESCALE / place[:, 0]).clamp(60.0, 160.0)
    depth = FOCAL_PX / scale
    state[:, 69] = DISTANCE - depth
    state[:, 67] = (place[:, 1] - CENTRE_PX) * depth / FOCAL_PX
    state[:, 68] = (place[:, 2] + 1 + CENTRE_PX) * depth / FOCAL_PX
    return state
