import numpy as np
import pytest

from dimitra.metrics.coefficients import mean_absolute_error


def test_known_error():
    reference = np.zeros((5, 13), dtype=np.float32)
    assert mean_absolute_error(reference, reference) == 0.0
    assert mean_absolute_error(reference + 0.25, reference) == 0.25
    assert mean_absolute_error(np.full(13, -2.0), reference) == 2.0


def test_alternating_signs_do_not_cancel():
    reference = np.zeros((4, 2))
    assert mean_absolute_error(np.array([[1.0, -1.0]] * 4), reference) == 1.0


@pytest.mark.parametrize("shape", [(4, 13), (5, 12), (0, 13)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match=r"\[T, D\]"):
        mean_absolute_error(np.zeros(shape), np.zeros((5, 13) if shape[0] else (0, 13)))
