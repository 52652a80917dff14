"""Following one face through a video.

The detector looks at every k-th frame; in between, each frame's landmarks start from the box of
the frame before, which is faster than detection and does not jump. When detector and landmarks
disagree about who is in the picture, the detector looks at every frame of that stretch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dimitra.clips import ClipError, Reason
from dimitra.faces.boxes import Box, area, overlap
from dimitra.faces.detector import Detection, FaceDetector
from dimitra.faces.landmarks import Landmarker, face_box

_SAME_FACE = 0.3
_SURE = 0.0
_AMBIGUOUS = 0.8
_SMOOTHING_FRAMES = 1.5


@dataclass(frozen=True)
class Track:
    """One face over ``T`` frames, in pixels of the frames that were searched.

    Attributes:
        landmarks: ``[T, 68, 2]``; interpolated where ``detected`` is False.
        detected: ``[T]``, the face was found in this frame.
    """

    landmarks: NDArray[np.float32]
    detected: NDArray[np.bool_]

    @property
    def missing(self) -> float:
        """Share of frames without the face."""
        return 1.0 - float(self.detected.mean())


@dataclass
class _Face:
    """A face under way: landmarks of the frames in which it was seen."""

    seen: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    active: bool = True

    @property
    def last(self) -> NDArray[np.float32]:
        return self.seen[max(self.seen)]

    @property
    def box(self) -> Box:
        return face_box(self.last)

    def weight(self) -> float:
        """Area summed over the frames: large and steady faces weigh most."""
        return sum(area(face_box(points)) for points in self.seen.values())


class FaceTracker:
    """Follows all faces of a video and picks the largest and steadiest.

    Args:
        detector: finds faces; should also return doubtful ones (negative scores), which confirm
            faces already known but never start one.
        landmarker: measures landmarks.
        detect_every: frames between two looks of the detector.
    """

    def __init__(
        self, detector: FaceDetector, landmarker: Landmarker, detect_every: int = 10
    ) -> None:
        if detect_every < 1:
            raise ValueError(f"detect_every is {detect_every}, need at least 1")
        self._detector = detector
        self._landmarker = landmarker
        self._every = detect_every

    def follow(self, images: Iterable[NDArray[np.uint8]], name: str = "clip") -> Track:
        """Track the main face.

        Args:
            images: ``[H, W]`` grey or ``[H, W, 3]`` RGB frames of one size.
            name: of the clip, for messages.

        Raises:
            ClipError: NO_FACE, or SEVERAL_FACES where two faces weigh nearly the same.
        """
        faces: list[_Face] = []
        stretch: list[NDArray[np.uint8]] = []
        count = 0
        for index, image in enumerate(images):
            count = index + 1
            stretch.append(image)
            if index % self._every == 0:
                self._follow_stretch(faces, stretch, index)
                stretch.clear()
        if stretch:
            self._follow_stretch(faces, stretch, count - 1)
        if not faces:
            raise ClipError(
                Reason.NO_FACE, f"{name}: no face found in {count} frames; is it a talking head?"
            )
        return _complete(_choose(faces, name), count)

    def _follow_stretch(
        self, faces: list[_Face], images: list[NDArray[np.uint8]], index: int
    ) -> None:
        """Extend the faces over ``images``, the last of which is frame ``index``."""
        first = index - len(images) + 1
        active = [face for face in faces if face.active]
        tracked = [self._by_landmarks(face.last, images) for face in active]
        boxes = [face_box(points[-1]) for points in tracked]
        found = self._detector.detect(images[-1])
        pairs = _match(boxes, found)
        newcomers = [
            face
            for number, face in enumerate(found)
            if face.score >= _SURE and number not in pairs.values()
        ]
        if len(pairs) == len(active) and not newcomers:
            for face, points in zip(active, tracked, strict=True):
                face.seen.update({first + step: point for step, point in enumerate(points)})
            return
        for step, image in enumerate(images[:-1]):
            self._by_detection(faces, image, self._detector.detect(image), first + step)
        self._by_detection(faces, images[-1], found, index)

    def _by_landmarks(
        self, start: NDArray[np.float32], images: list[NDArray[np.uint8]]
    ) -> list[NDArray[np.float32]]:
        points = [start]
        for image in images:
            points.append(self._landmarker.measure(image, face_box(points[-1])))
        return points[1:]

    def _by_detection(
        self,
        faces: list[_Face],
        image: NDArray[np.uint8],
        found: list[Detection],
        index: int,
    ) -> None:
        pairs = _match([face.box for face in faces], found)
        for number, face in enumerate(faces):
            face.active = number in pairs
            if face.active:
                face.seen[index] = self._measure(image, found[pairs[number]].box)
        for number, detection in enumerate(found):
            if detection.score >= _SURE and number not in pairs.values():
                faces.append(_Face({index: self._measure(image, detection.box)}))

    def _measure(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        # The second pass starts from the box that tracking uses: detections jump in steps of
        # their image pyramid.
        rough = self._landmarker.measure(image, box)
        return self._landmarker.measure(image, face_box(rough))


def _match(boxes: list[Box], found: list[Detection]) -> dict[int, int]:
    """Pair known faces with detections, greatest overlap first."""
    candidates = sorted(
        (
            (overlap(box, detection.box), known, number)
            for known, box in enumerate(boxes)
            for number, detection in enumerate(found)
        ),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    pairs: dict[int, int] = {}
    for common, known, number in candidates:
        if common >= _SAME_FACE and known not in pairs and number not in pairs.values():
            pairs[known] = number
    return pairs


def _choose(faces: list[_Face], name: str) -> _Face:
    ranked = sorted(faces, key=lambda face: (-face.weight(), min(face.seen)))
    best = ranked[0]
    for other in ranked[1:]:
        together = len(best.seen.keys() & other.seen.keys())
        if together and other.weight() >= _AMBIGUOUS * best.weight():
            raise ClipError(
                Reason.SEVERAL_FACES,
                f"{name}: two faces of nearly the same size are visible in {together} frames; "
                "cut the clip so that one person is the largest",
            )
    return best


def _complete(face: _Face, count: int) -> Track:
    detected = np.zeros(count, np.bool_)
    indices = np.array(sorted(face.seen))
    detected[indices] = True
    seen = np.stack([face.seen[int(index)] for index in indices])
    landmarks = np.empty((count, *seen.shape[1:]), np.float32)
    landmarks[indices] = seen
    return Track(interpolate(landmarks, detected), detected)


def interpolate(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the frames that are not ``known`` linearly in time; ends are held.

    Args:
        values: ``[T, ...]``.
        known: ``[T]``, at least one True.
    """
    frames = np.arange(len(known))
    flat = values.reshape(len(known), -1)
    filled = np.stack(
        [np.interp(frames, frames[known], column[known]) for column in flat.T], axis=1
    )
    return np.where(known[:, None], flat, filled).reshape(values.shape).astype(np.float32)


def smooth_boxes(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Face boxes ``[T, 4]`` of tracked landmarks ``[T, 68, 2]``, smoothed over a few frames."""
    boxes = face_box(landmarks)
    smooth = gaussian_filter1d(boxes, _SMOOTHING_FRAMES, axis=0, mode="nearest")
    return np.asarray(smooth, dtype=np.float32)


def measure_steadily(
    landmarker: Landmarker, image: NDArray[np.uint8], box: Box
) -> NDArray[np.float32]:
    """Landmarks ``[68, 2]`` as the mean over three slightly different boxes.

    The mean answers in fractions of pixels and shakes less than a single measurement.
    """
    slack = np.array([-1.0, -1.0, 1.0, 1.0], np.float32) * float(box[2] - box[0]) * 0.015
    answers = [landmarker.measure(image, box + step * slack) for step in (-1.0, 0.0, 1.0)]
    return np.asarray(np.mean(answers, axis=0), np.float32)
