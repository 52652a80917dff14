"""From embeddings to offset, distance and confidence: the protocol of ``syncnet_python``.

Window i is frames i to i + 4 and MFCC rows 4 i to 4 i + 19. The sound's embeddings are shifted by
-15 to 15 windows against the pictures', zeros coming in at the ends; for each shift the distances
are averaged over the windows. Their least is the distance, the median less the least the
confidence. The last five frames make no window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

WINDOW = 5
"""Frames of a window."""
ROWS_PER_FRAME = 4
SAMPLES_PER_FRAME = 640
SHIFT = 15
"""Largest shift, windows."""
SHORTEST = 2 * SHIFT + 1
"""Windows of the shortest clip: below, zeros outnumber sound at the largest shift."""

_EPSILON = 1e-6
"""Added to differences by the distance of torch, which the reference calls."""


@dataclass(frozen=True)
class SyncScore:
    """What the protocol says of one clip.

    Attributes:
        offset: frames by which the sound comes too early (the reference's sign); 0 is in step.
        distance: mean distance at that offset; lower is better.
        confidence: median over the shifts less the least; higher is better.
        windows: of the clip.
    """

    offset: int
    distance: float
    confidence: float
    windows: int


def window_count(frames: int, samples: int) -> int:
    """Windows of a clip of so many frames (25 a second) and samples (16 kHz); 0 if too short."""
    return max(0, min(frames, samples // SAMPLES_PER_FRAME) - WINDOW)


def sound_windows(mfcc: Floats, count: int) -> NDArray[np.float32]:
    """The sound of the first windows: rows ``[F, 13]`` to ``[count, 13, 20]``."""
    rows = WINDOW * ROWS_PER_FRAME
    first = np.arange(count)[:, None] * ROWS_PER_FRAME + np.arange(rows)
    return np.ascontiguousarray(mfcc[first].transpose(0, 2, 1), dtype=np.float32)


def distances(lips: Floats, sound: Floats) -> NDArray[np.float64]:
    """Mean distance for each shift of the sound, ``[31]``, from -15 to 15.

    Args:
        lips: ``[N, D]`` embeddings of the pictures.
        sound: ``[N, D]`` embeddings of the sound.

    Raises:
        ValueError: shapes differ, or there is no window.
    """
    if lips.shape != sound.shape or lips.ndim != 2 or not len(lips):
        raise ValueError(f"embeddings {lips.shape} and {sound.shape} must both be [N, D], N > 0")
    padded = np.pad(sound.astype(np.float64), ((SHIFT, SHIFT), (0, 0)))
    count = len(lips)
    differences = (
        lips - padded[shift : shift + count] + _EPSILON for shift in range(2 * SHIFT + 1)
    )
    return np.array([np.linalg.norm(one, axis=1).mean() for one in differences])


def score(lips: Floats, sound: Floats) -> SyncScore:
    """Offset, distance and confidence of embeddings ``[N, D]``.

    Raises:
        ValueError: as ``distances``.
    """
    means = distances(lips, sound)
    least = int(np.argmin(means))
    return SyncScore(
        offset=SHIFT - least,
        distance=float(means[least]),
        confidence=float(np.median(means) - means[least]),
        windows=len(lips),
    )
