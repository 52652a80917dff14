"""The stopwatch around the mesh renderer, and the scores of a reconstruction by region."""

import itertools

import numpy as np
import pytest
import torch

from benchmarks.drawing.steps import COMPOSITE, HEAD, MOUTH, NAMES, PHOTO, POSE, WARP, watched
from benchmarks.reconstruction import Take, score
from benchmarks.render import main, mesh, motion
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.render import mesh as renderer
from dimitra.render.warp import WarpGrid


def test_the_stopwatch_counts_every_call_and_changes_no_picture() -> None:
    draw, driven = mesh(64), motion(3)
    plain = list(draw(driven))
    before = {name: getattr(renderer, name) for name in NAMES} | {"displace": WarpGrid.displace}
    ticks = itertools.count()
    with watched(lambda: float(next(ticks))) as spent:
        timed = list(draw(driven))
    after = {name: getattr(renderer, name) for name in NAMES} | {"displace": WarpGrid.displace}
    assert after == before
    np.testing.assert_array_equal(timed, plain)
    # One tick a call: none of these functions calls another of them.
    assert {name: spent[name] for name in (PHOTO, HEAD, MOUTH, COMPOSITE)} == {
        PHOTO: 1.0,
        HEAD: 3.0,
        MOUTH: 3.0,
        COMPOSITE: 3.0,
    }
    assert spent[WARP] == 3 * 3.0
    assert spent[POSE] >= 2.0


def test_the_device_renderer_has_a_row_for_each_device_that_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--only", "device", "--size", "64", "--frames", "2", "--repeats", "1"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "mesh in torch, cpu" in shown
    assert ("mesh in torch, cuda" in shown) == torch.cuda.is_available()
    assert ("no row for a GPU" in shown) != torch.cuda.is_available()


def test_animate_needs_a_finished_run(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert main(["--only", "animate", "--root", str(tmp_path)]) == 1
    assert "holds no models" in capsys.readouterr().err


def test_an_error_in_the_face_is_the_faces_alone() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(20, 200, (4, 64, 64, 3), dtype=np.uint8)
    angles = np.linspace(0.0, 2.0 * np.pi, 68, endpoint=False)
    points = np.stack([32 + 20 * np.cos(angles), 32 + 20 * np.sin(angles)], axis=1)
    truth = LandmarkTrack(np.stack([points] * 3), np.ones(3, dtype=bool))
    drawn = frames[1:].copy()
    drawn[:, 28:36, 28:36] += 10
    empty = np.zeros(80, np.float32)
    take = Take("toy", frames, empty, np.zeros((4, 70), np.float32), empty[:3])
    level, _, distance, face, rest = score(take, list(drawn), truth, lambda _: points)
    assert level == pytest.approx(10 * np.log10(255**2 / (100 * 64 / 64**2)))
    area = np.pi * 20**2
    assert face == pytest.approx(10 * np.log10(255**2 / (100 * 64 / area)), abs=0.2)
    assert rest == 58.9
    assert distance == pytest.approx(0.0, abs=1e-6)
