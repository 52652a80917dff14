import pytest
import torch

from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.target import Target, clean_from, error_in_clean, target_of


@pytest.mark.parametrize("target", ["x0", "epsilon", "v"])
@pytest.mark.parametrize("step", [0, 250, 499])
def test_each_target_gives_the_clean_data_back(target: Target, step: int) -> None:
    schedule = linear_schedule(500)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    steps = torch.full((3,), step)
    noisy = schedule.add_noise(clean, noise, steps)
    output = target_of(target, schedule, clean, noise, steps)
    torch.testing.assert_close(clean_from(target, schedule, output, noisy, step), clean)


def test_velocity_is_the_derivative_along_the_angle() -> None:
    """With signal cos(a) and noise sin(a), v is dx/da (Salimans and Ho, 2022)."""
    schedule = linear_schedule(500)
    clean, noise = torch.tensor([1.5], dtype=torch.float64), torch.tensor([-0.4]).double()
    angle = torch.tensor(schedule.alpha_bar[250]).sqrt().acos().requires_grad_()
    (slope,) = torch.autograd.grad(angle.cos() * clean + angle.sin() * noise, angle)
    found = target_of("v", schedule, clean, noise, torch.tensor([250]))
    torch.testing.assert_close(found, slope[None])


@pytest.mark.parametrize("target", ["x0", "epsilon", "v"])
def test_an_error_in_the_output_is_carried_to_the_clean_data(target: Target) -> None:
    schedule = linear_schedule(500)
    generator = torch.Generator().manual_seed(0)
    noisy, output, error = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    for step in (0, 250, 480):
        off = clean_from(target, schedule, output + error, noisy, step)
        moved = off - clean_from(target, schedule, output, noisy, step)
        found = error_in_clean(target, schedule, error, torch.full((2,), step))
        torch.testing.assert_close(moved.abs(), found.abs())
