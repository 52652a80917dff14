"""MediaPipe's landmarker on a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from dimitra.assets import asset_path
from dimitra.faces import mediapipe_process
from dimitra.faces.mediapipe import MediaPipeError, MediaPipeLandmarker, complete
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


def test_its_process_speaks_to_no_server_and_leaves_the_console_clean(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    landmarker = MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
    assert landmarker.measure(IMAGE) is not None
    child = landmarker._session.child
    pairs = Path(f"/proc/{child.pid}/environ").read_bytes().decode().split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    assert environment["https_proxy"] == environment["all_proxy"] == "http://127.0.0.1:9"
    assert not {"no_proxy", "NO_PROXY"} & environment.keys()
    del landmarker
    assert child.returncode == 0
    assert capfd.readouterr() == ("", "")


def test_a_process_that_was_killed_costs_one_answer(landmarker: MediaPipeLandmarker) -> None:
    before = landmarker.measure(IMAGE)
    landmarker._session.child.kill()
    landmarker._session.child.wait()
    after = landmarker.measure(IMAGE)
    assert before is not None
    assert after is not None
    assert np.array_equal(before[0], after[0])


def test_a_process_that_ends_while_it_is_asked_is_an_error_that_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dies.py"
    script.write_text(
        "import sys\n"
        "sys.stdout.buffer.write(bytes(4))\n"
        "sys.stdout.flush()\n"
        "sys.stdin.buffer.read(5)\n"
        "sys.exit('a fault of the library')\n"
    )
    monkeypatch.setattr(mediapipe_process, "__file__", str(script))
    landmarker = MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
    with pytest.raises(MediaPipeError, match=r"code 1: a fault.*fit\.landmarks: dlib"):
        landmarker.measure(IMAGE)


def test_a_library_that_cannot_be_loaded_is_one_error_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "mediapipe"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise OSError('libEGL.so.1: cannot open')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MediaPipeError, match=r"libEGL\.so\.1.*crop\.mesh: none") as caught:
        MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
    assert "\n" not in str(caught.value)
