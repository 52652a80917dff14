"""Filling keeps what is known and continues it smoothly."""

from __future__ import annotations

import numpy as np
import pytest

from dimitra.render.inpaint import fill_unknown


def test_known_pixels_stay() -> None:
    image = np.random.default_rng(0).random((37, 50, 3)).astype(np.float32)
    known = np.random.default_rng(1).random((37, 50)) < 0.6
    filled = fill_unknown(image, known)
    np.testing.assert_array_equal(filled[known], image[known])
    assert filled.min() >= 0
    assert filled.max() <= 1


def test_a_constant_continues_as_itself() -> None:
    known = np.zeros((64, 48), bool)
    known[10:20, 5:9] = True
    image = np.where(known[..., None], np.float32(0.3), np.float32(9.0))
    np.testing.assert_allclose(fill_unknown(image, known), 0.3, atol=1e-6)


def test_a_hole_in_a_ramp_is_bridged() -> None:
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (64, 1, 1))
    known = np.ones((64, 64), bool)
    known[24:40, 24:40] = False
    filled = fill_unknown(np.where(known[..., None], ramp, 0.0), known)
    assert np.abs(filled - ramp).max() < 0.06


def test_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the 8x4 pixels"):
        fill_unknown(np.zeros((4, 8, 3)), np.zeros((4, 8)))
