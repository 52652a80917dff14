import numpy as np
import pytest

from dimitra.sample.clothes import COLLARS, COLUMNS, make_body, neck_half_width


@pytest.mark.parametrize("collar", COLLARS)
def test_cloth_lies_over_the_chest(collar):
    skin, cloth = make_body(collar, 1.0)
    assert skin.shape[1:] == cloth.shape[1:] == (COLUMNS, 3)
    chest, over = skin[-8:], cloth[-8:]
    outward = [np.hypot(ring[..., 0], ring[..., 2] + 0.5) for ring in (chest, over)]
    assert (outward[0] < outward[1]).all()
    assert (chest[..., 1] < over[..., 1]).all()


def test_a_v_is_deeper_than_a_round_collar_and_a_turtleneck_covers_the_neck():
    front = {name: make_body(name, 1.0)[1][0, COLUMNS // 2] for name in COLLARS}
    assert front["v"][1] < front["round"][1] - 0.2 < front["turtleneck"][1]


def test_shoulders_follow_the_build():
    wide, narrow = (np.abs(make_body("round", width)[1][..., 0]).max() for width in (1.0, 0.86))
    assert narrow < 0.95 * wide


def test_the_neck_widens_downwards():
    width = neck_half_width(np.array([-0.4, -0.6, -0.9], np.float32))
    assert (np.diff(width) > 0).all()
