"""Descriptors of faces: vectors that are near for pictures of one person.

``dlib_face_recognition`` is dlib's ResNet (King 2017; 128 values; the file is CC0). InsightFace's
packs hold ArcFace (Deng et al., CVPR 2019; 512 values), for non-commercial research.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimitra.faces.landmarks import POINTS
from dimitra.metrics.procrustes import umeyama

ARCFACE_SIDE = 112
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]],
)  # fmt: skip
"""Where ArcFace's training pictures have eyes, nose and corners of the mouth, pixels of 112."""
_EYES, _NOSE, _CORNERS = ((36, 42), (42, 48)), 30, (48, 54)
_DLIB_SIDE, _DLIB_PAD = 150, 0.25
_PACK = "w600k_r50.onnx"


class FaceEmbedder(Protocol):
    """A network that describes faces."""

    def describe(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Descriptor ``[D]`` of the face at 68 landmarks ``[68, 2]`` of an RGB ``[H, W, 3]``."""
        ...


class DlibFaces:
    """dlib's face recognition network, 128 values.

    Args:
        path: ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises:
        RuntimeError: the file is of another network.
    """

    def __init__(self, path: Path) -> None:
        self._network: Any = dlib.face_recognition_model_v1(str(path))

    def describe(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in landmarks])
        (left, top), (right, bottom) = landmarks.min(axis=0), landmarks.max(axis=0)
        box = dlib.rectangle(int(left), int(top), int(right), int(bottom))
        shape = dlib.full_object_detection(box, points)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), shape, _DLIB_SIDE, _DLIB_PAD)
        return np.asarray(self._network.compute_face_descriptor(chip), dtype=np.float64)


class ArcFace:
    """ArcFace from an ONNX file, 512 values in InsightFace's own.

    Args:
        path: the file, or a model pack that holds ``w600k_r50.onnx``.

    Raises:
        ValueError: there is no such network.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        file = path / _PACK if path.is_dir() else path
        if not file.is_file():
            raise ValueError(f"{path} holds no {_PACK}: give a recognition network or its pack")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        taken = self._session.get_inputs()[0]
        self._input: str = taken.name
        if list(taken.shape[1:]) != [3, ARCFACE_SIDE, ARCFACE_SIDE]:
            raise ValueError(
                f"{file.name} takes {list(taken.shape)}, need [N, 3, {ARCFACE_SIDE}, "
                f"{ARCFACE_SIDE}]: a face recognition network of InsightFace"
            )

    def describe(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        face = aligned_face(image, landmarks).astype(np.float32)
        batch = ((face - 127.5) / 127.5).transpose(2, 0, 1)[None]
        found = self._session.run(None, {self._input: batch})[0][0]
        return np.asarray(found, dtype=np.float64)


def aligned_face(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The face turned and scaled as ArcFace was trained: ``[112, 112, 3]``, black outside.

    Args:
        image: ``[H, W, 3]``.
        landmarks: ``[68, 2]`` pixels.

    Raises:
        ValueError: other landmarks.
    """
    if landmarks.shape != (POINTS, 2):
        raise ValueError(f"landmarks of shape {landmarks.shape} must be [{POINTS}, 2]")
    eyes = [landmarks[start:end].mean(axis=0) for start, end in _EYES]
    points = np.stack([*eyes, landmarks[_NOSE], *(landmarks[place] for place in _CORNERS)])
    there = umeyama(points, _TEMPLATE)
    turn = there.rotation.T / there.scale
    # Pillow counts pixels' corners, landmarks their centres.
    shift = 0.5 - turn @ (there.translation + 0.5)
    affine = (*turn[0], shift[0], *turn[1], shift[1])
    picture = Image.fromarray(image).transform(
        (ARCFACE_SIDE, ARCFACE_SIDE),
        Image.Transform.AFFINE,
        tuple(float(value) for value in affine),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(picture)


def cosine(one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    """Cosine of two descriptors ``[D]``.

    Raises:
        ValueError: the shapes differ, or one of them is zero.
    """
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    if one.shape != two.shape or one.ndim != 1 or lengths == 0.0:
        raise ValueError(f"descriptors {one.shape} and {two.shape} must both be [D] and not zero")
    return float(np.dot(one, two) / lengths)
