"""Features of speech from a pretrained encoder."""

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
