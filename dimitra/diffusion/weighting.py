"""How much the error counts at each level of noise."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dimitra.diffusion.schedule import NoiseSchedule

Weighting: TypeAlias = Literal["uniform", "snr"]

LEAST_WEIGHT = 1.0
"""Salimans and Ho, 2022, section 4: max(SNR, 1), "truncated SNR weighting" of the error of x_0."""
MOST_WEIGHT = 5.0
"""Hang et al., 2023: min(SNR, 5), "Min-SNR-5 weighting" of the error of x_0."""


def level_weights(schedule: NoiseSchedule, weighting: Weighting) -> NDArray[np.float64]:
    """[steps] weight of the squared error at each diffusion step, 1 on average.

    ``uniform``: 1, as the paper has it. ``snr``: the signal-to-noise ratio abar / (1 - abar)
    between ``LEAST_WEIGHT`` and ``MOST_WEIGHT``, so that what x_t says counts for more than what
    can be guessed from the conditions alone. They are for errors in x_0: those in eps or v weigh
    x_0's by SNR or SNR + 1 already.
    """
    if weighting == "uniform":
        return np.ones(schedule.steps)
    ratio = schedule.alpha_bar / (1.0 - schedule.alpha_bar)
    clipped = np.clip(ratio, LEAST_WEIGHT, MOST_WEIGHT)
    weights: NDArray[np.float64] = clipped / clipped.mean()
    return weights
