"""Descriptors against the libraries' own paths from a picture to a descriptor."""

from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
import pytest
from insightface.utils.face_align import norm_crop
from numpy.typing import NDArray
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from dimitra.assets import asset_path
from dimitra.faces.recognition import ArcFace, DlibFaces, aligned_face, cosine
from tests.metrics.networks import mean_colour

FACE = np.ascontiguousarray(astronaut()[0:256, 100:356])


def landmarks(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    box = dlib.get_frontal_face_detector()(image)[0]
    shape = dlib.shape_predictor(str(asset_path("dlib_68")))(image, box)
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)


@pytest.fixture(scope="module")
def points() -> NDArray[np.float64]:
    return landmarks(FACE)


def five(points: NDArray[np.float64]) -> NDArray[np.float64]:
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def test_dlibs_descriptor_is_that_of_its_own_detection(points) -> None:
    path = asset_path("dlib_face_recognition")
    box = dlib.get_frontal_face_detector()(FACE)[0]
    shape = dlib.shape_predictor(str(asset_path("dlib_68")))(FACE, box)
    own = dlib.face_recognition_model_v1(str(path)).compute_face_descriptor(FACE, shape)
    found = DlibFaces(path).describe(FACE, points)
    assert found.shape == (128,)
    np.testing.assert_allclose(found, np.array(own), atol=1e-6)


def test_a_turned_picture_of_one_person_is_nearer_than_another_face(points) -> None:
    network = DlibFaces(asset_path("dlib_face_recognition"))
    turned = warp(FACE, SimilarityTransform(rotation=0.1, translation=(9, -4)), mode="edge")
    turned = (turned * 255).round().astype(np.uint8)
    own = network.describe(FACE, points)
    same = network.describe(turned, landmarks(turned))
    # A face of other proportions: the same picture, pulled lengthwise.
    other = np.ascontiguousarray(np.repeat(FACE[:, ::2], 2, axis=1)[::-1])
    upside = network.describe(other, points)
    assert cosine(own, own) == pytest.approx(1.0)
    assert cosine(own, same) > 0.97
    assert cosine(own, upside) < cosine(own, same) - 0.05


def test_arcfaces_picture_is_insightfaces(points) -> None:
    theirs = norm_crop(FACE, five(points).astype(np.float32), 112).astype(float)
    found = aligned_face(FACE, points).astype(float)
    inner = (slice(4, -4), slice(4, -4))
    assert np.abs(found[inner] - theirs[inner]).mean() < 1.0
    with pytest.raises(ValueError, match="68"):
        aligned_face(FACE, points[:5])


def test_arcface_sees_rgb_in_minus_one_to_one(points, tmp_path: Path) -> None:
    mean_colour(tmp_path / "w600k_r50.onnx", ["N", 3, 112, 112])
    expected = aligned_face(FACE, points).mean(axis=(0, 1)) / 127.5 - 1.0
    for path in (tmp_path, tmp_path / "w600k_r50.onnx"):
        found = ArcFace(path).describe(FACE, points)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no w600k_r50\.onnx"):
        ArcFace(tmp_path)
    with pytest.raises(ValueError, match=r"small\.onnx takes .*112"):
        ArcFace(mean_colour(tmp_path / "small.onnx", ["N", 3, 8, 8]))


def test_the_cosine_of_nothing_is_refused() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(2**-0.5)
    with pytest.raises(ValueError, match="not zero"):
        cosine(np.zeros(3), np.ones(3))
