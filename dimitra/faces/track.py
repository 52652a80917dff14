"""Following one face through a video.

The detector looks at every k-th frame, mostly only around the face where it was last; in between,
boxes go in a straight line. Landmarks are measured in every second frame, a block of frames at
once, from these boxes. Where the detector does not find again what it knew, or finds somebody
else, it looks at every frame of that stretch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from dimitra.clips import ClipError, Reason
from dimitra.faces.boxes import Box, overlap
from dimitra.faces.detector import Detection, FaceDetector, Near
from dimitra.faces.landmarks import Landmarker, face_box

BLOCK = 128
"""Frames measured at once, at least: enough that reading the landmarker's trees from memory costs
little a frame; and all that the tracker keeps of a long video."""

_SAME_FACE = 0.3
_SURE = 0.0
_AMBIGUOUS = 0.8
_SMOOTHING_FRAMES = 1.5
_WHOLE_EVERY = 5
"""Looks between two at the whole picture; the others are at the surroundings of known faces."""
_TRIALS = (-0.03, 0.03)
_MISPLACED = 0.15
"""A box further off than this share of its side is measured again from where the face was."""


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
    """A face under way.

    Attributes:
        box: where it was last.
        places: boxes in the frames of the present block.
        seen: landmarks in the frames of earlier blocks.
        active: whether it was there in the frame last looked at.
    """

    box: Box
    places: dict[int, Box] = field(default_factory=dict)
    seen: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    active: bool = True

    def move(self, index: int, box: Box) -> None:
        """The detector found it in frame ``index``."""
        self.box = self.places[index] = box

    def between(self, index: int) -> bool:
        """An odd frame of the block whose neighbours show the face: half way between them."""
        return index % 2 == 1 and index - 1 in self.places and index + 1 in self.places

    def weight(self) -> float:
        """Area summed over the frames: large and steady faces weigh most."""
        boxes = face_box(np.stack(list(self.seen.values())))
        return float(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, dtype=np.float64).sum())


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
            images: ``[H, W]`` grey frames of one size; each is copied before the next is asked for.
            name: of the clip, for messages.

        Raises:
            ClipError: NO_FACE, or SEVERAL_FACES where two faces weigh nearly the same.
        """
        faces: list[_Face] = []
        block = np.empty((0, 0, 0), np.uint8)
        count = first = looked = 0  # frames so far, begin of the block, frames up to the last look
        for index, image in enumerate(images):
            if index == 0:
                block = np.empty((BLOCK + self._every, *image.shape), np.uint8)
            block[index - first] = image
            count = index + 1
            if index % self._every == 0:
                self._follow_stretch(faces, block[looked - first : count - first], index)
                looked = count
                if count - first >= BLOCK:
                    self._measure(faces, block, first)
                    first = count
        if looked < count:
            self._follow_stretch(faces, block[looked - first : count - first], count - 1)
        self._measure(faces, block, first)
        if not faces:
            raise ClipError(
                Reason.NO_FACE, f"{name}: no face found in {count} frames; is it a talking head?"
            )
        return _complete(_choose(faces, name), count)

    def _follow_stretch(self, faces: list[_Face], images: NDArray[np.uint8], index: int) -> None:
        """Extend the faces over ``images``, the last of which is frame ``index``."""
        first = index - len(images) + 1
        active = [face for face in faces if face.active]
        whole = index % self._every == 0 and index // self._every % _WHOLE_EVERY == 0
        how = self._detector.near
        near = None if whole or how is None else self._look_near(active, images[-1], how)
        found = self._detector.detect(images[-1]) if near is None else near
        pairs = _match([face.box for face in active], found)
        newcomers = [
            face
            for number, face in enumerate(found)
            if face.score >= _SURE and number not in pairs.values()
        ]
        if len(pairs) == len(active) and not newcomers:
            for number, face in enumerate(active):
                start, end = face.box, found[pairs[number]].box
                for step in range(1, len(images) + 1):
                    share = np.float32(step / len(images))
                    face.move(first + step - 1, start + share * (end - start))
            return
        for step, image in enumerate(images[:-1]):
            self._by_detection(faces, self._detector.detect(image), first + step)
        self._by_detection(faces, found, index)

    def _look_near(
        self, known: list[_Face], image: NDArray[np.uint8], how: Near
    ) -> list[Detection] | None:
        """Known faces, each near where it was; None unless every one is there, and apart."""
        near = [self._near(face.box, image, how) for face in known]
        found = [detection for detection in near if detection is not None]
        apart = all(
            overlap(one.box, other.box) < _SAME_FACE
            for number, one in enumerate(found)
            for other in found[:number]
        )
        return found if known and len(found) == len(known) and apart else None

    def _near(self, box: Box, image: NDArray[np.uint8], how: Near) -> Detection | None:
        """The face that fits ``box`` best, sought around it in a picture of its own."""
        height, width = image.shape
        side = float(box[2] - box[0])
        middle, reach = (box[:2] + box[2:]) / 2, how.reach * side / 2
        low = np.floor(np.maximum(middle - reach, 0.0)).astype(int)
        high = np.ceil(np.minimum(middle + reach, (width, height))).astype(int)
        if (high <= low).any():
            return None
        scale = min(1.0, how.side_px / side)
        part = Image.fromarray(image[low[1] : high[1], low[0] : high[0]])
        size = np.maximum(1, np.rint((high - low) * scale)).astype(int)
        if scale < 1.0:
            part = part.resize((int(size[0]), int(size[1])), Image.Resampling.BILINEAR)
        ratio, corner = np.tile((high - low) / size, 2), np.tile(low, 2)
        found = [
            Detection((face.box * ratio + corner).astype(np.float32), face.score)
            for face in self._detector.detect(np.asarray(part))
        ]
        best = max(found, key=lambda face: overlap(face.box, box), default=None)
        return None if best is None or overlap(best.box, box) < _SAME_FACE else best

    def _by_detection(self, faces: list[_Face], found: list[Detection], index: int) -> None:
        pairs = _match([face.box for face in faces], found)
        for number, face in enumerate(faces):
            face.active = number in pairs
            if face.active:
                face.move(index, found[pairs[number]].box)
        for number, detection in enumerate(found):
            if detection.score >= _SURE and number not in pairs.values():
                faces.append(_Face(detection.box, {index: detection.box}))

    def _measure(self, faces: list[_Face], images: NDArray[np.uint8], first: int) -> None:
        """Landmarks of all faces in a block whose first frame has the number ``first``."""
        at = [
            (face, index)
            for face in faces
            for index in sorted(face.places)
            if not face.between(index)
        ]
        if not at:
            return
        boxes = np.stack([face.places[index] for face, index in at])
        frames = np.array([index - first for _, index in at])
        points = self._landmarker.measure(images, boxes, frames)
        settled = face_box(points)
        side = boxes[:, 2] - boxes[:, 0]
        again = np.abs(settled - boxes).max(axis=1) > _MISPLACED * side
        if again.any():
            points[again] = self._landmarker.measure(images, settled[again], frames[again])
        for (face, index), point in zip(at, points, strict=True):
            face.seen[index] = point
        for face in faces:
            for index in face.places:
                if face.between(index):
                    ends = face.seen[index - 1] + face.seen[index + 1]
                    face.seen[index] = np.float32(0.5) * ends
        for face in faces:
            if face.places:
                face.box = face_box(face.seen[max(face.places)])
                face.places.clear()


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
    if known.all():
        return values.astype(np.float32)
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
    landmarker: Landmarker,
    images: NDArray[np.uint8],
    boxes: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Landmarks ``[T, 68, 2]`` as the mean over slightly different boxes.

    The mean shakes less than a single measurement.

    Args:
        landmarker: measures landmarks.
        images: ``[T, H, W]`` grey.
        boxes: ``[T, 4]``.
    """
    slack = (boxes[:, 2:3] - boxes[:, :1]) * np.array([-1.0, -1.0, 1.0, 1.0], np.float32)
    trials = np.concatenate([boxes + np.float32(step) * slack for step in _TRIALS])
    frames = np.tile(np.arange(len(boxes)), len(_TRIALS))
    found = landmarker.measure(images, trials, frames)
    return np.asarray(found.reshape(len(_TRIALS), -1, *found.shape[1:]).mean(axis=0), np.float32)
