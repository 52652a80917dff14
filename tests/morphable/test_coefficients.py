"""Coefficient layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimitra.morphable.coefficients import (
    COEFFICIENTS,
    join_motion,
    part_indices,
    slices,
    split_motion,
)


def test_the_257_values_of_deng() -> None:
    layout = slices()
    assert COEFFICIENTS == 257
    assert layout["expression"] == slice(80, 144)
    assert layout["angles"] == slice(224, 227)
    assert layout["translation"] == slice(254, 257)


@pytest.mark.parametrize("face_model", ["open_head", "bfm"])
def test_split_and_join_are_inverse(face_model: str) -> None:
    motion = torch.arange(3 * 70, dtype=torch.float32).reshape(3, 70)
    parts = split_motion(motion, face_model)
    assert [value.shape[-1] for value in parts.values()] == [13, 51, 6]
    assert torch.equal(join_motion(parts, face_model), motion)
    array = motion.numpy()
    assert np.array_equal(join_motion(split_motion(array, face_model), face_model), array)


def test_mouth_of_the_basel_model() -> None:
    assert part_indices("bfm")["expression"][:3] == [6, 8, 15]


def test_wrong_width_is_named() -> None:
    with pytest.raises(ValueError, match="71 values a frame, expected 70"):
        split_motion(torch.zeros(2, 71), "open_head")
    with pytest.raises(ValueError, match="flame"):
        part_indices("flame")
