"""Samplers against data whose best denoiser is known: a Gaussian."""

import math

import pytest
import torch
from torch import Tensor

from dimitra.diffusion.samplers import (
    posterior,
    sample_ancestral,
    sample_ddim,
    sample_dpm_solver,
)
from dimitra.diffusion.schedule import NoiseSchedule, linear_schedule
from dimitra.diffusion.spacing import spaced_steps

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


@pytest.mark.parametrize("count", [25, 500])
def test_ddim_follows_the_closed_form_of_a_gaussian(count: int) -> None:
    """With the exact denoiser every DDIM step maps a Gaussian to a Gaussian of known moments."""
    schedule = linear_schedule(500)
    steps = spaced_steps(schedule, count)
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
        lambda noisy, step: point, torch.randn(4, 2), schedule, spaced_steps(schedule, 5)
    )
    torch.testing.assert_close(result, point.expand(4, 2))


def test_ancestral_samples_have_the_moments_of_the_data() -> None:
    schedule = linear_schedule(500)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20_000, generator=generator, dtype=torch.float64)
    steps = spaced_steps(schedule, 250)
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


def test_ancestral_sampling_follows_the_closed_form_of_a_gaussian() -> None:
    """Mean and variance of each level by hand, for the 25 steps of the released code."""
    schedule = linear_schedule(500)
    denoiser = GaussianDenoiser(schedule)
    steps = spaced_steps(schedule, 25)
    mean, spread = 0.0, 1.0
    for index in reversed(range(25)):
        here = schedule.alpha_bar_of(steps[index])
        there = schedule.alpha_bar_of(steps[index - 1] if index else -1)
        alpha = here / there
        to_clean = math.sqrt(there) * (1.0 - alpha) / (1.0 - here)
        to_noisy = math.sqrt(alpha) * (1.0 - there) / (1.0 - here)
        gain = denoiser.gain(steps[index])
        offset = MEAN - gain * math.sqrt(here) * MEAN
        mean = (to_clean * gain + to_noisy) * mean + to_clean * offset
        fresh = (1.0 - alpha) * (1.0 - there) / (1.0 - here)
        spread = math.hypot((to_clean * gain + to_noisy) * spread, math.sqrt(fresh))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(40_000, generator=generator, dtype=torch.float64)
    result = sample_ancestral(denoiser, noise, schedule, steps, generator)
    assert result.mean().item() == pytest.approx(mean, abs=4 * spread / 200)
    assert result.std().item() == pytest.approx(spread, rel=0.02)


def flow(schedule: NoiseSchedule, noise: Tensor, step: int, to: int = -1) -> Tensor:
    """Exact solution of the probability-flow equation for Gaussian data, from ``step`` to ``to``.

    Every level is Gaussian, and the flow keeps a point's place in it.
    """

    def moments(at: int) -> tuple[float, float]:
        kept = schedule.alpha_bar_of(at)
        return math.sqrt(kept) * MEAN, math.sqrt(kept * SPREAD**2 + 1.0 - kept)

    (mean, spread), (end_mean, end_spread) = moments(step), moments(to)
    return end_mean + end_spread * (noise - mean) / spread


def test_dpm_solver_is_nearer_to_the_exact_flow_than_ddim() -> None:
    schedule = linear_schedule(500)
    noise = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    for count in (5, 10, 20):
        steps = spaced_steps(schedule, count, "log_snr")
        exact = flow(schedule, noise, steps[-1])
        solved = sample_dpm_solver(GaussianDenoiser(schedule), noise, schedule, steps)
        ddim = sample_ddim(GaussianDenoiser(schedule), noise, schedule, steps)
        assert (solved - exact).abs().max() < 0.5 * (ddim - exact).abs().max()


def test_dpm_solver_converges_at_second_order_and_ddim_at_first() -> None:
    """Twice the steps over one stretch of log-SNR: a quarter of the error, against a half.

    The stretch ends short of the clean data, where the last step is one of infinite length.
    """
    schedule = linear_schedule(10_000)
    times = [schedule.log_snr_of(step) for step in range(10_000)]
    levels = torch.tensor(times, dtype=torch.float64)

    def even(count: int) -> tuple[int, ...]:
        wanted = torch.linspace(1.0, -1.0, count + 1, dtype=torch.float64)
        return tuple(sorted({int((levels - time).abs().argmin()) for time in wanted}))

    def end_error(draw: object, count: int) -> float:
        steps = even(count)
        noise = torch.tensor([1.5], dtype=torch.float64)
        seen: list[Tensor] = []

        def denoise(noisy: Tensor, step: int) -> Tensor:
            if step == steps[0]:
                seen.append(noisy)
            return GaussianDenoiser(schedule)(noisy, step)

        draw(denoise, noise, schedule, steps)  # type: ignore[operator]
        exact = flow(schedule, noise, steps[-1], steps[0])
        return float((seen[0] - exact).abs().max())

    second = end_error(sample_dpm_solver, 64) / end_error(sample_dpm_solver, 128)
    first = end_error(sample_ddim, 64) / end_error(sample_ddim, 128)
    assert second == pytest.approx(4.0, rel=0.1)
    assert first == pytest.approx(2.0, rel=0.05)


def test_dpm_solver_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="no steps"):
        sample_dpm_solver(lambda noisy, step: noisy, torch.zeros(1), linear_schedule(50), ())
