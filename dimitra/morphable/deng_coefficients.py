"""Deng's 257 coefficients as one typed object, and the vectors that other systems make of them.

* 257 values: identity, expression, texture, angles, illumination, translation (Deng et al. 2019).
* 70 motion values: expression, angles, translation (Dimitra).
* 73 descriptor values: the motion and the alignment ``s, tx, ty``; a frame is driven by the window
  of 27 descriptors around it (Ren et al. 2021, PIRender).

A part that was not estimated is None, never zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dimitra.morphable.coefficients import (
    ANGLES,
    COEFFICIENTS,
    EXPRESSION_SIZE,
    MOTION_SIZE,
    MOUTH,
    SIZES,
    TRANSLATION,
    slices,
)

CROP_SIZE = 3
DESCRIPTOR_SIZE = MOTION_SIZE + CROP_SIZE
"""73."""
WINDOW_RADIUS = 13
WINDOW = 2 * WINDOW_RADIUS + 1
"""27 frames."""


@dataclass(frozen=True)
class Part:
    """Place and unit of one part of the 257 values."""

    name: str
    columns: slice
    unit: str

    @property
    def size(self) -> int:
        """Number of values."""
        return SIZES[self.name]


_UNITS = {
    "identity": "standard deviations",
    "expression": "standard deviations",
    "texture": "standard deviations",
    "angles": "radians: pitch, yaw, roll",
    "illumination": "spherical-harmonic weights, 3 channels of 9",
    "translation": "decimetres: x, y, z",
}
LAYOUT: Mapping[str, Part] = MappingProxyType(
    {name: Part(name, columns, _UNITS[name]) for name, columns in slices().items()}
)
"""The parts in the order of the 257 values."""


@dataclass(frozen=True, eq=False)
class FaceCoefficients:
    """Coefficients of a face, or of a batch; leading axes broadcast (one identity for a clip).

    Attributes:
        identity: [*batch, 80], standard deviations.
        expression: [*batch, 64], standard deviations.
        angles: [*batch, 3], pitch, yaw, roll in radians.
        translation: [*batch, 3], decimetres.
        texture: [*batch, 80], standard deviations; None where it was not estimated.
        illumination: [*batch, 27], channel by channel; None where it was not estimated.

    Raises:
        ValueError: a part has the wrong width, or the leading axes do not broadcast.
    """

    identity: Float[Tensor, "*batch 80"]
    expression: Float[Tensor, "*batch 64"]
    angles: Float[Tensor, "*batch 3"]
    translation: Float[Tensor, "*batch 3"]
    texture: Float[Tensor, "*batch 80"] | None = None
    illumination: Float[Tensor, "*batch 27"] | None = None

    def __post_init__(self) -> None:
        """Check widths and leading axes."""
        for name, value in self.parts().items():
            _check_width(name, value, LAYOUT[name].size)
        _ = self.batch

    def parts(self) -> dict[str, Tensor]:
        """The parts that there are, by name, in the order of the 257 values."""
        values = {name: getattr(self, name) for name in LAYOUT}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def batch(self) -> torch.Size:
        """Leading axes that all parts broadcast to.

        Raises:
            ValueError: they do not.
        """
        leading = {name: value.shape[:-1] for name, value in self.parts().items()}
        try:
            return torch.Size(np.broadcast_shapes(*leading.values()))
        except ValueError as error:
            shapes = {name: list(shape) for name, shape in leading.items()}
            raise ValueError(f"leading axes of the parts do not broadcast: {shapes}") from error

    @property
    def pose(self) -> Float[Tensor, "*batch 6"]:
        """Angles and translation, as ``camera.to_camera`` takes them."""
        return _join([self.angles, self.translation])

    def mouth(self, face_model: str) -> Float[Tensor, "*batch 13"]:
        """The 13 mouth values of the expression.

        Raises:
            ValueError: unknown face model.
        """
        return self.expression[..., list(mouth_indices(face_model))]

    def to(self, target: torch.device | torch.dtype | str) -> FaceCoefficients:
        """The same values on another device or of another type."""
        return replace(self, **{name: value.to(target) for name, value in self.parts().items()})


def mouth_indices(face_model: str) -> tuple[int, ...]:
    """The 13 mouth values among the 64 expression values.

    Raises:
        ValueError: unknown face model.
    """
    if face_model not in MOUTH:
        raise ValueError(f"face model {face_model!r}: expected one of {sorted(MOUTH)}")
    return MOUTH[face_model]


def from_vector(vector: Float[Tensor, "*batch 257"]) -> FaceCoefficients:
    """Cut the 257 values into their parts (views, no copy).

    Raises:
        ValueError: the last axis is not 257.
    """
    _check_width("vector", vector, COEFFICIENTS)
    return FaceCoefficients(**{name: vector[..., part.columns] for name, part in LAYOUT.items()})


def to_vector(coefficients: FaceCoefficients) -> Float[Tensor, "*batch 257"]:
    """Inverse of ``from_vector``; parts are repeated over the batch where they were shared.

    Raises:
        ValueError: a part was not estimated.
    """
    parts = coefficients.parts()
    missing = [field.name for field in fields(FaceCoefficients) if field.name not in parts]
    if missing:
        raise ValueError(f"the 257 values need {missing}, which were not estimated")
    return _join(list(parts.values()))


def to_motion(coefficients: FaceCoefficients) -> Float[Tensor, "*batch 70"]:
    """Expression, angles and translation of every frame."""
    return _join([coefficients.expression, coefficients.angles, coefficients.translation])


def with_motion(
    coefficients: FaceCoefficients, motion: Float[Tensor, "*batch 70"]
) -> FaceCoefficients:
    """The same identity, texture and light with other expression and pose.

    Raises:
        ValueError: the last axis is not 70, or the leading axes do not broadcast.
    """
    _check_width("motion", motion, MOTION_SIZE)
    return replace(
        coefficients,
        expression=motion[..., :EXPRESSION_SIZE],
        angles=motion[..., ANGLES],
        translation=motion[..., TRANSLATION],
    )


def descriptors(
    motion: Float[Tensor, "*batch 70"], crop: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 73"]:
    """PIRender's descriptor of every frame: motion and ``s, tx, ty``; leading axes broadcast.

    Raises:
        ValueError: wrong widths.
    """
    _check_width("motion", motion, MOTION_SIZE)
    _check_width("crop", crop, CROP_SIZE)
    return _join([motion, crop])


def split_descriptors(
    values: Float[Tensor, "*batch 73"],
) -> tuple[Float[Tensor, "*batch 70"], Float[Tensor, "*batch 3"]]:
    """Inverse of ``descriptors``.

    Raises:
        ValueError: the last axis is not 73.
    """
    _check_width("descriptors", values, DESCRIPTOR_SIZE)
    return values[..., :MOTION_SIZE], values[..., MOTION_SIZE:]


def rescale_crop(
    crop: Float[Tensor, "*batch 3"], from_size: int, to_size: int
) -> Float[Tensor, "*batch 3"]:
    """The alignment ``s, tx, ty`` of the same picture at another size.

    Args:
        crop: measured in a square image of ``from_size`` pixels.
        from_size: pixels.
        to_size: pixels.

    Raises:
        ValueError: wrong width, or a size that is not positive.
    """
    _check_width("crop", crop, CROP_SIZE)
    if from_size <= 0 or to_size <= 0:
        raise ValueError(f"image sizes {from_size} and {to_size} px must be positive")
    ratio = to_size / from_size
    return crop * torch.tensor([1 / ratio, ratio, ratio], dtype=crop.dtype, device=crop.device)


def windows(
    values: Float[Tensor, "frames channels"], radius: int = WINDOW_RADIUS
) -> Float[Tensor, "frames channels window"]:
    """The ``2 radius + 1`` frames around every frame; the ends of the clip repeat.

    Raises:
        ValueError: no frames, not two axes, or a negative radius.
    """
    if values.ndim != 2 or len(values) == 0 or radius < 0:
        shape = list(values.shape)
        raise ValueError(
            f"windows of radius {radius} over {shape}: expected [frames > 0, channels], radius >= 0"
        )
    offsets = torch.arange(-radius, radius + 1, device=values.device)
    centres = torch.arange(len(values), device=values.device)
    index = (centres[:, None] + offsets).clamp(0, len(values) - 1)
    return values[index].transpose(1, 2)


def window_centres(
    stacked: Float[Tensor, "frames channels window"],
) -> Float[Tensor, "frames channels"]:
    """Inverse of ``windows``: the middle of each.

    Raises:
        ValueError: the window has no middle.
    """
    if stacked.ndim != 3 or stacked.shape[-1] % 2 == 0:
        raise ValueError(
            f"windows are {list(stacked.shape)}, expected [frames, channels, odd length]"
        )
    return stacked[..., stacked.shape[-1] // 2]


def _join(parts: list[Tensor]) -> Tensor:
    batch = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*batch, part.shape[-1]) for part in parts], dim=-1)


def _check_width(name: str, value: Tensor, width: int) -> None:
    if value.ndim == 0 or value.shape[-1] != width:
        raise ValueError(f"{name} is {list(value.shape)}, expected [..., {width}]")
