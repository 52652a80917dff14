from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2gray
from skimage.transform import downscale_local_mean

from dimitra.assets import asset_path
from dimitra.faces.landmarks import Dlib68
from dimitra.faces.shape_predictor import ShapePredictor

FACE = np.array([170, 40, 280, 150], np.float32)


@pytest.fixture(scope="module")
def predictor() -> ShapePredictor:
    return ShapePredictor(asset_path("dlib_68"))


def _photo() -> NDArray[np.uint8]:
    return np.rint(255 * rgb2gray(data.astronaut()[:320, 60:380])).astype(np.uint8)


def _boxes(count: int) -> NDArray[np.float32]:
    """Good and bad boxes, some of which reach over the border."""
    face = FACE - np.array([60, 0, 60, 0])
    return np.rint(face + np.random.default_rng(5).normal(0, 25, (count, 4))).astype(np.float32)


def test_rounded_answers_are_those_of_dlib(predictor: ShapePredictor) -> None:
    boxes, photo = _boxes(40), _photo()
    ours = predictor.measure(photo[None], boxes, np.zeros(40, np.int64), between=False)
    dlib = Dlib68(asset_path("dlib_68"))
    theirs = np.stack([dlib.measure(photo, box) for box in boxes])
    assert ours.shape == (40, 68, 2)
    assert np.abs(np.floor(ours + 0.5) - theirs).max() == 0


def test_values_between_pixels_steady_a_face_that_moves_by_less(
    predictor: ShapePredictor,
) -> None:
    """A small picture of the photograph, moved by quarters of its pixels."""
    grey = rgb2gray(data.astronaut())
    shifts = np.array([(x, y) for x in range(4) for y in range(4)], np.float32)
    small = [
        downscale_local_mean(grey[int(y) : int(y) + 320, int(x) + 60 : int(x) + 380], (4, 4))
        for x, y in shifts
    ]
    images = np.rint(255 * np.stack(small)).astype(np.uint8)
    shifts /= 4
    boxes = (FACE - np.array([60, 0, 60, 0])) / 4 - np.tile(shifts, 2)
    fine, rough = (
        (predictor.measure(images, boxes, between=between) + shifts[:, None]).std(axis=0).mean()
        for between in (True, False)
    )
    assert fine < 0.3
    assert fine < 0.7 * rough


def test_faces_of_a_batch_do_not_touch_each_other(predictor: ShapePredictor) -> None:
    boxes, photo = _boxes(9), _photo()
    images = np.stack([photo, photo[:, ::-1], photo // 2])
    frames = np.array([0, 1, 2, 2, 1, 0, 0, 1, 2])
    together = predictor.measure(images, boxes, frames)
    for index, (box, frame) in enumerate(zip(boxes, frames, strict=True)):
        alone = predictor.measure(images[frame][None], box[None])
        assert np.array_equal(alone[0], together[index])


def test_views_and_no_faces_are_fine(predictor: ShapePredictor) -> None:
    photo, box = _photo(), _boxes(1)
    wide = np.zeros((320, 400), np.uint8)
    wide[:, 40:360] = photo
    view = wide[None, :, 40:360]
    assert np.array_equal(predictor.measure(view, box), predictor.measure(photo[None], box))
    assert predictor.measure(view, box[:0], np.zeros(0, np.int64)).shape == (0, 68, 2)


def test_shapes_that_do_not_fit_are_refused(predictor: ShapePredictor) -> None:
    photo, box = _photo()[None], _boxes(1)
    with pytest.raises(ValueError, match=r"need \[T, H, W\]"):
        predictor.measure(photo[0], box)
    with pytest.raises(ValueError, match="2 boxes lie in images"):
        predictor.measure(photo, np.repeat(box, 2, axis=0))
    with pytest.raises(ValueError, match="images \\[1\\] of 1"):
        predictor.measure(photo, box, np.array([1]))


@pytest.mark.parametrize("kind", ["cut", "longer", "other"])
def test_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    whole = asset_path("dlib_68").read_bytes()
    content = {"cut": whole[:5_000_000], "longer": whole + b"\0", "other": bytes(range(256)) * 4}
    (tmp_path / "trees.dat").write_bytes(content[kind])
    with pytest.raises(ValueError, match=r"trees\.dat"):
        ShapePredictor(tmp_path / "trees.dat")
