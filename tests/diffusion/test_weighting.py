import numpy as np
import pytest

from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.weighting import level_weights


def test_uniform_weights_are_one() -> None:
    np.testing.assert_array_equal(level_weights(linear_schedule(500), "uniform"), np.ones(500))


def test_weights_follow_the_signal_to_noise_ratio_between_their_bounds() -> None:
    schedule = linear_schedule(500)
    weights = level_weights(schedule, "snr")
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] / weights[-1] == pytest.approx(5.0)
    ratio = [schedule.alpha_bar_of(t) / (1 - schedule.alpha_bar_of(t)) for t in range(500)]
    between = [t for t in range(500) if 1.0 < ratio[t] < 5.0]
    assert 30 < len(between) < 100
    for t in between:
        assert weights[t] / weights[-1] == pytest.approx(ratio[t])
    assert (np.diff(weights) <= 0).all()
