"""MediaPipe's landmarker on a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from dimitra.assets import asset_path
from dimitra.faces.mediapipe import MediaPipeLandmarker, complete
from dimitra.morphable import open_head

IMAGE = data.astronaut()[:256, 100:356]
PUPILS = {468: (103.5, 100.8), 473: (146.8, 103.0)}
"""Read off by eye, pixels."""


@pytest.fixture(scope="module")
def landmarker() -> MediaPipeLandmarker:
    return MediaPipeLandmarker(asset_path("mediapipe_landmarker"))


def test_points_lie_on_the_face_and_answers_repeat(landmarker: MediaPipeLandmarker) -> None:
    first, second = landmarker.measure(IMAGE), landmarker.measure(IMAGE)
    assert first is not None
    assert second is not None
    assert first[0].shape == (478, 2)
    for point, true in PUPILS.items():
        assert first[0][point] == pytest.approx(true, abs=3)
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    again = MediaPipeLandmarker(asset_path("mediapipe_landmarker")).measure(IMAGE)
    assert again is not None
    assert np.array_equal(first[0], again[0])


def test_scores_carry_the_open_heads_unit_names_and_see_the_smile(
    landmarker: MediaPipeLandmarker,
) -> None:
    names = landmarker.score_names(IMAGE)
    assert set(open_head.load().unit_names) - set(names) == {"tongueOut"}
    answer = landmarker.measure(IMAGE)
    assert answer is not None
    scores = dict(zip(names, answer[1], strict=True))
    assert scores["mouthSmileLeft"] > 0.5
    assert scores["eyeBlinkLeft"] < 0.3


def test_no_face_is_none_and_gaps_are_interpolated(landmarker: MediaPipeLandmarker) -> None:
    assert landmarker.measure(np.full((256, 256, 3), 90, np.uint8)) is None
    one = (np.zeros((478, 2), np.float32), np.zeros(52, np.float32))
    two = (np.full((478, 2), 2.0, np.float32), np.ones(52, np.float32))
    mesh = complete([one, None, two])
    assert mesh is not None
    assert mesh.found.tolist() == [True, False, True]
    assert mesh.points[1] == pytest.approx(1.0)
    assert mesh.scores[1] == pytest.approx(0.5)
    assert complete([None, None]) is None


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dimitra assets fetch mediapipe_landmarker"):
        MediaPipeLandmarker(tmp_path / "face_landmarker.task")
