"""The seat of the teeth; the rest of the mesh is measured in ``test_open_head``."""

from __future__ import annotations

import numpy as np

from dimitra.morphable import open_head
from dimitra.morphable.open_head_mesh import (
    LOWER_EDGE_DM,
    LOWER_TEETH_TRAVEL,
    PART_NAMES,
    UPPER_EDGE_DM,
    seat_teeth,
)


def test_only_teeth_move() -> None:
    arrays = open_head.load_arrays()
    parts = arrays["parts"]
    mean, expression = seat_teeth(
        arrays["mean"].astype(float), arrays["expression_basis"].astype(float), parts
    )
    lower = parts == PART_NAMES.index("lower_teeth")
    teeth = lower | (parts == PART_NAMES.index("upper_teeth"))
    np.testing.assert_array_equal(mean[~teeth], arrays["mean"][~teeth])
    np.testing.assert_array_equal(expression[:, ~lower], arrays["expression_basis"][:, ~lower])
    np.testing.assert_allclose(
        expression[:, lower], LOWER_TEETH_TRAVEL * arrays["expression_basis"][:, lower]
    )


def test_a_normal_bite() -> None:
    """Upper incisors before and over the lower ones, their edge just below the lips' line."""
    model = open_head.load()
    mean = model.mean.numpy()
    middle = np.abs(mean[:, 0]) < 0.01
    upper = mean[model.part("upper_teeth").numpy() & middle]
    lower = mean[model.part("lower_teeth").numpy() & middle]
    upper_edge, lower_edge = upper[upper[:, 1].argmin()], lower[lower[:, 1].argmax()]
    np.testing.assert_allclose(upper_edge[1:], UPPER_EDGE_DM, atol=1e-5)
    np.testing.assert_allclose(lower_edge[1:], LOWER_EDGE_DM, atol=1e-5)
    assert 0.01 < upper_edge[2] - lower_edge[2] < 0.05
    assert 0.005 < lower_edge[1] - upper_edge[1] < 0.04
    lips = mean[model.landmarks_68[[62, 66]].numpy(), 1].mean()
    assert 0.01 < lips - upper_edge[1] < 0.05
