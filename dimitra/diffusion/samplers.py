"""The reverse process over spaced steps, for denoisers that predict the clean data x_0."""

from __future__ import annotations

import math
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from dimitra.diffusion.schedule import NoiseSchedule

Sampler: TypeAlias = Literal["ddim", "ancestral", "dpm_solver"]


class Denoiser(Protocol):
    """Predicts x_0 from x_t."""

    def __call__(self, noisy: Tensor, step: int) -> Tensor:
        """Map x_t [B, ...] at diffusion step ``step`` to the predicted x_0 [B, ...]."""
        ...


def sample_ddim(
    denoise: Denoiser, noise: Tensor, schedule: NoiseSchedule, steps: tuple[int, ...]
) -> Tensor:
    """Deterministic sampling: DDIM with eta 0 (Song et al., 2021, equation 12).

    Args:
        denoise: predicts x_0.
        noise: [B, ...] x_T, standard normal.
        schedule: the schedule the denoiser was trained under.
        steps: ascending, as from ``spaced_steps``.

    Returns:
        [B, ...] the sample.
    """
    current = noise
    for index in reversed(range(len(steps))):
        here = schedule.alpha_bar_of(steps[index])
        there = schedule.alpha_bar_of(steps[index - 1] if index else -1)
        clean = denoise(current, steps[index])
        residual = (current - math.sqrt(here) * clean) / math.sqrt(1.0 - here)
        current = math.sqrt(there) * clean + math.sqrt(1.0 - there) * residual
    return current


def sample_ancestral(
    denoise: Denoiser,
    noise: Tensor,
    schedule: NoiseSchedule,
    steps: tuple[int, ...],
    generator: torch.Generator,
) -> Tensor:
    """Stochastic sampling from the posterior ``q(x_s | x_t, x_0)`` at the predicted x_0.

    Ho et al., 2020, equations 6 and 7, with the betas of the spaced steps and the smaller of the
    two fixed variances (the posterior's own).

    Args:
        denoise: predicts x_0.
        noise: [B, ...] x_T, standard normal.
        schedule: the schedule the denoiser was trained under.
        steps: ascending, as from ``spaced_steps``.
        generator: of the noise added at each step; on the CPU, so that devices agree.

    Returns:
        [B, ...] the sample.
    """
    current = noise
    for index in reversed(range(len(steps))):
        here = schedule.alpha_bar_of(steps[index])
        there = schedule.alpha_bar_of(steps[index - 1] if index else -1)
        clean_weight, noisy_weight, variance = posterior(here, there)
        clean = denoise(current, steps[index])
        current = clean_weight * clean + noisy_weight * current
        if index:
            fresh = torch.randn(current.shape, generator=generator, dtype=current.dtype)
            current = current + math.sqrt(variance) * fresh.to(current.device)
    return current


def sample_dpm_solver(
    denoise: Denoiser, noise: Tensor, schedule: NoiseSchedule, steps: tuple[int, ...]
) -> Tensor:
    """Deterministic sampling of second order: DPM-Solver++ (2M) of Lu et al., 2022, algorithm 2.

    The predicted x_0 is extrapolated, in the logarithm of the signal-to-noise ratio, to the middle
    of each step from it and the one before. The first step has no predecessor and the last one,
    to the clean data, has no finite length; both are DDIM's.

    Args:
        denoise: predicts x_0.
        noise: [B, ...] x_T, standard normal.
        schedule: the schedule the denoiser was trained under.
        steps: ascending, as from ``spaced_steps``.

    Returns:
        [B, ...] the sample.
    """
    current = noise
    before: Tensor | None = None
    for index in reversed(range(len(steps))):
        clean = denoise(current, steps[index])
        if index == 0:
            return clean
        here, there = schedule.alpha_bar_of(steps[index]), schedule.alpha_bar_of(steps[index - 1])
        stride = schedule.log_snr_of(steps[index - 1]) - schedule.log_snr_of(steps[index])
        middle = clean
        if before is not None:
            last = schedule.log_snr_of(steps[index]) - schedule.log_snr_of(steps[index + 1])
            middle = clean + 0.5 * stride / last * (clean - before)
        kept = math.sqrt((1.0 - there) / (1.0 - here))
        current = kept * current - math.sqrt(there) * math.expm1(-stride) * middle
        before = clean
    raise ValueError("there are no steps to sample over")


def posterior(here: float, there: float) -> tuple[float, float, float]:
    """Weights of x_0 and x_t in the mean of ``q(x_s | x_t, x_0)``, and its variance.

    Args:
        here: ``abar`` of x_t.
        there: ``abar`` of the less noisy x_s.
    """
    alpha = here / there
    clean_weight = math.sqrt(there) * (1.0 - alpha) / (1.0 - here)
    noisy_weight = math.sqrt(alpha) * (1.0 - there) / (1.0 - here)
    variance = (1.0 - there) / (1.0 - here) * (1.0 - alpha)
    return clean_weight, noisy_weight, variance


def sample(
    sampler: Sampler,
    denoise: Denoiser,
    noise: Tensor,
    schedule: NoiseSchedule,
    steps: tuple[int, ...],
    generator: torch.Generator,
) -> Tensor:
    """Draw a sample with the named sampler; ``generator`` serves the ancestral one alone."""
    if sampler == "ddim":
        return sample_ddim(denoise, noise, schedule, steps)
    if sampler == "dpm_solver":
        return sample_dpm_solver(denoise, noise, schedule, steps)
    return sample_ancestral(denoise, noise, schedule, steps, generator)
