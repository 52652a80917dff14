"""MediaPipe's face landmarker: 478 points and 52 blendshape scores of a frame.

Every frame is measured by itself: MediaPipe's video mode smooths over time, which flattens blinks
and closures and makes the answer depend on the frames before. It runs on one thread of the CPU;
the same pixels give the same answer.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.faces.track import interpolate

POINTS = 478
SCORES = 52
_DEBIAN_LIBRARIES = "libgl1 libegl1 libgles2 libglib2.0-0"


@dataclass(frozen=True)
class FaceMesh:
    """MediaPipe's answer for ``T`` frames.

    Attributes:
        points: ``[T, 478, 2]``, pixels (x right, y down, pixel centres at integers).
        scores: ``[T, 52]``, blendshape scores from 0 to 1, in the order of ``score_names``.
        found: ``[T]``, False where the face was not found and the values were interpolated.
    """

    points: NDArray[np.float32]
    scores: NDArray[np.float32]
    found: NDArray[np.bool_]


class MediaPipeLandmarker:
    """Measures the face mesh of single frames.

    Args:
        model: ``face_landmarker.task``.

    Raises:
        RuntimeError: the library, or a system library that it needs, is missing.
        FileNotFoundError: there is no model file.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise FileNotFoundError(
                f"{model} is missing; get it with: dimitra assets fetch mediapipe_landmarker"
            )
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model)),
                running_mode=vision.RunningMode.IMAGE,
                num_faces=1,
                output_face_blendshapes=True,
            )
            self._landmarker: Any = vision.FaceLandmarker.create_from_options(options)
        except (ImportError, OSError) as error:
            raise RuntimeError(
                f"MediaPipe cannot be loaded ({error}). Install it with: pip install "
                f"-c constraints.txt mediapipe; on Debian also: apt-get install "
                f"{_DEBIAN_LIBRARIES}. Or set crop.mesh: none and fit.landmarks: dlib"
            ) from error
        # Its own destructor fails when the interpreter is already being taken down.
        weakref.finalize(self, self._landmarker.close)
        self._mediapipe: Any = mediapipe

    def measure(
        self, image: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Points ``[478, 2]`` and scores ``[52]`` of an RGB image ``[H, W, 3]``; None: no face."""
        height, width = image.shape[:2]
        picture = self._mediapipe.Image(
            self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image)
        )
        answer = self._landmarker.detect(picture)
        if not answer.face_landmarks:
            return None
        # Its coordinates run from 0 to 1 over the outer edges of the picture.
        points = np.array([(p.x * width, p.y * height) for p in answer.face_landmarks[0]]) - 0.5
        scores = [category.score for category in answer.face_blendshapes[0]]
        return points.astype(np.float32), np.array(scores, np.float32)

    def score_names(self, image: NDArray[np.uint8]) -> tuple[str, ...]:
        """Names of the scores, read from the answer for an image with a face.

        Raises:
            ValueError: there is no face in the image.
        """
        picture = self._mediapipe.Image(
            self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image)
        )
        answer = self._landmarker.detect(picture)
        if not answer.face_blendshapes:
            raise ValueError("no face in the image")
        return tuple(category.category_name for category in answer.face_blendshapes[0])


def complete(
    answers: list[tuple[NDArray[np.float32], NDArray[np.float32]] | None],
) -> FaceMesh | None:
    """One mesh of single answers, gaps interpolated; None where every frame lacks a face."""
    found = np.array([answer is not None for answer in answers], np.bool_)
    if not found.any():
        return None
    points = np.zeros((len(answers), POINTS, 2), np.float32)
    scores = np.zeros((len(answers), SCORES), np.float32)
    for index, answer in enumerate(answers):
        if answer is not None:
            points[index], scores[index] = answer
    return FaceMesh(interpolate(points, found), interpolate(scores, found), found)
