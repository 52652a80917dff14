"""Columns of one video against its reference: landmarks' distances, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dimitra.evaluation.film import Film
from dimitra.evaluation.rows import LANDMARK_KEYS, absent
from dimitra.metrics.image import psnr, ssim
from dimitra.metrics.landmarks_distance import MOUTH, LandmarkTrack, landmark_distance
from dimitra.metrics.summary import ClipValue


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
    face = landmark_distance(generated, reference, fit="face", max_reference_missed=limit)
    mouth = landmark_distance(generated, reference, fit="mouth", max_reference_missed=limit)
    if face.f_lmd is None or face.reason is not None:
        return absent(LANDMARK_KEYS, face.reason or "no value", dropped=True)
    both = generated.found & reference.found
    raw = np.linalg.norm(generated.points[both] - reference.points[both], axis=-1)
    values = (face.f_lmd, face.m_lmd, mouth.m_lmd, raw.mean(), raw[:, MOUTH].mean())
    return {
        key: ClipValue(None if value is None else float(value))
        for key, value in zip(LANDMARK_KEYS, values, strict=True)
    }


def picture_values(film: Film, truth: Film, keys: Iterable[str]) -> dict[str, ClipValue]:
    """PSNR and SSIM, means over the common frames.

    Args:
        film: the generated video.
        truth: its reference.
        keys: of ``psnr`` and ``ssim``.
    """
    found: dict[str, list[float]] = {key: [] for key in keys}
    for one, other in zip(film.frames(), truth.frames(), strict=False):
        for key, values in found.items():
            values.append(psnr(one, other) if key == "psnr" else ssim(one, other))
    return {key: _mean(values) for key, values in found.items()}


def _mean(values: list[float]) -> ClipValue:
    numbers = np.array(values)
    equal = int(np.isinf(numbers).sum())
    if equal:
        return ClipValue(None, f"{equal} frames are equal: PSNR is infinite", dropped=True)
    return ClipValue(float(numbers.mean()))
