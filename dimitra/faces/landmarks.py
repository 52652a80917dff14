"""The 68 iBUG landmarks of a face, and the box that goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import dlib
import numpy as np
from numpy.typing import NDArray

from dimitra.faces.boxes import Box
from dimitra.faces.shape_predictor import ShapePredictor

POINTS = 68
_RIGID = slice(17, 48)
_BOX_CENTRE = np.array([0.0, 0.75], np.float32)
_BOX_SIDE = 4.06


class Landmarker(Protocol):
    """Measures landmarks of many faces whose boxes are known."""

    def measure(
        self,
        images: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        frames: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Landmarks ``[N, 68, 2]`` of faces ``[N]`` in grey images; see ``ShapePredictor``."""
        ...


def load_68(path: Path) -> ShapePredictor:
    """Load the 68 landmarks of dlib's file; they come in fractions of pixels.

    Args:
        path: ``shape_predictor_68_face_landmarks.dat``.

    Raises:
        ValueError: there is no such file, or it holds another predictor.
    """
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(
            f"{path} is no file with bytes, need shape_predictor_68_face_landmarks.dat"
        )
    predictor = ShapePredictor(path)
    if predictor.points != POINTS:
        raise ValueError(f"{path.name} places {predictor.points} points, need {POINTS}")
    return predictor


class Dlib68:
    """dlib's own evaluation of the 68 landmarks: whole pixels, as the papers' metrics have them.

    Args:
        path: ``shape_predictor_68_face_landmarks.dat``.
    """

    def __init__(self, path: Path) -> None:
        self._predictor: Any = dlib.shape_predictor(str(path))

    def measure(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        # dlib reads freed memory when it is given a view that is not contiguous.
        whole = np.ascontiguousarray(image)
        shape = self._predictor(whole, dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


def face_box(landmarks: NDArray[np.float32]) -> Box:
    """Box that the detector would give a face on average, from the landmarks.

    Brows, eyes and nose alone decide, so a moving mouth does not move the box. Size and place
    are medians over dlib detections at three scales in eight videos of eight people.

    Args:
        landmarks: ``[..., 68, 2]``.

    Returns:
        ``[..., 4]``, square.
    """
    rigid = landmarks[..., _RIGID, :]
    centre = rigid.mean(axis=-2)
    spread = np.sqrt(((rigid - centre[..., None, :]) ** 2).sum(axis=-1).mean(axis=-1))[..., None]
    middle = centre + spread * _BOX_CENTRE
    half = spread * (_BOX_SIDE / 2)
    return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)
