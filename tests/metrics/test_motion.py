import itertools

import numpy as np
import pytest

from dimitra.metrics.motion import (
    correlation,
    distribution_gap,
    diversity,
    head_range,
    head_speed,
    jerk,
    lag,
)


def test_correlation_is_that_of_numpy_and_blind_to_scale():
    generator = np.random.default_rng(0)
    one, two = generator.normal(size=(2, 50))
    assert correlation(one, two) == pytest.approx(np.corrcoef(one, two)[0, 1])
    assert correlation(one, 3.0 * one + 2.0) == pytest.approx(1.0)
    assert correlation(one, -one) == pytest.approx(-1.0)


def test_a_still_signal_has_no_correlation():
    assert correlation(np.full(9, 0.3), np.arange(9.0)) is None
    assert correlation(np.ones(1), np.ones(1)) is None
    with pytest.raises(ValueError, match=r"\[T\]"):
        correlation(np.ones(3), np.ones(4))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_speed_of_a_head_that_turns_evenly(axis):
    angles = np.zeros((11, 3))
    angles[:, axis] = np.deg2rad(np.linspace(0.0, 20.0, 11))
    assert head_speed(angles, 25.0) == pytest.approx(50.0)  # 2 degrees a frame
    assert head_speed(angles[::-1], 25.0) == pytest.approx(50.0)
    assert head_speed(angles[:1], 25.0) is None


def test_speed_is_of_rotations_not_of_euler_angles():
    """At a yaw of 90 degrees pitch and roll turn about one axis and cancel."""
    angles = np.array([[0.0, np.pi / 2, 0.0], [0.2, np.pi / 2, 0.2]])
    assert head_speed(angles, 25.0) == pytest.approx(0.0, abs=1e-4)


def test_range_is_between_percentiles_and_a_mean_of_angles():
    angles = np.zeros((101, 3))
    angles[:, 1] = np.deg2rad(np.linspace(-5.0, 5.0, 101))
    assert head_range(angles) == pytest.approx(9.0 / 3.0)
    assert head_range(angles[:1]) == 0.0


def test_diversity_is_the_mean_over_pairs():
    samples = np.random.default_rng(1).normal(size=(5, 7, 3))
    pairs = [np.abs(a - b).mean() for a, b in itertools.combinations(samples, 2)]
    assert diversity(samples) == pytest.approx(np.mean(pairs))
    assert diversity(np.repeat(samples[:1], 4, axis=0)) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="1 samples make no pair"):
        diversity(samples[:1])


def test_gap_of_distributions():
    assert distribution_gap([3.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == 0.0
    assert distribution_gap([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5)
    # The same mean with no spread is not the same distribution.
    assert distribution_gap([2.0, 2.0], [1.0, 3.0]) == pytest.approx(0.5)
    assert distribution_gap([0.0, 0.0], [1.0, 3.0]) == pytest.approx(1.0)
    assert distribution_gap([1.0], [0.0]) is None
    assert distribution_gap([1.0], []) is None


@pytest.mark.parametrize("shift", [-12, -3, 0, 1, 7])
def test_a_moved_signal_has_the_lag_by_which_it_was_moved(shift: int) -> None:
    whole = np.random.default_rng(0).normal(size=160)
    assert lag(whole[30 - shift : 130 - shift], whole[30:130]) == shift


def test_lag_needs_motion_and_prefers_none() -> None:
    assert lag(np.ones(50), np.arange(50.0)) is None
    assert lag(np.sin(np.arange(400.0) * np.pi / 5), np.sin(np.arange(400.0) * np.pi / 5)) == 0
    with pytest.raises(ValueError, match="must both be"):
        lag(np.ones(5), np.ones(6))


def test_jerk_is_that_of_a_cubic_and_none_of_a_parabola() -> None:
    times = np.arange(30.0)
    assert jerk(np.stack([times**3, -(times**3)], axis=1)) == pytest.approx(6.0)
    assert jerk((times**2)[:, None]) == pytest.approx(0.0, abs=1e-9)
    assert jerk(np.zeros((3, 2))) is None
