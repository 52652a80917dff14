from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.faces.boxes import area, overlap

sides = st.integers(0, 12)


def _box(x: int, y: int, w: int, h: int) -> np.ndarray:
    return np.array([x, y, x + w, y + h], np.float32)


@given(st.tuples(sides, sides, sides, sides), st.tuples(sides, sides, sides, sides))
def test_overlap_agrees_with_counting_pixels(
    first: tuple[int, int, int, int], second: tuple[int, int, int, int]
) -> None:
    masks = []
    for x, y, w, h in (first, second):
        mask = np.zeros((24, 24), bool)
        mask[y : y + h, x : x + w] = True
        masks.append(mask)
    both, either = (masks[0] & masks[1]).sum(), (masks[0] | masks[1]).sum()
    expected = both / either if either else 0.0
    assert overlap(_box(*first), _box(*second)) == pytest.approx(expected)
    assert area(_box(*first)) == masks[0].sum()
