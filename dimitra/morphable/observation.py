"""What a clip's landmarks say: observations, what explains them, and how far they are trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dimitra.morphable.camera import crop_to_aligned
from dimitra.morphable.correspondence import Correspondence, ibug_68, mediapipe_478
from dimitra.morphable.model import FaceModel

UNSEEN = 0.1
"""Trust in landmarks that were interpolated."""


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
class Observations:
    """Landmarks of some frames.

    Attributes:
        seen: the model points that explain them.
        points: pixels of the 224 frame.
        weights: of each landmark; 1 is a noise of ``settings.noise_px``.
        scores: blendshape scores; none where the source has none.
        trust: 1, or ``UNSEEN`` where a frame was interpolated.
        settings: of the fit.
    """

    seen: Correspondence
    points: Float[Tensor, "frames points 2"]
    weights: Float[Tensor, "frames points"]
    scores: Float[Tensor, "frames scores"]
    trust: Float[Tensor, " frames"]
    settings: FitSettings

    def take(self, frames: Int[Tensor, " kept"] | slice) -> Observations:
        """The same of some frames."""
        return replace(
            self,
            points=self.points[frames],
            weights=self.weights[frames],
            scores=self.scores[frames],
            trust=self.trust[frames],
        )


def observe(
    model: FaceModel,
    landmarks: Float[Tensor, "frames 68 2"],
    sure: Bool[Tensor, " frames"],
    mesh: MeshLandmarks | None,
    crop: Float[Tensor, "3"],
    settings: FitSettings,
) -> Observations:
    """Observations of a clip, in the aligned frame.

    Args:
        model: a face model.
        landmarks: of dlib, pixels of the crop.
        sure: where they were measured.
        mesh: MediaPipe's answer, used instead where given.
        crop: alignment of the clip.
        settings: of the fit.

    Raises:
        ValueError: mesh and landmarks have different numbers of frames, or a mesh is no mesh.
    """
    frames = len(landmarks)
    if mesh is None:
        seen, points, scores = ibug_68(model), landmarks, landmarks.new_zeros(frames, 0)
    else:
        seen, sure = mediapipe_478(model), mesh.found.to(landmarks.device)
        points = mesh.points.to(landmarks)
        if seen.scores is None or len(points) != frames:
            raise ValueError(f"{len(points)} frames of mesh landmarks beside {frames} of iBUG's")
        _check_mesh(mesh)
        scores = mesh.scores.to(landmarks)[:, seen.scores.columns]
    trust = torch.where(sure, 1.0, UNSEEN).to(torch.float64)
    return Observations(
        seen=seen,
        points=crop_to_aligned(points[:, seen.indices], crop.expand(frames, 3)),
        weights=trust[:, None] * seen.weights,
        scores=scores,
        trust=trust,
        settings=settings,
    )


def _check_mesh(mesh: MeshLandmarks) -> None:
    frames = len(mesh.points)
    for name, array, shape in (
        ("points", mesh.points, (frames, 478, 2)),
        ("scores", mesh.scores, (frames, 52)),
        ("found", mesh.found, (frames,)),
    ):
        if tuple(array.shape) != shape:
            raise ValueError(f"mesh {name} are {list(array.shape)}, expected {list(shape)}")
        if not bool(torch.isfinite(array).all()):
            raise ValueError(f"mesh {name} are not finite")
