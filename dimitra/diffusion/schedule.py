"""The forward process: a linear noise schedule and its closed forms (Ho et al., 2020).

``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps``, with ``abar_t`` the product of ``1 - beta_i`` for
``i <= t``. Steps count from 0, so ``abar_0`` is the least noisy level, not the clean one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FIRST_BETA = 0.0001
LAST_BETA = 0.02
"""Ends of the linear schedule at 1000 steps (Ho et al., 2020, section 4)."""
FEWEST_STEPS = 21
"""Below, scaling the schedule by ``1000 / steps`` pushes the last beta to 1 or beyond."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A discrete noise schedule.

    Attributes:
        alpha_bar: [steps] float64, share of signal variance left at each step, decreasing.
    """

    alpha_bar: NDArray[np.float64]

    @property
    def steps(self) -> int:
        return len(self.alpha_bar)

    def alpha_bar_of(self, step: int) -> float:
        """Signal variance left after ``step``; 1 for step -1, the clean data."""
        return 1.0 if step < 0 else float(self.alpha_bar[step])

    def add_noise(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Sample ``q(x_t | x_0)`` for given noise.

        Args:
            clean: [B, ...] x_0.
            noise: [B, ...] standard normal, the shape of ``clean``.
            steps: [B] int64 step of each sample.

        Returns:
            [B, ...] x_t, of the type of ``clean``.
        """
        signal, spread = self.weights_of(steps, clean)
        return signal * clean + spread * noise

    def weights_of(self, steps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of x_0 and of the noise in x_t.

        Args:
            steps: [B] int64 step of each sample.
            like: [B, ...], what they are to be multiplied with.

        Returns:
            Two tensors [B, 1, ...] of the type and number of axes of ``like``.
        """
        shape = (-1,) + (1,) * (like.ndim - 1)
        kept = torch.from_numpy(self.alpha_bar).to(like.device)[steps].reshape(shape)
        return kept.sqrt().to(like.dtype), (1.0 - kept).sqrt().to(like.dtype)

    def log_snr_of(self, step: int) -> float:
        """``log(signal / noise)`` of amplitudes after ``step``, the time of DPM-Solver."""
        kept = self.alpha_bar_of(step)
        return 0.5 * math.log(kept / (1.0 - kept))


def linear_schedule(steps: int) -> NoiseSchedule:
    """Linear betas scaled by ``1000 / steps``, so that the last level is as noisy for any count.

    Source: Ho et al., 2020; the scaling is guided-diffusion's, which Dimitra uses with 500 steps
    (betas from 0.0002 to 0.04).

    Raises:
        ValueError: fewer than ``FEWEST_STEPS`` steps.
    """
    if steps < FEWEST_STEPS:
        raise ValueError(
            f"{steps} diffusion steps, but the linear schedule needs {FEWEST_STEPS} or more: "
            "below, its last beta is not under 1"
        )
    scale = 1000.0 / steps
    betas = np.linspace(scale * FIRST_BETA, scale * LAST_BETA, steps, dtype=np.float64)
    alpha_bar: NDArray[np.float64] = np.cumprod(1.0 - betas, dtype=np.float64)
    return NoiseSchedule(alpha_bar=alpha_bar)
