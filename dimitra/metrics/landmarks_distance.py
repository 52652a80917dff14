"""F-LMD and M-LMD: distance between the landmarks of generated and ground-truth video.

The paper, supplement: 68 (face) or 20 (mouth) dlib landmarks on 256x256 frames, each frame of the
generated video aligned to the same frame of the ground truth by the Kabsch-Umeyama algorithm with
scale, which takes head pose out of the number; then the mean Euclidean distance over landmarks and
frames, in pixels. Clips in which dlib misses the ground truth are ignored.

The paper does not say whether M-LMD is aligned on the 68 points or on its own 20. ``fit="face"``
reuses the 68-point alignment, since head pose belongs to the whole head; ``fit="mouth"`` aligns
the mouth alone. Nor does it say which of the two is moved: ``direction="to_reference"`` moves the
generated frame, so that distances are in ground-truth pixels. ``landmark_readings`` has all of
them, and those without alignment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimitra.metrics.procrustes import umeyama

LANDMARKS = 68
MOUTH = slice(48, 68)
"""Mouth points of the 68-point iBUG scheme, counted from 0."""

FitPoints = Literal["face", "mouth"]
Direction = Literal["to_reference", "to_generated"]
"""Which frame stays where it is: the least squares, and so the distances, are in its pixels."""

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
    direction: Direction = "to_reference",
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
        direction: which of the two is aligned to the other.
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
    moved, held = generated.points[both], reference.points[both]
    if direction == "to_generated":
        moved, held = held, moved
    face, mouth = aligned_distances(moved, held, fit=fit)
    return LandmarkDistance(float(face.mean()), float(mouth.mean()), int(both.sum()), missed)


@dataclass(frozen=True)
class LandmarkReadings:
    """What F-LMD and M-LMD of one clip are, read otherwise.

    Attributes:
        values: keys of ``dimitra.metrics.definitions.LANDMARK_METRICS`` to pixels; None where there
            is no value.
        reason: why there are none, else None.
    """

    values: Mapping[str, float | None]
    reason: str | None = None


def landmark_readings(
    generated: LandmarkTrack, reference: LandmarkTrack, *, max_reference_missed: float = 0.0
) -> LandmarkReadings:
    """Both fits of the mouth, the other direction, and no alignment at all.

    Args:
        generated: track of the generated video, T frames.
        reference: track of the ground-truth video, T frames.
        max_reference_missed: as in ``landmark_distance``.

    Raises:
        ValueError: the videos differ in length or have no frame.
    """

    def measured(fit: FitPoints, direction: Direction) -> LandmarkDistance:
        return landmark_distance(
            generated,
            reference,
            fit=fit,
            direction=direction,
            max_reference_missed=max_reference_missed,
        )

    face, back = measured("face", "to_reference"), measured("face", "to_generated")
    raw_face = raw_mouth = None
    if face.reason is None:
        both = generated.found & reference.found
        raw = np.linalg.norm(generated.points[both] - reference.points[both], axis=-1)
        raw_face, raw_mouth = float(raw.mean()), float(raw[:, MOUTH].mean())
    return LandmarkReadings(
        {
            "m_lmd_face": face.m_lmd,
            "m_lmd_mouth": measured("mouth", "to_reference").m_lmd,
            "f_lmd_back": back.f_lmd,
            "m_lmd_back": back.m_lmd,
            "f_lmd_raw": raw_face,
            "m_lmd_raw": raw_mouth,
        },
        face.reason,
    )
