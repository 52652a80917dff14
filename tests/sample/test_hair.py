import numpy as np
import pytest

from dimitra.morphable import open_head
from dimitra.sample.hair import STYLES, make_hair, smooth_part

BROWN = (0.26, 0.16, 0.09)


def _styles(gender: str) -> dict[str, object]:
    model = open_head.load()
    drawn = [make_hair(model, gender, BROWN, np.random.default_rng(seed)) for seed in range(40)]
    return {hair.style: hair for hair in drawn}


@pytest.mark.parametrize("gender", ["f", "m"])
def test_every_style_leaves_the_face_free(gender):
    model = open_head.load()
    styles = _styles(gender)
    assert set(styles) == set(STYLES[gender])
    face = model.landmarks_68[17:].numpy()
    for hair in styles.values():
        assert (hair.thickness[face] < 0).all()
        assert (hair.thickness[model.part("ears").numpy()] < 0).all()
        assert np.isfinite(hair.fall).all()
        front = hair.fall[(hair.fall[..., 2] > 0.1) & (hair.fall[..., 1] > -0.5)]
        assert (np.abs(front[:, 0]) > 0.4).all()


def test_styles_differ():
    styles = _styles("m")
    top = open_head.load().mean[:, 1].argmax()
    assert styles["bald"].thickness.max() < 0
    assert 0 < styles["crop"].thickness[top] < styles["short"].thickness[top]
    assert len(styles["short"].fall) == 0
    assert len(_styles("f")["long"].fall) > 0


def test_a_part_is_smoothed_over_its_border():
    model = open_head.load()
    mask, part = smooth_part(model, "scalp", 4), model.part("scalp").numpy()
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-9
    assert ((mask > 0.05) & (mask < 0.95)).sum() > 100
    assert mask[part].mean() > 0.8
    assert mask[~part].mean() < 0.1
