"""Samplers against data whose best denoiser is known: a Gaussian."""

import math

import pytest
import torch
from torch import Tensor

from dimitra.diffusion.samplers import posterior, sample_ancestral, sample_ddim, spaced_steps
from dimitra.diffusion.schedule import NoiseSchedule, linear_schedule

MEAN, SPREAD = 3.0, 0.5


class GaussianDenoiser:
    """E[x_0 | x_t] when x_0 is normal with ``MEAN`` and ``SPREAD``."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self.schedule = schedule

    def gain(self, step: int) -> float:
        kept = self.schedule.alpha_bar_of(step)
        return math.sqrt(kept) * SPREAD**2 / (kept * SPREAD**2 + 1.0 - kept)

    def __call__(self, noisy: Tensor, step: int) -> Tensor:
        kept = self.schedule.alpha_bar_of(step)
        return MEAN + self.gain(step) * (noisy - math.sqrt(kept) * MEAN)


def test_spaced_steps_are_those_of_ddim25() -> None:
    assert spaced_steps(500, 25) == tuple(range(0, 500, 20))
    assert spaced_steps(500, 500) == tuple(range(500))
    with pytest.raises(ValueError, match="nearest counts"):
        spaced_steps(500, 499)
    with pytest.raises(ValueError, match="1 to 500"):
        spaced_steps(500, 501)


@pytest.mark.parametrize("count", [25, 500])
def test_ddim_follows_the_closed_form_of_a_gaussian(count: int) -> None:
    """With the exact denoiser every DDIM step maps a Gaussian to a Gaussian of known moments."""
    schedule = linear_schedule(500)
    steps = spaced_steps(500, count)
    denoiser = GaussianDenoiser(schedule)
    mean, slope = 0.0, 1.0
    for index in reversed(range(count)):
        here = schedule.alpha_bar_of(steps[index])
        there = schedule.alpha_bar_of(steps[index - 1] if index else -1)
        gain = denoiser.gain(steps[index])
        ratio = math.sqrt((1 - there) / (1 - here))
        weight = math.sqrt(there) - ratio * math.sqrt(here)
        slope *= weight * gain + ratio
        offset = MEAN - gain * math.sqrt(here) * MEAN
        mean = weight * (gain * mean + offset) + ratio * mean
    noise = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    result = sample_ddim(denoiser, noise, schedule, steps)
    torch.testing.assert_close(result, mean + slope * noise)
    if count == 500:
        assert mean == pytest.approx(MEAN, rel=0.01)
        assert slope == pytest.approx(SPREAD, rel=0.05)


def test_ddim_is_exact_for_one_known_point() -> None:
    schedule = linear_schedule(500)
    point = torch.tensor([1.5, -2.0])
    result = sample_ddim(
        lambda noisy, step: point, torch.randn(4, 2), schedule, spaced_steps(500, 5)
    )
    torch.testing.assert_close(result, point.expand(4, 2))


def test_ancestral_samples_have_the_moments_of_the_data() -> None:
    schedule = linear_schedule(500)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20_000, generator=generator, dtype=torch.float64)
    steps = spaced_steps(500, 250)
    result = sample_ancestral(GaussianDenoiser(schedule), noise, schedule, steps, generator)
    assert result.mean().item() == pytest.approx(MEAN, rel=0.01)
    assert result.std().item() == pytest.approx(SPREAD, rel=0.05)


def test_posterior_is_the_product_of_the_two_gaussians() -> None:
    """Bayes by hand: q(x_s | x_0) times q(x_t | x_s)."""
    here, there = 0.2, 0.5
    alpha = here / there
    precision = 1.0 / (1.0 - there) + alpha / (1.0 - alpha)
    clean_weight, noisy_weight, variance = posterior(here, there)
    assert variance == pytest.approx(1.0 / precision)
    assert clean_weight == pytest.approx(math.sqrt(there) / (1.0 - there) / precision)
    assert noisy_weight == pytest.approx(math.sqrt(alpha) / (1.0 - alpha) / precision)
