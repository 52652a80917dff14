"""Features of speech from a pretrained encoder, and their windows around video frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
VIDEO_FPS = 25


class SpeechEncoder(Protocol):
    """Sound to one vector every ``1 / rate_hz`` seconds.

    Attributes:
        rate_hz: vectors per second.
        dim: width of a vector.
    """

    rate_hz: float
    dim: int

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features ``[S, dim]`` of ``[N]`` samples, 16 kHz mono in -1..1."""
        ...


def frame_windows(
    features: NDArray[np.floating], rate_hz: float, frames: int, window: int, start: int = 0
) -> NDArray[np.float32]:
    """The features around each video frame.

    Frame ``i`` (at 25 fps) is centred on feature ``floor(i * rate / 25)``, which is ``2 i`` at 50
    Hz (DreamTalk, Ma et al. 2023); what lies outside the clip is zero.

    Args:
        features: ``[S, D]``.
        rate_hz: features per second.
        frames: number of video frames ``T``.
        window: features on either side of the centre.
        start: the first of the frames, counted from the start of the clip.

    Returns:
        ``[T, 2 * window + 1, D]``.
    """
    # The product is rounded first: 3 * (125 / 3) / 25 must not fall just below 5.
    centres = np.floor(np.round(np.arange(start, start + frames) * rate_hz / VIDEO_FPS, 6)).astype(
        np.int64
    )
    index = centres[:, None] + np.arange(-window, window + 1)
    inside = (index >= 0) & (index < len(features))
    taken = (
        features[np.where(inside, index, 0)]
        if len(features)
        else np.zeros((*index.shape, features.shape[1]), dtype=np.float32)
    )
    return np.where(inside[:, :, None], taken, np.float32(0)).astype(np.float32)
