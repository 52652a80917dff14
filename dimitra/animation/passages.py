"""Cutting speech of any length at its pauses, into passages that a recogniser takes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.features import SAMPLE_RATE_HZ

LONGEST_S = 30.0
"""What Whisper listens to at once."""
SHORTEST_S = 15.0
STEP_S = 0.01
PAUSE_S = 0.2
"""Length over which the level is averaged to find a pause."""


@dataclass(frozen=True)
class Passage:
    """A piece of sound.

    Attributes:
        start: first sample, at 16 kHz.
        stop: one past the last.
    """

    start: int
    stop: int

    @property
    def start_s(self) -> float:
        """Seconds."""
        return self.start / SAMPLE_RATE_HZ


def cut_at_pauses(samples: NDArray[np.float32]) -> list[Passage]:
    """Passages of at most ``LONGEST_S``, in order and without gaps.

    Each ends in the quietest place between ``SHORTEST_S`` and ``LONGEST_S`` after its start.

    Args:
        samples: [N], 16 kHz mono.
    """
    passages = []
    start = 0
    while len(samples) - start > LONGEST_S * SAMPLE_RATE_HZ:
        low = start + round(SHORTEST_S * SAMPLE_RATE_HZ)
        high = start + round(LONGEST_S * SAMPLE_RATE_HZ)
        stop = low + _quietest(np.asarray(samples[low:high], np.float64))
        passages.append(Passage(start, stop))
        start = stop
    return [*passages, Passage(start, len(samples))]


def _quietest(samples: NDArray[np.float64]) -> int:
    """The middle of the quietest ``PAUSE_S``, in samples."""
    step = round(STEP_S * SAMPLE_RATE_HZ)
    width = round(PAUSE_S / STEP_S)
    steps = (samples[: len(samples) // step * step].reshape(-1, step) ** 2).sum(axis=1)
    level = np.convolve(steps, np.ones(width), "valid")
    return (int(level.argmin()) + width // 2) * step
