"""The mathematics behind the committed table, on data of known make."""

from __future__ import annotations

import numpy as np
import pytest

from dimitra.morphable import open_head
from dimitra.sample.landmark_map import MODES, _barycentric, factors, random_units


def test_barycentric_weights_are_found_and_kept_on_the_triangle() -> None:
    generator = np.random.default_rng(0)
    corners = generator.standard_normal((50, 3, 2)) * 10
    for weights in ([0.2, 0.5, 0.3], [1.0, 0.0, 0.0]):
        cost, found = _barycentric(corners, np.einsum("nkc,k->nc", corners, weights))
        assert found == pytest.approx(weights, abs=1e-9)
        assert cost < 1e-12
    outside = np.einsum("nkc,k->nc", corners, [1.5, -0.25, -0.25])
    assert _barycentric(corners, outside)[1].min() >= 0


def test_factors_whiten_noise_of_known_make() -> None:
    generator = np.random.default_rng(1)
    points, count = 50, 6000
    shared = generator.standard_normal((3, 2 * points)) * 0.8
    flat = generator.standard_normal((count, 3)) @ shared
    flat += 0.5 * generator.standard_normal((count, 2 * points))
    own, modes = factors(flat.reshape(count, points, 2))
    assert modes.shape == (2 * points, MODES)
    scaled = flat / np.repeat(own, 2)
    white = scaled - scaled @ modes @ modes.T
    values = np.linalg.eigvalsh(np.cov(white.T))
    assert values.max() < 2.0
    assert own == pytest.approx(0.5, rel=0.4)


def test_random_faces_start_neutral_and_stay_within_bounds() -> None:
    names = open_head.load().unit_names
    units = random_units(names, 40, np.random.default_rng(2))
    assert units.shape == (40, len(names))
    assert not units[0].any()
    assert units.min() >= 0
    assert units.max() <= 1
    assert (units[:, names.index("jawOpen")] > 0.1).mean() > 0.3
    assert not (
        (units[:, names.index("jawLeft")] > 0) & (units[:, names.index("jawRight")] > 0)
    ).any()
