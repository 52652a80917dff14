"""F-LMD and M-LMD: distance between the landmarks of generated and ground-truth video.

The paper, supplement: 68 (face) or 20 (mouth) dlib landmarks on 256x256 frames, each frame of the
generated video aligned to the same frame of the ground truth by the Kabsch-Umeyama algorithm with
scale, which takes head pose out of the number; then the mean Euclidean distance over landmarks and
frames, in pixels. Clips in which dlib misses the ground truth are ignored.

The paper does not say whether M-LMD is aligned on the 68 points or on its own 20. ``fit="face"``
reuses the 68-point alignment, since head pose belongs to the whole head; ``fit="mouth"`` aligns
the mouth alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimitra.metrics.procrustes import umeyama

LANDMARKS = 68
MOUTH = slice(48, 68)
"""Mouth points of the 68-point iBUG scheme, counted from 0."""

FitPoints = Literal["face", "mouth"]

GROUND_TRUTH_MISSED = "dlib misses the face in the ground truth"
GENERATED_MISSED = "dlib finds the face in no frame of the generated video"


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of each frame of one video.

    Attributes:
        points: ``[T, 68, 2]`` pixels; rows without a face are ignored and may hold anything.
        found: ``[T]`` bool, the detector found a face in the frame.
    """

    points: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __post_init__(self) -> None:
        frames = len(self.found)
        if self.points.shape != (frames, LANDMARKS, 2) or self.found.ndim != 1:
            raise ValueError(
                f"landmarks {self.points.shape} and detection flags {self.found.shape} "
                f"must be [T, {LANDMARKS}, 2] and [T]"
            )

    @property
    def missed(self) -> int:
        """Frames without a face."""
        return int(len(self.found) - self.found.sum())

    def frozen(self) -> LandmarkTrack:
        """The first frame held for the whole length: the track of a still picture."""
        return LandmarkTrack(
            points=np.repeat(self.points[:1], len(self.found), axis=0),
            found=np.repeat(self.found[:1], len(self.found)),
        )


@dataclass(frozen=True)
class LandmarkDistance:
    """F-LMD and M-LMD of one clip.

    Attributes:
        f_lmd: pixels, None where there is no value.
        m_lmd: pixels, None where there is no value.
        frames: frames that entered the mean.
        missed: frames left out because the generated face was not found.
        reason: why there is no value, else None.
    """

    f_lmd: float | None
    m_lmd: float | None
    frames: int
    missed: int
    reason: str | None = None


def aligned_distances(
    generated: NDArray[np.float64],
    reference: NDArray[np.float64],
    *,
    fit: FitPoints = "face",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of every landmark after aligning each generated frame to its reference frame.

    Args:
        generated: ``[T, 68, 2]`` pixels.
        reference: ``[T, 68, 2]`` pixels.
        fit: points that align the mouth.

    Returns:
        Distances of all points ``[T, 68]`` and of the mouth ``[T, 20]``, in reference pixels.

    Raises:
        ValueError: the shapes differ or a frame's points coincide.
    """
    if generated.shape != reference.shape or generated.shape[1:] != (LANDMARKS, 2):
        raise ValueError(
            f"generated landmarks {generated.shape} and reference landmarks {reference.shape} "
            f"must both be [T, {LANDMARKS}, 2]"
        )
    face = np.linalg.norm(umeyama(generated, reference).apply(generated) - reference, axis=-1)
    if fit == "face":
        return face, face[:, MOUTH]
    own, target = generated[:, MOUTH], reference[:, MOUTH]
    return face, np.linalg.norm(umeyama(own, target).apply(own) - target, axis=-1)


def landmark_distance(
    generated: LandmarkTrack,
    reference: LandmarkTrack,
    *,
    fit: FitPoints = "face",
    max_reference_missed: float = 0.0,
) -> LandmarkDistance:
    """F-LMD and M-LMD of one clip.

    A clip whose ground truth misses the face in more than ``max_reference_missed`` of its frames
    has no value. Frames in which the generated face is not found are left out and counted in
    ``missed``; so are the tolerated ground-truth misses, without being counted there.

    Args:
        generated: track of the generated video, T frames.
        reference: track of the ground-truth video, T frames.
        fit: points that align the mouth.
        max_reference_missed: share of ground-truth frames; 0 is the paper's rule.

    Raises:
        ValueError: the videos differ in length or have no frame.
    """
    frames = len(reference.found)
    if len(generated.found) != frames or frames == 0:
        raise ValueError(
            f"the generated video has {len(generated.found)} frames and the ground truth {frames}: "
            "frame-wise distances need the same number, at least one"
        )
    missed = int((reference.found & ~generated.found).sum())
    if reference.missed > max_reference_missed * frames:
        reason = f"{GROUND_TRUTH_MISSED} ({reference.missed} of {frames} frames)"
        return LandmarkDistance(None, None, 0, missed, reason)
    both = reference.found & generated.found
    if not both.any():
        return LandmarkDistance(None, None, 0, missed, f"{GENERATED_MISSED} ({frames} frames)")
    face, mouth = aligned_distances(generated.points[both], reference.points[both], fit=fit)
    return LandmarkDistance(float(face.mean()), float(mouth.mean()), int(both.sum()), missed)
