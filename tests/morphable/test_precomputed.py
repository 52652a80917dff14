"""Coefficients of others: layouts, counts, and their values at other frame rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from dimitra.clips import ClipError, Reason
from dimitra.morphable.camera import rotation
from dimitra.morphable.precomputed import (
    Precomputed,
    check_count,
    picture_size,
    read,
    resample,
)

_FRAMES = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00001.mat"


def styletalk(frames: int = _FRAMES, seed: int = 0) -> dict[str, Any]:
    """A file as PIRender's extraction writes it."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(0, 0.2, (frames, 257)).astype(np.float32)
    place = np.array([256.0, 256.0, 0.98, 128.0, 125.0]) + np.zeros((frames, 5))
    place[:, 2:] += rng.normal(0, 0.01, (frames, 3))
    return {"coeff": coefficients, "transform_params": place.astype(np.float32)}


def _refused(path: Path, contents: dict[str, Any], message: str) -> None:
    savemat(path, contents)
    with pytest.raises(ClipError, match=message) as caught:
        read(path)
    assert caught.value.reason is Reason.BAD_COEFFICIENTS
    assert str(path) in caught.value.message


def test_the_layout_of_257(path: Path) -> None:
    contents = styletalk()
    savemat(path, contents)
    found = read(path)
    coefficients = contents["coeff"].astype(np.float64)
    assert len(found) == _FRAMES
    assert found.size == (256, 256)
    np.testing.assert_array_equal(found.expression, coefficients[:, 80:144])
    np.testing.assert_array_equal(found.pose[:, :3], coefficients[:, 224:227])
    np.testing.assert_array_equal(found.pose[:, 3:], coefficients[:, 254:257])
    np.testing.assert_array_equal(found.crop, contents["transform_params"][:, 2:])
    ordered = np.sort(coefficients[:, :80], axis=0)
    np.testing.assert_allclose(found.constant["identity"], (ordered[14] + ordered[15]) / 2)
    assert found.constant["texture"].shape == (80,)
    assert found.constant["illumination"].shape == (27,)


def test_the_layout_of_73(path: Path) -> None:
    whole = styletalk()
    values = np.concatenate(
        [
            whole["coeff"][:, 80:144],
            whole["coeff"][:, 224:227],
            whole["coeff"][:, 254:257],
            whole["transform_params"][:, 2:],
        ],
        axis=1,
    )
    savemat(path, whole)
    expected = read(path)
    savemat(path, {"coeff_3dmm": values})
    found = read(path)
    np.testing.assert_array_equal(found.expression, expected.expression)
    np.testing.assert_array_equal(found.pose, expected.pose)
    np.testing.assert_array_equal(found.crop, expected.crop)
    assert found.size is None
    assert found.constant == {}
    savemat(path, {"coeff_3dmm": values, "full_3dmm": whole["coeff"][:1]})
    first = read(path).constant
    np.testing.assert_array_equal(first["identity"], whole["coeff"][0, :80])
    np.testing.assert_array_equal(first["illumination"], whole["coeff"][0, 227:254])


