"""InsightFace's detector and landmarks, run by the ``insightface`` package on ONNX files.

The package's own classes decode the networks: ``SCRFD`` (Guo et al., 2021) and ``Landmark`` (the
68 points of ``1k3d68.onnx``, whose first two coordinates are used). The files are a user's: a model
pack as ``insightface-cli model.download buffalo_l`` leaves it, or single files. Their licence is
non-commercial research.

Sessions run on one thread of the CPU unless other providers are asked for. On one type of CPU the
same pixels give the same answer; between types the last bits of a network's sums differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.faces.boxes import Box
from dimitra.faces.detector import Detection, Near
from dimitra.faces.landmarks import POINTS

CPU = ("CPUExecutionProvider",)
THRESHOLD = 0.5
"""SCRFD's score from which on the package itself calls something a face."""

_DETECTORS = ("det_*.onnx", "scrfd_*.onnx")
_LANDMARKS = ("1k3d68.onnx",)
_STRIDE = 32
_LEVELS = 3
_WIDTHS = {2: (1, 4), 3: (1, 4, 10)}
"""Values an anchor: score, box and, in detectors with them, five points."""
_INPUT_PX = 192
_MESH_VALUES = 3309
"""Of ``1k3d68.onnx``: 1,103 points in three coordinates, of which the last 68 count."""
_SIDE = 0.78
_BELOW = 0.045
"""Side of a face box, and how far its centre lies below SCRFD's, in longer sides of SCRFD's box:
medians over 252 frames of nine videos of nine people at two scales (0.778, 0.044)."""


_NEAR = Near(side_px=64.0, reach=2.0)
"""A picture of 128 x 128, in which the face is 82 pixels high: where SCRFD is surest."""


class InsightFaceError(RuntimeError):
    """The package is not installed; the message says how to get it."""


class FaceWeightsError(ValueError):
    """A file holds no network of the kind that is needed; the message names file and values."""


