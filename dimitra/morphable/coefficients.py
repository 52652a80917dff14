"""Layout of the face-model coefficients and of the 70 motion values.

Deng et al. (2019): 257 values = identity 80, expression 64, texture 80, angles 3, illumination 27,
translation 3. A motion frame is expression 64, angles 3, translation 3; the paper trains three
models on its parts: lips (13), expression (51) and pose (6).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Part = Literal["lips", "expression", "pose"]
PARTS: tuple[Part, ...] = ("lips", "expression", "pose")

SIZES: Mapping[str, int] = MappingProxyType(
    {
        "identity": 80,
        "expression": 64,
        "texture": 80,
        "angles": 3,
        "illumination": 27,
        "translation": 3,
    }
)
COEFFICIENTS = sum(SIZES.values())
"""257."""

EXPRESSION_SIZE = 64
POSE_SIZE = 6
MOTION_SIZE = EXPRESSION_SIZE + POSE_SIZE
ANGLES = slice(64, 67)
TRANSLATION = slice(67, 70)

BFM_MOUTH = (0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14)
"""Mouth coefficients of the Basel model's expression basis (StyleTalk, DreamTalk, Dimitra)."""
MOUTH: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"open_head": tuple(range(13)), "bfm": BFM_MOUTH}
)

Array = TypeVar("Array", Tensor, NDArray[np.float32], NDArray[np.float64])


def slices() -> dict[str, slice]:
    """Slice of each named part in the 257 values."""
    result, start = {}, 0
    for name, size in SIZES.items():
        result[name] = slice(start, start + size)
        start += size
    return result


def part_indices(face_model: str) -> dict[Part, list[int]]:
    """Columns of each part in the 70 motion values, ascending.

    Raises:
        ValueError: unknown face model.
    """
    if face_model not in MOUTH:
        raise ValueError(f"face model {face_model!r}: expected one of {sorted(MOUTH)}")
    mouth = MOUTH[face_model]
    return {
        "lips": list(mouth),
        "expression": [i for i in range(EXPRESSION_SIZE) if i not in mouth],
        "pose": list(range(EXPRESSION_SIZE, MOTION_SIZE)),
    }


def split_motion(motion: Array, face_model: str) -> dict[Part, Array]:
    """Cut ``[..., 70]`` into lips ``[..., 13]``, expression ``[..., 51]`` and pose ``[..., 6]``.

    Raises:
        ValueError: the last axis is not 70, or the face model is unknown.
    """
    if motion.shape[-1] != MOTION_SIZE:
        raise ValueError(f"motion has {motion.shape[-1]} values a frame, expected {MOTION_SIZE}")
    return {part: motion[..., columns] for part, columns in part_indices(face_model).items()}


def join_motion(parts: Mapping[Part, Array], face_model: str) -> Array:
    """Inverse of ``split_motion``.

    Raises:
        KeyError: a part is missing.
        ValueError: a part has the wrong width, or the face model is unknown.
    """
    indices = part_indices(face_model)
    for part, columns in indices.items():
        if parts[part].shape[-1] != len(columns):
            raise ValueError(f"{part} has {parts[part].shape[-1]} values, expected {len(columns)}")
    order = np.argsort(np.concatenate([indices[part] for part in PARTS]))
    first = parts["lips"]
    if isinstance(first, Tensor):
        joined = torch.cat([parts[part] for part in PARTS], dim=-1)
        return joined[..., torch.from_numpy(order).to(first.device)]
    return np.concatenate([parts[part] for part in PARTS], axis=-1)[..., order]
