"""What turns frames into face coefficients without a fit: the interface of learned encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float, UInt8
from torch import Tensor

from dimitra.morphable.deng_coefficients import FaceCoefficients


@dataclass(frozen=True, eq=False)
class Encoding:
    """Coefficients of a batch of frames, and the alignment in which their pose is meant.

    Attributes:
        coefficients: one face a frame.
        crop: [B, 3], ``s, tx, ty`` of the alignment; ``camera.aligned_to_crop`` leads back to the
            frame's pixels.
    """

    coefficients: FaceCoefficients
    crop: Float[Tensor, "batch 3"]


class FaceEncoder(Protocol):
    """Coefficients of frames, each on its own."""

    def __call__(
        self, frames: UInt8[Tensor, "batch height width 3"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> Encoding:
        """Encode RGB frames, given 68 landmarks in their pixels (x right, y down)."""
        ...