class InsightFaceDetector:
    """SCRFD, through ``insightface``.

    It finds faces from about 30 to 300 pixels high. Boxes are brought to ``face_box``'s
    convention, so that tracker and landmarks need not know where they come from.

    Args:
        weights: a detector file, or a model pack that holds one.
        threshold: lowest score that starts a face, 0 to 1; a ``Detection``'s score counts from it.
        doubtful: lowest score returned; at most ``threshold``.
        providers: of onnxruntime, in its own names.

    Raises:
        InsightFaceError: the package is missing.
        FaceWeightsError: the weights are no such detector.
        ValueError: the scores are out of order.
    """

    def __init__(
        self,
        weights: Path,
        threshold: float = THRESHOLD,
        doubtful: float = THRESHOLD,
        providers: Sequence[str] = CPU,
    ) -> None:
        if not 0.0 < doubtful <= threshold <= 1.0:
            raise ValueError(
                f"doubtful {doubtful}, threshold {threshold}: need 0 < doubtful <= threshold <= 1"
            )
        path = _file(weights, _DETECTORS, "detector")
        session = _open(path, providers)
        free = _check_detector(session, path)
        from insightface.model_zoo import SCRFD

        self._network: Any = SCRFD(
            model_file=str(path), session=session, static_shape_sessions=False
        )
        self._threshold = threshold
        self._doubtful = doubtful
        self._fixed = None if free else _shape(session.get_inputs()[0])[2:]
        self.near = _NEAR if free else None

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        canvas = self._canvas(image)
        found, _ = self._network.detect(
            canvas, input_size=(canvas.shape[1], canvas.shape[0]), det_thresh=self._doubtful
        )
        faces = [
            Detection(to_face_box(row[:4]), float(row[4]) - self._threshold)
            for row in found
            if row[2] > row[0] and row[3] > row[1]
        ]
        return sorted(faces, key=lambda face: (-face.score, *face.box.tolist()))

    def _canvas(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Three channels, BGR, on black of a size that the network takes as it is.

        The package would resize anything else, which costs sharpness, and changes how large a
        face is in a network of fixed size.
        """
        height, width = image.shape[:2]
        if self._fixed is None:
            size = [-(-side // _STRIDE) * _STRIDE for side in (height, width)]
        else:
            size = [
                max(side, fixed) for side, fixed in zip((height, width), self._fixed, strict=True)
            ]
        canvas = np.zeros((*size, 3), np.uint8)
        canvas[:height, :width] = image[..., None] if image.ndim == 2 else image[..., ::-1]
        return canvas


class InsightFaceLandmarks:
    """The 68 iBUG landmarks of ``1k3d68.onnx``, through ``insightface``.

    Args:
        weights: the file, or a model pack that holds it.
        providers: of onnxruntime, in its own names.

    Raises:
        InsightFaceError: the package is missing.
        FaceWeightsError: the weights are no such network.
    """

    def __init__(self, weights: Path, providers: Sequence[str] = CPU) -> None:
        path = _file(weights, _LANDMARKS, "landmarks")
        session = _open(path, providers)
        _check_landmarks(session, path)
        from insightface.model_zoo import Landmark

        self._network: Any = Landmark(model_file=str(path), session=session)
        self._network.require_pose = False

    def measure(
        self,
        images: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        frames: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Landmarks of many faces, one after the other.

        Args:
            images: ``[T, H, W]`` grey.
            boxes: ``[N, 4]`` in ``face_box``'s convention, pixels.
            frames: ``[N]``, the image of each box; without it box ``i`` lies in image ``i``.

        Returns:
            ``[N, 68, 2]`` in pixels, centres at integers.

        Raises:
            ValueError: the shapes do not fit together.
        """
        if images.ndim != 3 or boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(
                f"images are {images.shape} and boxes {boxes.shape}, need [T, H, W] and [N, 4]"
            )
        where = np.arange(len(images)) if frames is None else np.asarray(frames, np.int64)
        if where.shape != (len(boxes),):
            raise ValueError(f"{len(boxes)} boxes lie in {len(where)} images")
        from insightface.app.common import Face

        points = np.empty((len(boxes), POINTS, 2), np.float32)
        for row, (index, box) in enumerate(zip(where, boxes, strict=True)):
            picture = np.repeat(images[index][..., None], 3, axis=2)
            points[row] = self._network.get(picture, Face(bbox=from_face_box(box)))[:, :2]
        return points


def to_face_box(box: NDArray[np.float32]) -> Box:
    """The square ``face_box`` that goes with a box ``[4]`` of SCRFD."""
    side = float(max(box[2] - box[0], box[3] - box[1]))
    middle = (box[:2] + box[2:]) / 2 + np.array([0.0, _BELOW * side])
    half = _SIDE * side / 2
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def from_face_box(box: Box) -> Box:
    """Square with the centre and the longer side of SCRFD's box: ``to_face_box`` undone."""
    side = float(box[2] - box[0]) / _SIDE
    middle = (box[:2] + box[2:]) / 2 - np.array([0.0, _BELOW * side])
    return np.concatenate([middle - side / 2, middle + side / 2]).astype(np.float32)


def _file(weights: Path, patterns: Sequence[str], what: str) -> Path:
    """The file itself, or the one of its kind in a model pack."""
    if not weights.is_dir():
        return weights
    found = sorted({path for pattern in patterns for path in weights.rglob(pattern)})
    if len(found) != 1:
        there = ", ".join(sorted(path.name for path in weights.rglob("*.onnx"))) or "none"
        raise FaceWeightsError(
            f"{weights} holds {len(found)} files {' or '.join(patterns)}, need one with "
            f"InsightFace's {what}; its .onnx files: {there}. Name the file itself"
        )
    return found[0]


def _open(path: Path, providers: Sequence[str]) -> Any:
    """Session of a file that is ONNX, on one thread."""
    try:
        import cv2
        import insightface  # noqa: F401
        import onnx
        import onnxruntime
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InsightFaceError(
            f"InsightFace cannot be loaded ({error}). Get it with: pip install -c constraints.txt "
            "-e '.[insightface]' && pip install --no-deps insightface==2.1 (docs/media.md says why "
            "two commands)"
        ) from error
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if not path.is_file():
        raise FaceWeightsError(f"{path} is not a file, need an ONNX network of InsightFace's")
    cv2.setNumThreads(1)  # as every numeric library in a worker
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except DecodeError:
        model = None
    if model is None or not model.graph.node:
        raise FaceWeightsError(
            f"{path} is no ONNX file ({path.stat().st_size} bytes, begins with "
            f"{path.open('rb').read(8)!r})"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    refusals = (
        *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
        *(state.NoSuchFile, state.NotImplemented, state.RuntimeException),
    )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except refusals as error:
        raise FaceWeightsError(f"{path} cannot be run by onnxruntime: {error}") from None


def _shape(port: Any) -> list[Any]:
    """Of an input or output: numbers, and names or None where it is free."""
    return list(port.shape)


def _is_free(size: Any) -> bool:
    return not isinstance(size, int)


def _told(ports: Sequence[Any]) -> str:
    """Names and shapes, for messages."""
    return ", ".join(f"{port.name} {_shape(port)} {port.type}" for port in ports)


def _check_detector(session: Any, path: Path) -> bool:
    """Whether height and width are free.

    Raises:
        FaceWeightsError: inputs or outputs are not a SCRFD's.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    kinds, rest = divmod(len(outputs), _LEVELS)
    shape = _shape(inputs[0]) if len(inputs) == 1 else []
    image = len(shape) == 4 and shape[1] == 3 and inputs[0].type == "tensor(float)"
    widths = [_shape(port)[-1:] for port in outputs]
    wanted = [[width] for width in _WIDTHS.get(kinds, ()) for _ in range(_LEVELS)]
    fits = all(
        _is_free(have[0]) or have == want
        for have, want in zip(widths, wanted, strict=False)
        if have
    )
    if not image or rest or not wanted or not fits:
        raise FaceWeightsError(
            f"{path} is no SCRFD detector: it takes {_told(inputs)} and gives {_told(outputs)}; "
            "need a picture [1, 3, H, W] and, at strides 8, 16 and 32, scores [N, 1], boxes [N, 4] "
            "and perhaps points [N, 10]"
        )
    free = [_is_free(side) for side in shape[2:]]
    if not all(free) and (any(free) or any(side % _STRIDE for side in shape[2:])):
        raise FaceWeightsError(
            f"{path} takes pictures of {shape[2:]}, need both sides free, or fixed to multiples "
            f"of {_STRIDE}"
        )
    return all(free)


def _check_landmarks(session: Any, path: Path) -> None:
    """Refuse what is not ``1k3d68.onnx``'s like.

    Raises:
        FaceWeightsError: inputs or outputs differ.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    takes = len(inputs) == 1 and _shape(inputs[0])[1:] == [3, _INPUT_PX, _INPUT_PX]
    if not takes or len(outputs) != 1 or _shape(outputs[0])[1:] != [_MESH_VALUES]:
        raise FaceWeightsError(
            f"{path} is not InsightFace's 1k3d68: it takes {_told(inputs)} and gives "
            f"{_told(outputs)}; need a picture [1, 3, {_INPUT_PX}, {_INPUT_PX}] and "
            f"[1, {_MESH_VALUES}] (2d106det places other points)"
        )