def test_other_contents_are_refused_with_what_was_found(path: Path) -> None:
    good = styletalk()
    _refused(path, {"landmark": np.ones((3, 136))}, "neither 'coeff' .* nor 'coeff_3dmm'")
    narrow = {**good, "coeff": good["coeff"][:, :256]}
    _refused(path, narrow, r"'coeff' with shape \[30, 256\], need \[frames, 257\]")
    _refused(path, {"coeff": good["coeff"]}, "without 'transform_params'")
    short = {**good, "transform_params": good["transform_params"][1:]}
    _refused(path, short, "30 frames of 'coeff' and 29 of 'transform_params'")
    three = {**good, "transform_params": good["transform_params"][:, 2:]}
    _refused(path, three, r"'transform_params' with shape \[30, 3\], need \[frames, 5\]")
    _refused(path, {"coeff_3dmm": np.zeros((9, 70))}, "70 columns: motion that SadTalker made up")
    _refused(path, {"coeff_3dmm": np.zeros((9, 72))}, r"\[9, 72\], need \[frames, 73\]")

    def changed(name: str, frame: int, column: int, value: float) -> dict[str, Any]:
        table = good[name].copy()
        table[frame, column] = value
        return {**good, name: table}

    _refused(path, changed("coeff", 4, 100, np.nan), "frame 4, column 100")
    _refused(path, changed("coeff", 7, 225, 12.0), "turns the head by 12 in frame 7; .* radians")
    _refused(path, changed("transform_params", 3, 2, 0.0), "aligns frame 3 by the scale 0")
    _refused(path, changed("coeff", 5, 83, 1e6), "expression value 3 of frame 5 at 1e.06; .* 50 st")
    _refused(path, changed("coeff", 5, 0, 1e30), "identity value 0 of frame 5 at 1e.30; .* 50 stan")
    _refused(path, changed("coeff", 5, 144, -51), "texture value 0 of frame 5 at -51; .* 50 stand")
    _refused(path, changed("coeff", 5, 228, 11), "illumination value 1 of frame 5 at 11; .* 10 sph")
    _refused(path, changed("coeff", 5, 256, 11), "translation value 2 of frame 5 at 11; .* 10 deci")
    place = "face of frame 3 at t{} {}, in a picture of 256x256 pixels; need -256 to 512"
    _refused(path, changed("transform_params", 3, 3, 1e9), place.format("x", r"1e.09"))
    _refused(path, changed("transform_params", 3, 4, -257), place.format("y", "-257"))
    huge = good["transform_params"].copy()
    huge[:, :2] = 1e9
    _refused(path, {**good, "transform_params": huge}, "size of 1 to 16384 whole pixels")
    first = changed("coeff", 0, 7, 1e30)["coeff"]
    _refused(
        path, {"coeff_3dmm": np.ones((9, 73)), "full_3dmm": first}, "identity value 7 of frame 0"
    )
    _refused(path, changed("transform_params", 3, 0, 224.0), r"\[224.0, 256.0\] to \[256.0")


def test_counts_must_agree_with_the_offset() -> None:
    check_count(540, 542, 2, Path("a.mat"), "c")
    check_count(540, 540, 0, Path("a.mat"), "c")
    for found, offset in ((539, 0), (541, 0), (540, 2), (539, 2)):
        with pytest.raises(ClipError, match=f"c: a.mat has {found} frames and the video 540") as e:
            check_count(found, 540, offset, Path("a.mat"), "c")
        assert e.value.reason is Reason.BAD_COEFFICIENTS
        assert f"a difference of {540 - found}; fit.coefficients_offset is {offset}" in str(e.value)
        hinted = f"set the offset to {540 - found}" in str(e.value)
        assert hinted == (found <= 540)
        assert ("no offset makes up for that" in str(e.value)) == (found > 540)


def test_the_picture_must_be_a_copy_of_the_videos(path: Path) -> None:
    savemat(path, styletalk())
    found = read(path)
    assert picture_size(found, (256, 256), path) == (256, 256)
    assert picture_size(found, (1080, 1080), path) == (256, 256)
    assert picture_size(replace(found, size=None), (512, 512), path) == (256, 256)
    assert picture_size(replace(found, size=(427, 240)), (1280, 720), path) == (427, 240)
    for size in ((256, 256), None):
        with pytest.raises(ClipError, match="256x256 pixels, the video has 1280x720"):
            picture_size(replace(found, size=size), (1280, 720), path)


def _moving(times_s: np.ndarray) -> Precomputed:
    """Smooth motion, known at every time."""
    phase = 2 * np.pi * (times_s[:, None] * 1.5 + np.arange(73) / 73)
    values = np.sin(phase)
    return Precomputed(
        values[:, :64],
        0.4 * values[:, 64:70],
        np.array([1.0, 128.0, 128.0]) + 0.1 * values[:, 70:],
        (256, 256),
        {},
    )


def _shown(begins: np.ndarray, last: float) -> np.ndarray:
    return np.stack([begins, np.append(begins[1:], begins[-1] + last)], axis=1)


