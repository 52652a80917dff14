from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2gray
from skimage.transform import AffineTransform, warp

from dimitra.assets import asset_path
from dimitra.faces.boxes import overlap
from dimitra.faces.detector import DlibDetector
from dimitra.faces.landmarks import Dlib68, face_box, load_68
from dimitra.faces.shape_predictor import ShapePredictor
from dimitra.faces.track import measure_steadily

EYES_LEFT_RIGHT = ((203.5, 100.8), (246.8, 103.0))
"""Pupils of the photograph, read off by eye, pixels."""


@pytest.fixture(scope="module")
def landmarker() -> ShapePredictor:
    return load_68(asset_path("dlib_68"))


def _grey(image: np.ndarray) -> np.ndarray:
    return np.rint(255 * rgb2gray(image)).astype(np.uint8)


def _measure(landmarker: ShapePredictor, image: np.ndarray) -> np.ndarray:
    face = DlibDetector().detect(image)[0]
    grey = _grey(image)[None]
    rough = landmarker.measure(grey, face.box[None])
    return measure_steadily(landmarker, grey, face_box(rough))[0]


def test_the_astronaut_is_found_once_with_eyes_where_they_are(landmarker: ShapePredictor) -> None:
    image = data.astronaut()
    faces = DlibDetector().detect(image)
    assert len(faces) == 1
    points = _measure(landmarker, image)
    for eye, true in zip((points[36:42], points[42:48]), EYES_LEFT_RIGHT, strict=True):
        assert eye.mean(axis=0) == pytest.approx(true, abs=3)
    assert overlap(face_box(points), faces[0].box) > 0.6


def test_landmarks_follow_a_shift_and_a_zoom(landmarker: ShapePredictor) -> None:
    image = data.astronaut()[:320, 60:380]
    points = _measure(landmarker, image)
    move = AffineTransform(scale=1.15, translation=(-23.0, -12.0))
    moved = warp(image, move.inverse, order=3, mode="edge", preserve_range=True)
    again = _measure(landmarker, moved.clip(0, 255).astype(np.uint8))
    assert np.linalg.norm(again - move(points), axis=1).mean() < 2.0


def test_the_box_moves_and_grows_with_the_face_and_ignores_the_mouth() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(100, 200, (5, 68, 2)).astype(np.float32)
    box = face_box(points)
    assert face_box(2 * points + 7) == pytest.approx(2 * box + 7, rel=1e-4)
    opened = points.copy()
    opened[:, 48:] += 30
    assert np.array_equal(face_box(opened), box)


def test_views_of_larger_images_are_read_right() -> None:
    landmarker = Dlib68(asset_path("dlib_68"))
    view = data.astronaut()[:320, 60:380]
    whole = view.copy()
    for _ in range(3):
        assert [face.score for face in DlibDetector().detect(view)] == [
            face.score for face in DlibDetector().detect(whole)
        ]
        box = DlibDetector().detect(whole)[0].box
        assert np.array_equal(landmarker.measure(view, box), landmarker.measure(whole, box))
