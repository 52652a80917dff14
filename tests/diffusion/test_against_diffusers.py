"""Schedule, targets and samplers against the schedulers of diffusers, on the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dimitra.diffusion.samplers import sample_ancestral, sample_ddim, sample_dpm_solver
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import spaced_steps
from dimitra.diffusion.target import Target, clean_from, target_of

diffusers = pytest.importorskip("diffusers")

STEPS = 500
BETAS = {
    "num_train_timesteps": STEPS,
    "beta_start": 0.0002,
    "beta_end": 0.04,
    "beta_schedule": "linear",
}
SCHEDULE = linear_schedule(STEPS)
PREDICTION: dict[Target, str] = {"x0": "sample", "epsilon": "epsilon", "v": "v_prediction"}
TIGHT = {"atol": 2e-5, "rtol": 2e-4}
"""diffusers multiplies its schedule out in float32."""


def network(noisy: Tensor, step: int) -> Tensor:
    """Some smooth function of noisy motion and step."""
    return torch.tanh(noisy.roll(1, dims=-1) + 0.5) * (1.0 + step / STEPS)


def denoiser(target: Target) -> Any:
    return lambda noisy, step: clean_from(target, SCHEDULE, network(noisy, step), noisy, step)


def start() -> Tensor:
    return torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(4))


def run(scheduler: Any, **options: Any) -> Tensor:
    current = start()
    for step in scheduler.timesteps:
        output = network(current, int(step))
        current = scheduler.step(output, int(step), current, **options).prev_sample
    return current


@pytest.mark.parametrize("target", ["x0", "epsilon", "v"])
def test_noise_and_velocity(target: Target) -> None:
    scheduler = diffusers.DDIMScheduler(**BETAS, prediction_type=PREDICTION[target])
    clean, noise, steps = start(), start().flip(0), torch.tensor([3, 470])
    torch.testing.assert_close(
        SCHEDULE.add_noise(clean, noise, steps), scheduler.add_noise(clean, noise, steps), **TIGHT
    )
    if target == "v":
        torch.testing.assert_close(
            target_of("v", SCHEDULE, clean, noise, steps),
            scheduler.get_velocity(clean, noise, steps),
            **TIGHT,
        )


@pytest.mark.parametrize("target", ["x0", "v"])
@pytest.mark.parametrize(("count", "spacing"), [(25, "leading"), (10, "trailing")])
def test_ddim(target: Target, count: int, spacing: str) -> None:
    scheduler = diffusers.DDIMScheduler(
        **BETAS,
        prediction_type=PREDICTION[target],
        timestep_spacing=spacing,
        clip_sample=False,
        set_alpha_to_one=True,
    )
    scheduler.set_timesteps(count)
    steps = spaced_steps(SCHEDULE, count, spacing)  # type: ignore[arg-type]
    assert scheduler.timesteps.tolist() == list(reversed(steps))
    ours = sample_ddim(denoiser(target), start(), SCHEDULE, steps)
    torch.testing.assert_close(ours, run(scheduler, eta=0.0), **TIGHT)


def test_ddim_from_predicted_noise() -> None:
    """From pure noise on, division by the root of abar blows every rounding up; so, fewer steps."""
    scheduler = diffusers.DDIMScheduler(**BETAS, prediction_type="epsilon", clip_sample=False)
    scheduler.set_timesteps(25)
    scheduler.timesteps = scheduler.timesteps[10:]
    ours = sample_ddim(denoiser("epsilon"), start(), SCHEDULE, spaced_steps(SCHEDULE, 25)[:15])
    torch.testing.assert_close(ours, run(scheduler, eta=0.0), **TIGHT)


@pytest.mark.parametrize("count", [25, 100])
def test_ancestral(count: int) -> None:
    scheduler = diffusers.DDPMScheduler(
        **BETAS,
        prediction_type="sample",
        timestep_spacing="leading",
        variance_type="fixed_small",
        clip_sample=False,
    )
    scheduler.set_timesteps(count)
    steps = spaced_steps(SCHEDULE, count)
    generator = torch.Generator().manual_seed(9)
    ours = sample_ancestral(denoiser("x0"), start(), SCHEDULE, steps, generator)
    theirs = run(scheduler, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(ours, theirs, **TIGHT)


@pytest.mark.parametrize("target", ["x0", "v"])
@pytest.mark.parametrize(
    ("count", "spacing"), [(25, "leading"), (5, "trailing"), (20, "trailing"), (10, "log_snr")]
)
def test_dpm_solver(target: Target, count: int, spacing: str) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        prediction_type=PREDICTION[target],
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    steps = spaced_steps(SCHEDULE, count, spacing)  # type: ignore[arg-type]
    scheduler.set_timesteps(timesteps=list(reversed(steps)))
    ours = sample_dpm_solver(denoiser(target), start(), SCHEDULE, steps)
    torch.testing.assert_close(ours, run(scheduler), **TIGHT)
