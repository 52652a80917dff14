"""The mathematics behind the committed table, on data of known make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.camera import rotation
from dimitra.sample.landmark_map import (
    MODES,
    Measured,
    _barycentric,
    factors,
    random_units,
    respond,
)


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


def test_response_of_known_make_is_found_and_noise_is_what_is_left() -> None:
    generator = np.random.default_rng(3)
    people, faces, points = 150, 12, 4
    count = people * faces
    known = 0.01 * generator.standard_normal((1 + 64 + 80, points, 3))
    known[65:] *= 0.05  # 150 people cannot show 80 directions well
    identity = np.repeat(generator.standard_normal((people, 80)), faces, 0)
    expression = generator.standard_normal((count, 64))
    angles = torch.from_numpy(0.2 * generator.standard_normal((count, 3)))
    turns, scale = rotation(angles).numpy(), generator.uniform(90, 110, count)
    inputs = np.concatenate([np.ones((count, 1)), expression, identity], axis=1)
    moved = np.einsum("nac,nk,kpc->npa", turns, inputs, known)[..., :2] * (1.0, -1.0)
    noise = 0.3 * generator.standard_normal((count, points, 2))
    miss = moved * scale[:, None, None] + noise
    nothing = np.zeros((count, 0))
    measured = Measured(
        (), nothing, nothing, nothing, expression, identity, turns, scale,
        np.repeat(np.arange(people), faces),
    )  # fmt: skip
    response, left = respond(measured, miss)
    # In the image plane; depth is seen only by turning.
    assert np.abs(response - known)[:65, :, :2].mean() < 0.1 * np.abs(known[:65]).mean()
    own = 100 * 0.0005 * np.sqrt(80)  # of identity, were none of it found
    unknowns, equations = 3 * 145, 2 * count * 4 / 5
    assert 0.3 < left.std() < np.hypot(0.3, own) * (1 + unknowns / equations)
    assert miss.std() > 5
    # Predicted minus measured, for people left out: their noise, and what is independent of it.
    share = np.corrcoef(left.ravel(), -noise.ravel())[0, 1]
    assert share == pytest.approx(0.3 / left.std(), rel=0.05)
