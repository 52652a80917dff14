from dataclasses import replace

import numpy as np

from dimitra.morphable import open_head
from dimitra.sample.paint import DETAIL_PX, Hairs, paint, unwrap

SKIN = np.array([0.9, 0.7, 0.6], np.float32)
PLAIN = Hairs((0.1, 0.08, 0.06), 0.02, 0.8, 0.0, 0.0, 0.5)


def _skin(hairs: Hairs) -> np.ndarray:
    return paint(np.random.default_rng(0), hairs, SKIN, 0.0)[0].astype(float) / 128


def _texels(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    column, row = (unwrap(points) * DETAIL_PX).astype(int).T
    return row, column


def test_brows_lie_on_the_brow_landmarks():
    model = open_head.load()
    points = model.mean[model.landmarks_68].numpy() - [0, 0.015, 0]  # they lie on the upper edge
    skin = _skin(PLAIN)
    brows, cheeks = skin[_texels(points[[18, 19, 24, 25]])], skin[_texels(points[[3, 13]])]
    assert brows.mean() < 0.6
    assert cheeks.mean() > 0.9


def test_thickness_strength_and_beard():
    thin, thick = _skin(replace(PLAIN, brow_half_dm=0.012)), _skin(PLAIN)
    assert (thin < 0.6).sum() < 0.8 * (thick < 0.6).sum()
    pale = _skin(replace(PLAIN, brow_density=0.4))
    assert pale.min() > thick.min() + 0.2
    model = open_head.load()
    chin = model.mean[model.landmarks_68[[6, 7, 8, 9, 10]]].numpy()
    bearded = _skin(replace(PLAIN, beard=0.5))
    assert bearded[_texels(chin)].mean() < 0.75 * thick[_texels(chin)].mean()
    nose = model.mean[model.landmarks_68[27:31]].numpy()
    np.testing.assert_array_equal(bearded[_texels(nose)], thick[_texels(nose)])


def test_unwrap_is_symmetric_and_inside():
    points = open_head.load().mean.numpy().astype(np.float64)
    uv = unwrap(points)
    assert uv.min() >= 0
    assert uv.max() <= 1
    np.testing.assert_allclose(unwrap(points * [-1, 1, 1])[:, 0], 1 - uv[:, 0], atol=1e-9)
