import pytest
import torch
from torch import Tensor

from dimitra.cmdt.loss import LossWeights, losses


def errors() -> tuple[Tensor, Tensor]:
    error = torch.zeros(2, 3, 4)
    error[0, 0] = 2.0
    error[1, 1] = 1.0
    error[1, 2] = float("nan")
    return error, torch.tensor([[True, True, True], [True, True, False]])


def test_weighted_sum_over_real_frames() -> None:
    result = losses(*errors(), LossWeights(diffusion=6.0, first_pose=1.0))
    assert result.diffusion.item() == pytest.approx((4.0 + 1.0) / 5)
    assert result.first_pose.item() == pytest.approx(4.0 / 2)
    assert result.total.item() == pytest.approx(6.0 * 1.0 + 2.0)


def test_what_is_masked_does_not_reach_the_gradient() -> None:
    error, mask = errors()
    error.requires_grad_()
    losses(error, mask, LossWeights(6.0, 1.0, velocity=2.0)).total.backward()
    assert error.grad is not None
    assert error.grad.isfinite().all()
    assert (error.grad[1, 2] == 0).all()
    assert (error.grad[0, 0] != 0).all()


def test_velocity_is_that_of_real_neighbours() -> None:
    result = losses(*errors(), LossWeights(6.0, 1.0, velocity=2.0))
    assert result.velocity.item() == pytest.approx((4.0 + 0.0 + 1.0) / 3)
    assert result.total.item() == pytest.approx(6.0 + 2.0 + 2.0 * 5.0 / 3)


def test_a_level_weighs_every_part_of_its_window() -> None:
    result = losses(*errors(), LossWeights(6.0, 1.0, 2.0), levels=torch.tensor([0.5, 3.0]))
    assert result.diffusion.item() == pytest.approx((0.5 * 4.0 + 3.0 * 1.0) / 5)
    assert result.first_pose.item() == pytest.approx(0.5 * 4.0 / 2)
    assert result.velocity.item() == pytest.approx((0.5 * 4.0 + 3.0 * 1.0) / 3)


def test_shares_of_a_batch_add_up_to_it() -> None:
    error, mask = torch.randn(5, 7, 3), torch.ones(5, 7, dtype=torch.bool)
    mask[1, 1:] = False  # one frame: no pair
    mask[4, 5:] = False
    levels, weights = torch.rand(5), LossWeights(6.0, 1.0, 2.0)
    whole = losses(error, mask, weights, levels=levels)
    shares = [
        losses(error[own], mask[own], weights, mask.sum(), 5, levels[own])
        for own in (slice(0, 2), slice(2, 5))
    ]
    for name in ("total", "diffusion", "first_pose", "velocity"):
        added = sum(float(getattr(share, name)) for share in shares)
        assert added == pytest.approx(float(getattr(whole, name)), rel=1e-5)


def test_a_window_of_one_frame_has_no_velocity() -> None:
    result = losses(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), LossWeights(6, 0, 2))
    assert result.velocity.item() == 0.0
    assert result.total.item() == pytest.approx(6.0)
