"""Detector and landmarks by the names that ``crop.detector`` and ``crop.landmarks`` have."""

from __future__ import annotations

from pathlib import Path

from dimitra.faces.detector import DlibDetector, FaceDetector
from dimitra.faces.insightface import InsightFaceDetector, InsightFaceLandmarks
from dimitra.faces.landmarks import Landmarker, load_68

_DLIB_DOUBTFUL = -0.5
_SCRFD_DOUBTFUL = 0.3


def load_detector(kind: str, weights: Path | None) -> FaceDetector:
    """A detector that also returns doubtful faces, as the tracker wants it.

    Args:
        kind: ``dlib`` or ``insightface``.
        weights: of InsightFace's.

    Raises:
        InsightFaceError: the package is missing.
        ValueError: there is no such kind, or the weights are not its own.
    """
    if kind == "dlib" and weights is None:
        return DlibDetector(_DLIB_DOUBTFUL)
    if kind == "insightface" and weights is not None:
        return InsightFaceDetector(weights, doubtful=_SCRFD_DOUBTFUL)
    raise ValueError(
        f"detector {kind!r} with weights {weights}: dlib brings its own, insightface needs a file"
    )


def load_landmarker(kind: str, weights: Path) -> Landmarker:
    """A source of the 68 landmarks.

    Args:
        kind: ``dlib`` or ``insightface``.
        weights: dlib's predictor, or InsightFace's ``1k3d68.onnx`` or model pack.

    Raises:
        InsightFaceError: the package is missing.
        ValueError: there is no such kind, or the weights are not its own.
    """
    if kind == "dlib":
        return load_68(weights)
    if kind == "insightface":
        return InsightFaceLandmarks(weights)
    raise ValueError(f"no landmarks are called {kind!r}; there are dlib and insightface")
