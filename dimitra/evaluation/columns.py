"""Columns of one video against its reference: landmarks' distances, PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from dimitra.evaluation.definitions import LANDMARK_KEYS
from dimitra.evaluation.film import Film
from dimitra.evaluation.rows import absent
from dimitra.metrics.image import psnr_of, squared_error, ssim
from dimitra.metrics.landmarks_distance import (
    LandmarkTrack,
    landmark_distance,
    landmark_readings,
)
from dimitra.metrics.summary import ClipValue

EQUAL = "no frame differs from the reference's: PSNR is infinite"


def landmark_values(
    generated: LandmarkTrack, reference: LandmarkTrack, max_reference_missed: float
) -> dict[str, ClipValue]:
    """The columns of ``LANDMARK_KEYS``.

    Args:
        generated: landmarks of the frames that are compared.
        reference: likewise, as many.
        max_reference_missed: share of reference frames in which dlib may miss the face.
    """
    limit = max_reference_missed
    paper = landmark_distance(generated, reference, max_reference_missed=limit)
    readings = landmark_readings(generated, reference, max_reference_missed=limit)
    if paper.reason is not None:
        return absent(LANDMARK_KEYS, paper.reason, dropped=True)
    values = {"f_lmd": paper.f_lmd, **readings.values}
    return {key: ClipValue(values[key]) for key in LANDMARK_KEYS}


def picture_values(film: Film, truth: Film, keys: Iterable[str]) -> dict[str, ClipValue]:
    """PSNR and SSIM over the common frames.

    PSNR is of the mean squared error of all frames, as ffmpeg's average has it: one frame without
    error does not make it infinite. SSIM is the mean over frames.

    Args:
        film: the generated video.
        truth: its reference.
        keys: of ``PICTURE_KEYS``.
    """
    found: dict[str, list[float]] = {key: [] for key in keys}
    for one, other in zip(film.frames(), truth.frames(), strict=False):
        for key, values in found.items():
            values.append(squared_error(one, other) if key == "psnr" else ssim(one, other))
    return {
        key: _pooled(values) if key == "psnr" else ClipValue(float(np.mean(values)))
        for key, values in found.items()
    }


def _pooled(errors: list[float]) -> ClipValue:
    """PSNR of the mean of the frames' squared errors."""
    decibels = psnr_of(math.fsum(errors) / len(errors))
    if math.isinf(decibels):
        return ClipValue(None, EQUAL, dropped=True)
    return ClipValue(decibels)