@pytest.mark.parametrize("fps", [24000 / 1001, 30.0, 50.0, 60.0])
def test_values_at_25_fps_are_those_of_the_motion_itself(fps: float) -> None:
    shown = _shown(np.arange(round(4 * fps)) / fps, 1 / fps)
    at = (np.arange(98) + 0.5) / 25
    found = resample(_moving(shown.mean(axis=1)), shown, at)
    truth = _moving(at)
    worst = (2 * np.pi * 1.5 / fps) ** 2 / 8  # of linear interpolation: max|f''| h^2 / 8
    inside = slice(1, -1)
    assert np.abs(found.expression - truth.expression)[inside].max() < 1.01 * worst
    assert np.abs(found.crop - truth.crop)[inside].max() < 0.101 * worst
    assert np.abs(found.pose[:, 3:] - truth.pose[:, 3:])[inside].max() < 0.401 * worst
    assert np.abs(found.pose[:, :3] - truth.pose[:, :3])[inside].max() < 0.6 * worst
    assert found.measured.all()


def test_the_same_rate_gives_the_same_values() -> None:
    shown = _shown(np.arange(40) / 25, 1 / 25)
    given = _moving(shown.mean(axis=1))
    found = resample(given, shown, (np.arange(40) + 0.5) / 25)
    np.testing.assert_allclose(found.expression, given.expression, atol=1e-12)
    np.testing.assert_allclose(found.pose, given.pose, atol=1e-12)


def test_a_variable_rate_counts_by_the_clock() -> None:
    begins = np.array([0.0, 0.033, 0.066, 0.2, 0.21, 0.35, 0.4, 0.42, 0.64])
    shown = _shown(begins, 0.033)
    ramp = shown.mean(axis=1)
    given = Precomputed(
        np.repeat(ramp[:, None], 64, 1), np.zeros((9, 6)), np.ones((9, 3)), None, {}
    )
    at = (np.arange(16) + 0.5) / 25
    found = resample(given, shown, at)
    np.testing.assert_allclose(found.expression[:, 0], at.clip(ramp[0], ramp[-1]), atol=1e-12)


def test_a_video_that_begins_before_its_coefficients() -> None:
    shown = _shown(np.arange(62) / 30, 1 / 30)
    given = _moving(shown[2:].mean(axis=1))
    at = (np.arange(50) + 0.5) / 25
    found = resample(given, shown, at)
    truth = _moving(at)
    assert found.measured.tolist() == [False] * 2 + [True] * 48  # 20 and 60 ms, before 67
    assert np.abs(found.expression - truth.expression)[3:-1].max() < 0.02
    np.testing.assert_array_equal(found.expression[0], given.expression[0])
    with pytest.raises(ValueError, match="60 coefficients for 59 frames"):
        resample(given, shown[:59], at)


def test_a_head_turns_about_one_axis_and_over_the_seam_of_its_angles() -> None:
    angles = np.array([[0.3, -0.5, 3.1], [-0.2, 0.6, -3.1]])
    given = Precomputed(
        np.zeros((2, 64)),
        np.concatenate([angles, np.zeros((2, 3))], 1),
        np.ones((2, 3)),
        None,
        {},
    )
    shown = np.array([[0.0, 0.1], [0.1, 0.2]])
    share = np.linspace(0.0, 1.0, 6)
    found = resample(given, shown, 0.05 + 0.1 * share)
    ends = rotation(torch.from_numpy(angles)).numpy()
    turn = ends[1] @ ends[0].T
    whole = np.arccos((np.trace(turn) - 1) / 2)
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    for part, own in zip(share, found.pose[:, :3], strict=True):
        part_turn = (  # Rodrigues
            np.eye(3) + np.sin(part * whole) * cross + (1 - np.cos(part * whole)) * cross @ cross
        )
        expected = part_turn @ ends[0]
        np.testing.assert_allclose(rotation(torch.from_numpy(own)).numpy(), expected, atol=1e-9)
    assert np.abs(np.diff(found.pose[:, 2])).max() < 0.1  # not through zero


def test_one_frame_is_held() -> None:
    given = _moving(np.array([0.02]))
    found = resample(given, np.array([[0.0, 0.04]]), np.array([0.02, 0.06]))
    np.testing.assert_array_equal(found.pose, np.repeat(given.pose, 2, axis=0))
