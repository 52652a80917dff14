"""Face detection in single images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import dlib
import numpy as np
from numpy.typing import NDArray

from dimitra.faces.boxes import Box


@dataclass(frozen=True)
class Detection:
    """One face.

    Attributes:
        box: x0, y0, x1, y1 in pixels.
        score: the detector's confidence; the larger, the surer. 0 is the detector's own threshold;
            what lies below it is doubtful.
    """

    box: Box
    score: float


@dataclass(frozen=True)
class Near:
    """How a detector seeks a face that it knows, in a picture of the face's surroundings.

    Attributes:
        side_px: of the face's box; a larger face is shrunk to it.
        reach: side of the surroundings, in sides of the box.
    """

    side_px: float
    reach: float


class FaceDetector(Protocol):
    """Finds faces in one image."""

    @property
    def near(self) -> Near | None:
        """None where a part of a picture costs as much as the whole."""
        ...

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Faces in ``[H, W]`` grey or ``[H, W, 3]`` RGB, surest first.

        Boxes follow ``dimitra.faces.landmarks.face_box``: squares from the brows to the chin.
        """
        ...


class DlibDetector:
    """dlib's frontal detector: histograms of oriented gradients (Dalal and Triggs, 2005).

    Trained with max-margin object detection (King, 2015). Finds faces at least 80 pixels wide.

    Args:
        threshold: lowest score returned. Below 0 it also returns what dlib itself would drop,
            which serves to confirm a face that is already known.
    """

    near = Near(side_px=88.0, reach=1.5)

    def __init__(self, threshold: float = 0.0) -> None:
        self._threshold = threshold
        self._detector: Any = dlib.get_frontal_face_detector()

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        # dlib reads freed memory when it is given a view that is not contiguous.
        whole = np.ascontiguousarray(image)
        rectangles, scores, _ = self._detector.run(whole, 0, self._threshold)
        found = [
            Detection(
                np.array(
                    [face.left(), face.top(), face.right() + 1, face.bottom() + 1], np.float32
                ),
                float(score),
            )
            for face, score in zip(rectangles, scores, strict=True)
        ]
        return sorted(found, key=lambda face: (-face.score, *face.box.tolist()))
