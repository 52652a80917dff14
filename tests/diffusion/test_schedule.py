import numpy as np
import pytest
import torch

from dimitra.diffusion.schedule import linear_schedule


def test_five_hundred_steps_match_the_published_levels() -> None:
    schedule = linear_schedule(500)
    betas = 1.0 - schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]
    assert 1.0 - schedule.alpha_bar[0] == pytest.approx(0.0002)
    assert betas[-1] == pytest.approx(0.04)
    assert schedule.alpha_bar[480] == pytest.approx(8.1e-5, rel=0.01)
    assert schedule.alpha_bar[499] == pytest.approx(3.8e-5, rel=0.02)


def test_one_jump_equals_a_chain_of_single_steps() -> None:
    schedule = linear_schedule(100)
    mean, variance, previous = 1.0, 0.0, 1.0
    for kept in schedule.alpha_bar:
        alpha = kept / previous
        mean, variance, previous = mean * alpha**0.5, variance * alpha + 1.0 - alpha, kept
    assert mean == pytest.approx(schedule.alpha_bar[-1] ** 0.5)
    assert variance == pytest.approx(1.0 - schedule.alpha_bar[-1])


def test_add_noise_uses_each_sample_s_own_step() -> None:
    schedule = linear_schedule(50)
    clean, noise = torch.ones(3, 4, 2), torch.full((3, 4, 2), 2.0)
    noisy = schedule.add_noise(clean, noise, torch.tensor([0, 20, 49]))
    for row, step in enumerate([0, 20, 49]):
        kept = schedule.alpha_bar[step]
        expected = np.sqrt(kept) + 2.0 * np.sqrt(1.0 - kept)
        assert noisy[row].numpy() == pytest.approx(expected, rel=1e-6)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="20 diffusion steps"):
        linear_schedule(20)
