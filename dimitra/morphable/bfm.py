"""The Basel Face Model 2009 in Deng's form, read from ``BFM_model_front.mat``.

The file is licensed: the user makes it with ``Deep3DFaceRecon_pytorch`` from the University of
Basel's ``01_MorphableModel.mat`` and ``Exp_Pca.bin`` (Guo et al. 2018). Its bases carry their
standard deviations and decimetres already; indices in it count from 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor

from dimitra.morphable.coefficients import BFM_MOUTH, SIZES
from dimitra.morphable.model import FaceModel

FULL_VERTICES = 35_709
"""Vertices of the face region that Deng et al. cut from the 53,490 of the Basel model."""
PART_NAMES = ("skin", "features")
"""``skinmask`` and the rest: eyes, brows, nostrils, lips."""
_MAGIC = b"MATLAB 5.0"
_COLOUR_RANGE = 255.0
_SHAPES: Mapping[str, str] = {
    "meanshape": "[1, 3 V]",
    "meantex": "[1, 3 V]",
    "idBase": "[3 V, 80]",
    "exBase": "[3 V, 64]",
    "texBase": "[3 V, 80]",
    "tri": "[F, 3]",
    "keypoints": "[1, 68]",
    "skinmask": "[1, V]",
}
_HOW = "make the file again with util/load_mats.py of Deep3DFaceRecon_pytorch"


class FaceModelFileError(ValueError):
    """A face model's file cannot be used: not MATLAB 5, a missing key, a wrong shape or value."""


def read(path: Path) -> FaceModel:
    """Read the model; the mean is centred on its vertices' mean, as Deng's camera expects.

    The file has no texture coordinates: ``uv`` is a cylindrical unwrap of the mean face.

    Raises:
        FileNotFoundError: there is no such file.
        FaceModelFileError: not a MATLAB 5 file, a missing key, or a wrong shape or value.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; the Basel Face Model is licensed: register with the University"
            f" of Basel, then {_HOW}"
        )
    with path.open("rb") as file:
        begin = file.read(len(_MAGIC))
    if begin != _MAGIC:  # a page that asks to register, an HDF5 file, a pointer to another place
        raise FaceModelFileError(f"{path}: not a MATLAB 5 file (it begins with {begin!r}); {_HOW}")
    try:
        arrays = loadmat(path, variable_names=list(_SHAPES))
    except (MatReadError, NotImplementedError, ValueError, TypeError, IndexError) as error:
        raise FaceModelFileError(f"{path}: not a MATLAB 5 file ({error}); {_HOW}") from error
    return _build(_Source(path, arrays))


class _Source:
    """Checked access to the file's arrays; every error names file, key, found and expected."""

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._path = path
        self._arrays = arrays
        missing = [key for key in _SHAPES if key not in arrays]
        if missing:
            raise FaceModelFileError(f"{path}: keys {missing} are missing; {_HOW}")
        size = self.row("meanshape").size
        if size % 3 != 0 or size == 0:
            raise self._shape_error("meanshape", "[1, 3 V]")
        self.vertices = size // 3

    def _shape_error(self, key: str, expected: str) -> FaceModelFileError:
        found = list(self._arrays[key].shape)
        return FaceModelFileError(
            f"{self._path}: {key} has shape {found}, expected {expected} as {_SHAPES[key]}; {_HOW}"
        )

    def row(self, key: str, length: int | None = None) -> NDArray[np.float64]:
        """A vector, stored as a row or a column."""
        value = self._arrays[key]
        if value.ndim != 2 or min(value.shape) != 1 or length not in (None, value.size):
            raise self._shape_error(key, f"[1, {length}]" if length else _SHAPES[key])
        return self._numbers(key).ravel()

    def table(self, key: str, rows: int | None, columns: int) -> NDArray[np.float64]:
        """A matrix of known size."""
        value = self._arrays[key]
        good = value.ndim == 2 and value.shape[1] == columns and len(value) > 0
        if not good or rows not in (None, len(value)):
            raise self._shape_error(key, f"[{'F' if rows is None else rows}, {columns}]")
        return self._numbers(key)

    def indices(self, key: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Vertex numbers, counted from 0."""
        whole = values.astype(np.int64)
        if (whole != values).any() or whole.min() < 1 or whole.max() > self.vertices:
            raise FaceModelFileError(
                f"{self._path}: {key} has values from {values.min():g} to {values.max():g}, "
                f"expected whole vertex numbers from 1 to {self.vertices}; {_HOW}"
            )
        return whole - 1

    def _numbers(self, key: str) -> NDArray[np.float64]:
        value = self._arrays[key]
        if value.dtype.kind not in "biuf":
            raise FaceModelFileError(
                f"{self._path}: {key} holds {value.dtype}, expected numbers; {_HOW}"
            )
        numbers = value.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise FaceModelFileError(f"{self._path}: {key} has values that are not finite; {_HOW}")
        return numbers


def _build(source: _Source) -> FaceModel:
    count = source.vertices

    def basis(key: str, part: str) -> NDArray[np.float64]:
        size = SIZES[part]
        return source.table(key, 3 * count, size).T.reshape(size, count, 3)

    mean = source.row("meanshape").reshape(count, 3)
    mean = mean - mean.mean(axis=0)
    triangles = _facing_camera(mean, source.indices("tri", source.table("tri", None, 3)))
    skin = source.row("skinmask", count) > 0.5
    landmarks = source.indices("keypoints", source.row("keypoints", 68))
    colour = source.row("meantex", 3 * count).reshape(count, 3)
    faces = torch.from_numpy(triangles)
    return FaceModel(
        name="bfm",
        mean=_floats(mean),
        identity_basis=_floats(basis("idBase", "identity")),
        expression_basis=_floats(basis("exBase", "expression")),
        mean_colour=_floats(colour / _COLOUR_RANGE),
        texture_basis=_floats(basis("texBase", "texture") / _COLOUR_RANGE),
        triangles=faces,
        uv=_unwrap(mean),
        uv_triangles=faces,
        parts=torch.from_numpy(np.where(skin, 0, 1)),
        part_names=PART_NAMES,
        landmarks_68=torch.from_numpy(landmarks),
        mouth_indices=BFM_MOUTH,
    )


def _floats(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _facing_camera(
    mean: NDArray[np.float64], triangles: NDArray[np.int64]
) -> Int[NDArray[np.int64], "faces 3"]:
    """Triangles counter-clockwise as the camera sees the face (it looks along -z)."""
    a, b, c = (mean[triangles[:, corner], :2] for corner in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return triangles if area.sum() >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def _unwrap(mean: NDArray[np.float64]) -> Float[Tensor, "vertices 2"]:
    """Cylinder about the vertical axis behind the face, opened at the back."""
    low, high = mean[:, 1].min(), mean[:, 1].max()
    u = 0.5 + np.arctan2(mean[:, 0], mean[:, 2] - mean[:, 2].min()) / math.pi
    v = (mean[:, 1] - low) / max(high - low, np.finfo(np.float64).tiny)
    return _floats(np.stack((u, v), axis=1))
