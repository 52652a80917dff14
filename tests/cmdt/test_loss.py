import pytest
import torch

from dimitra.cmdt.loss import losses


def test_weighted_sum_over_real_frames() -> None:
    error = torch.zeros(2, 3, 4)
    error[0, 0] = 2.0
    error[1, 1] = 1.0
    error[1, 2] = float("nan")
    mask = torch.tensor([[True, True, True], [True, True, False]])
    result = losses(error, mask, loss_weight=6.0, first_pose_weight=1.0)
    assert result.diffusion.item() == pytest.approx((4.0 + 1.0) / 5)
    assert result.first_pose.item() == pytest.approx(4.0 / 2)
    assert result.total.item() == pytest.approx(6.0 * 1.0 + 2.0)
