from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.faces.mesh import FaceMesh, pack, unpack
from dimitra.shards import npz_bytes, read_npz


def mesh(seed: int, side: int) -> FaceMesh:
    random = np.random.default_rng(seed)
    return FaceMesh(
        random.uniform(-0.2 * side, 1.2 * side, (5, 478, 2)).astype(np.float32),
        random.uniform(0, 1, (5, 52)).astype(np.float32),
        random.random(5) < 0.5,
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from((64, 256, 1024)))
def test_a_mesh_comes_back_within_half_a_step(seed: int, side: int) -> None:
    first = mesh(seed, side)
    again = unpack(read_npz(npz_bytes(pack(first, side))))
    assert again is not None
    assert again.points.dtype == again.scores.dtype == np.float32
    assert np.abs(again.points - first.points).max() <= 0.5 * side / 16_384 + 1e-4
    assert np.abs(again.scores - first.scores).max() <= 0.5 / 65_535 + 1e-7
    assert np.array_equal(again.found, first.found)
    packed = pack(again, side)
    assert np.array_equal(packed["mesh"], pack(first, side)["mesh"])


def test_the_error_at_256_pixels_is_below_a_hundredth_and_the_size_less_than_half() -> None:
    first = mesh(0, 256)
    packed = pack(first, 256)
    again = unpack(packed)
    assert again is not None
    assert np.abs(again.points - first.points).max() < 0.01
    stored = len(npz_bytes(packed))
    plain = len(npz_bytes({"mesh": first.points, "mesh_scores": first.scores}))
    assert stored < 0.56 * plain


def test_a_point_far_outside_is_held_at_the_limit_not_wrapped() -> None:
    far = FaceMesh(
        np.full((1, 478, 2), 5000.0, np.float32),
        np.full((1, 52), 1.0000001, np.float32),
        np.ones(1, np.bool_),
    )
    again = unpack(pack(far, 256))
    assert again is not None
    assert again.points.min() == pytest.approx(512, abs=0.1)
    assert again.scores.max() == 1.0


def test_no_mesh_and_a_mesh_of_another_layout() -> None:
    assert unpack({"landmarks": np.zeros((1, 68, 2), np.float32)}) is None
    old = {
        "mesh": np.zeros((1, 478, 2), np.float32),
        "mesh_scores": np.zeros((1, 52), np.float32),
        "mesh_found": np.ones(1, np.bool_),
    }
    with pytest.raises(ValueError, match="make the crops again"):
        unpack(old)
