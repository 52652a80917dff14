"""Distances of Gaussians against closed forms and scipy's root of a matrix."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from dimitra.metrics.frechet import Moments, frechet_distance


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    return Moments(11, mean, covariance * 10)


def test_one_dimension_is_the_difference_of_mean_and_deviation() -> None:
    one, two = (gaussian(np.array([m]), np.array([[s**2]])) for m, s in ((1.0, 2.0), (4.0, 0.5)))
    assert frechet_distance(one, two) == pytest.approx(3.0**2 + 1.5**2)


def test_covariances_that_commute_have_a_closed_form() -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    first, second = rng.uniform(0.1, 4.0, (2, 6))
    means = rng.normal(size=(2, 6))
    found = frechet_distance(
        gaussian(means[0], (turn * first) @ turn.T), gaussian(means[1], (turn * second) @ turn.T)
    )
    expected = (
        np.square(means[0] - means[1]).sum() + np.square(np.sqrt(first) - np.sqrt(second)).sum()
    )
    assert found == pytest.approx(expected)


def test_any_covariances_agree_with_the_root_of_their_product() -> None:
    rng = np.random.default_rng(1)
    features = [rng.normal(size=(40, 8)) @ rng.normal(size=(8, 8)) for _ in range(2)]
    one, two = (Moments.of(values) for values in features)
    c1, c2 = (np.cov(values.T) for values in features)
    root = sqrtm(c1 @ c2).real
    apart = np.square(features[0].mean(axis=0) - features[1].mean(axis=0)).sum()
    assert frechet_distance(one, two) == pytest.approx(apart + np.trace(c1 + c2 - 2 * root))
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_fewer_features_than_values_are_no_trouble() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(5, 20))
    one = Moments.of(features)
    assert frechet_distance(one, Moments.of(features + 2.0)) == pytest.approx(80.0)
    still = Moments.of(np.zeros((4, 20)))
    expected = np.square(features.mean(axis=0)).sum() + np.trace(np.cov(features.T))
    assert frechet_distance(one, still) == pytest.approx(expected)


def test_moments_of_parts_add_up_to_those_of_all() -> None:
    values = np.random.default_rng(3).normal(size=(30, 4))
    whole = Moments.of(values)
    parts = Moments.of(values[:7]) + Moments.of(values[7:8]) + Moments.of(values[8:])
    assert parts.count == 30
    np.testing.assert_allclose(parts.mean, whole.mean)
    np.testing.assert_allclose(parts.covariance, np.cov(values.T))
    assert Moments.of(values[:1]).covariance.any() == 0


def test_what_is_no_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Moments.of(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="N > 0"):
        Moments.of(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="do not compare"):
        frechet_distance(Moments.of(np.zeros((2, 3))), Moments.of(np.zeros((2, 4))))
