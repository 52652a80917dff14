"""PSNR and SSIM of a video: how near its frames come to those of another, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimitra.metrics.image import psnr_of, squared_error, ssim

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Fidelity:
    """What pairs of frames say.

    Attributes:
        psnr: dB, of the mean squared error over all frames; infinity for equal frames.
        ssim: mean over frames.
        frames: pairs.
    """

    psnr: float
    ssim: float
    frames: int


def fidelity(pairs: Iterable[tuple[Picture, Picture]]) -> Fidelity | None:
    """PSNR and SSIM over pairs of frames ``[H, W, 3]``; None for no pair.

    The squared error is averaged before the logarithm is taken, as ffmpeg's average PSNR has it:
    one frame without error does not make the number infinite.

    Raises:
        ValueError: the frames of a pair differ in shape.
    """
    errors, likeness = [], []
    for one, two in pairs:
        likeness.append(ssim(one, two))
        errors.append(squared_error(one, two))
    if not errors:
        return None
    psnr = psnr_of(math.fsum(errors) / len(errors))
    return Fidelity(psnr, math.fsum(likeness) / len(likeness), len(errors))
