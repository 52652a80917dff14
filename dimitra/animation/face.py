"""The face in a photo: where it is, its landmarks, and the square that is animated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimitra.animation.errors import AnimationError
from dimitra.animation.notices import Notify
from dimitra.animation.settings import CropSettings
from dimitra.assets import asset_path
from dimitra.faces.backends import load_detector, load_landmarker
from dimitra.faces.boxes import area, overlap
from dimitra.faces.crop import CropBox, crop_box, cut_off, rescale, to_crop
from dimitra.faces.detector import Detection, FaceDetector
from dimitra.faces.landmarks import Landmarker, face_box
from dimitra.faces.track import measure_steadily

SEARCH_SIDES_PX = (320, 640, 1280, 2560)
"""Longer side of the picture in which a face is sought: the next one where none is found."""
LARGEST_ZOOM = 4
"""A photo is not enlarged further: what then is as large as a face should be is none."""
MIN_CROP_PX = 48
"""Side of the photo's square below which there is no face to speak of."""
SOFT = 0.5
"""Share of the video's side below which the square is said to be small."""
AGAIN_PX = (120, 200)
"""Sides of a face's box at which it is looked at again; dlib finds faces from 80 on."""
AGAIN_REACH = 2.5
"""Side of the surroundings that are then looked at, in sides of the box."""
_SAME_FACE = 0.3


@dataclass(frozen=True, eq=False)
class Face:
    """A face, ready to be fitted.

    Attributes:
        box: the square around the head, pixels of the photo.
        picture: [S, S, 3], that square at the size of ``crop.size``.
        landmarks: [68, 2], pixels of ``picture``.
    """

    box: CropBox
    picture: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


class FaceFinder:
    """Finds the face to animate.

    Args:
        settings: of the crop.

    Raises:
        AssetError: weights are missing.
        InsightFaceError: its package is.
        ValueError: the weights are not of their kind.
    """

    def __init__(self, settings: CropSettings) -> None:
        weights = settings.detector_weights
        self._settings = settings
        self._detector: FaceDetector = load_detector(
            settings.detector, None if weights is None else asset_path(weights)
        )
        self._landmarker: Landmarker = load_landmarker(
            settings.landmarks, asset_path(settings.landmarks_weights)
        )

    def find(self, photo: NDArray[np.uint8], size: int, name: str, notify: Notify) -> Face:
        """The largest face of a photo.

        Args:
            photo: [H, W, 3] RGB.
            size: side of the video, pixels.
            name: of the photo, for messages.
            notify: is told of other faces, and of a small one.

        Raises:
            AnimationError: there is none, it is too small, or the photo's border cuts it.
        """
        height, width = photo.shape[:2]
        grey = Image.fromarray(photo).convert("L")
        found, searched = self._detect(grey, name)
        ranked = sorted(found, key=lambda face: -area(face.box))
        image = np.asarray(grey.resize(searched, Image.Resampling.BICUBIC))[None]
        points = self._landmarker.measure(image, ranked[0].box[None])
        points = self._landmarker.measure(image, face_box(points))
        points = rescale(points, searched, (width, height))
        if cut_off(points, width, height)[0]:
            raise AnimationError(
                f"the border of {name} cuts the face; use a photo that shows all of it"
            )
        box = crop_box(points, width, height, self._settings.margin)
        if box.side < MIN_CROP_PX:
            raise AnimationError(
                f"the head in {name} is {box.side} pixels wide, need at least {MIN_CROP_PX}; use a "
                "larger photo"
            )
        if len(ranked) > 1:
            notify(
                f"{name} shows {len(ranked)} faces; the largest is animated, around column "
                f"{box.x + box.side // 2} and row {box.y + box.side // 2}"
            )
        if box.side < SOFT * size:
            notify(
                f"the head in {name} is {box.side} pixels wide and the video {size}: it will be "
                "soft"
            )
        picture = cut(photo, box, self._settings.size)
        return Face(box, picture, self._landmarks(picture, points, box))

    def _detect(self, grey: Image.Image, name: str) -> tuple[list[Detection], tuple[int, int]]:
        """Faces that are sure, and the size of the picture in which they were found.

        Where there is one, smaller ones are sought at the next size too. Of several, each is looked
        at again by itself: a badge on a sleeve passes for a face at one size, and not at another.
        """
        longest = max(grey.size)
        sides = [side for side in SEARCH_SIDES_PX if side < 2 * LARGEST_ZOOM * longest]
        for side, next_side in zip_longest(sides, sides[1:]):
            size, found = self._sure(grey, side)
            if not found:
                continue
            _, others = (size, []) if next_side is None else self._sure(grey, next_side)
            smaller = [replace(face, box=face.box * (side / next_side)) for face in others]
            faces = _apart(found + smaller)
            if len(faces) > 1:
                again = [face for face in faces if self._stays(grey, face, longest / side)]
                faces = again or _apart(found)
            return faces, size
        raise AnimationError(
            f"no face is found in {name}; it takes a photo of a person who looks at the camera, "
            "well lit, nothing before the face (a profile is not recognised)"
        )

    def _sure(self, grey: Image.Image, side: int) -> tuple[tuple[int, int], list[Detection]]:
        """Size of the picture whose longer side is ``side``, and its faces that are sure."""
        ratio = side / max(grey.size)
        size = (max(1, round(grey.width * ratio)), max(1, round(grey.height * ratio)))
        picture = np.asarray(grey.resize(size, Image.Resampling.BICUBIC))
        return size, [face for face in self._detector.detect(picture) if face.score >= 0.0]

    def _stays(self, grey: Image.Image, face: Detection, scale: float) -> bool:
        """Whether a face is one when it is looked at alone, at one of two other sizes.

        Args:
            grey: the photo.
            face: in a smaller or larger copy of it.
            scale: pixels of the photo per pixel of the copy.
        """
        x0, y0, x1, y1 = (float(edge) * scale for edge in face.box)
        reach = AGAIN_REACH * max(x1 - x0, y1 - y0) / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        around = grey.crop((round(x - reach), round(y - reach), round(x + reach), round(y + reach)))
        for box_px in AGAIN_PX:
            side = round(AGAIN_REACH * box_px)
            picture = np.asarray(around.resize((side, side), Image.Resampling.BICUBIC))
            low, high = (side - box_px) / 2, (side + box_px) / 2
            place = np.array([low, low, high, high], np.float32)
            for found in self._detector.detect(picture):
                if found.score >= 0.0 and overlap(found.box, place) >= _SAME_FACE:
                    return True
        return False

    def _landmarks(
        self, picture: NDArray[np.uint8], points: NDArray[np.float32], box: CropBox
    ) -> NDArray[np.float32]:
        """Landmarks [68, 2], measured again on the crop, as the stage ``crop`` does."""
        size = self._settings.size
        grey = np.asarray(Image.fromarray(picture).convert("L"))
        place = face_box(to_crop(points, box.transform(size)))
        measured = measure_steadily(self._landmarker, grey[None], place)
        return np.asarray(measured[0], np.float32)


def cut(photo: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
    """A square of a photo [size, size, 3], resized with an antialiased filter."""
    part = Image.fromarray(photo[box.y : box.y + box.side, box.x : box.x + box.side])
    return np.array(part.resize((size, size), Image.Resampling.BICUBIC), np.uint8)


def _apart(found: list[Detection]) -> list[Detection]:
    """Detections of different faces, surest first."""
    kept: list[Detection] = []
    for face in found:
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return kept
