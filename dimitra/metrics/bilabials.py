"""Do the lips meet where the sound needs them to: at p, b and m?

That a mouth must close for these sounds is what Agarwal, Farid, Fried and Agrawala ("Detecting
deep-fake videos from phoneme-viseme mismatches", CVPR workshops 2020) look for in forgeries.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.phonemes import PHONE_IDS

BILABIALS = ("B", "M", "P")


def bilabial_intervals(phonemes: NDArray[np.integer]) -> list[tuple[int, int]]:
    """First frame, and the one after the last, of each run of one bilabial sound.

    Args:
        phonemes: ``[T]`` ids, one a frame.

    Raises:
        ValueError: not one-dimensional.
    """
    if phonemes.ndim != 1:
        raise ValueError(f"phonemes of shape {phonemes.shape} must be [T]")
    bounds = [0, *(np.flatnonzero(np.diff(phonemes)) + 1).tolist(), len(phonemes)]
    wanted = {PHONE_IDS[phone] for phone in BILABIALS}
    return [
        (start, end)
        for start, end in itertools.pairwise(bounds)
        if start < end and int(phonemes[start]) in wanted
    ]


def closure_share(
    opening: NDArray[np.floating], phonemes: NDArray[np.integer], closed: float
) -> float | None:
    """Share of the sounds p, b and m in which some frame's mouth is closed; None without a sound.

    A mouth that never opens has 1, so the number is to be held against the truth's beside one that
    tells whether the mouth moves.

    Args:
        opening: ``[T]``, how far the mouth is open.
        phonemes: ``[T]`` ids of the same frames.
        closed: the largest opening of a closed mouth.

    Raises:
        ValueError: the lengths differ.
    """
    if opening.shape != phonemes.shape:
        raise ValueError(f"opening {opening.shape} and phonemes {phonemes.shape} must both be [T]")
    intervals = bilabial_intervals(phonemes)
    if not intervals:
        return None
    return float(np.mean([opening[start:end].min() <= closed for start, end in intervals]))
