"""The numbers are those of the stage ``evaluate``, and of known motions."""

from pathlib import Path

import numpy as np
import pytest

from dimitra.evaluation.columns import EQUAL, landmark_values, picture_values
from dimitra.evaluation.definitions import COLUMNS, GROUND_TRUTH
from dimitra.evaluation.film import Film, read_file
from dimitra.evaluation.rows import MEASURED
from dimitra.evaluation.tasks import Settings, Task
from dimitra.media.video import read_video
from dimitra.metrics.landmarks_distance import LandmarkTrack
from pipelines.evaluate import dlib_finder, evaluate_clip, track_faces
from pipelines.evaluation.foreign_videos import OWN_CROPS, Measurer
from pipelines.evaluation.pictures import Pictures, load_networks
from pipelines.params import load
from tests.evaluation.films import FRAMES, film, noise, picture, sync_folder
from tests.pipelines.test_evaluate_stage import CLIP, PARAMS

ALL = ("lmd", "psnr", "ssim", "sync")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("films")
    (where / "truth.mp4").write_bytes(film())
    (where / "truth.flac").write_bytes(noise())
    (where / "other.mp4").write_bytes(film(scale=0.93))
    sync_folder(where / "sync")
    return where


@pytest.fixture(scope="module")
def measurer(folder: Path) -> Measurer:
    return Measurer(Settings(ALL, network="trained", weights=str(folder / "sync")))


def task(folder: Path, **generated: str) -> Task:
    files = {method: folder / name for method, name in generated.items()}
    return Task("truth", "ann", folder / "truth.mp4", folder / "truth.flac", files)


def test_every_number_is_the_stages(folder: Path, measurer: Measurer) -> None:
    from dimitra.sync import compact
    from dimitra.sync.evaluator import SyncEvaluator

    answer = measurer(task(folder, ours="other.mp4"))
    rows = {row.method: row for row in answer.rows}
    names = {"mp4": "truth.mp4", "flac": "truth.flac", "hp.mp4": "other.mp4"}
    parts = {part: (folder / name).read_bytes() for part, name in names.items()}
    evaluator = SyncEvaluator(compact.load(folder / "sync"), "mouth")
    for fit in ("face", "mouth"):
        params = {"lmd_fit": fit, "max_ground_truth_missed": 0.0, "donors": {}}
        record, _ = evaluate_clip(
            CLIP,
            {**parts, "no_hp.mp4": parts["hp.mp4"]},
            dlib_finder(),
            evaluator,
            Pictures(load_networks(PARAMS), pictures_every=1, faces_every=FRAMES),
            params,
        )
        stage = record.values["dimitra_hp"]
        assert rows["ours"].value("f_lmd") == stage["f_lmd"]
        assert rows["ours"].value(f"m_lmd_{fit}") == stage["m_lmd"]
        for key in ("sync_dist", "sync_conf"):
            assert rows["ours"].value(key) == stage[key]
            assert rows[GROUND_TRUTH].value(key) == record.values["ground_truth"][key]
    assert (rows["ours"].frames, rows["ours"].missed) == (FRAMES, record.missed["dimitra_hp"])
    assert len(answer.digests) == 3


def test_a_video_against_itself(folder: Path, measurer: Measurer) -> None:
    row = measurer(task(folder, copy="truth.mp4")).rows[1]
    for key in ("f_lmd", "m_lmd_face", "m_lmd_mouth", "f_lmd_raw", "m_lmd_raw"):
        assert row.value(key).value == pytest.approx(0.0, abs=1e-9)
    assert row.value("ssim").value == 1.0
    assert row.value("psnr").reason == EQUAL


def test_moved_landmarks_are_nothing_after_alignment(folder: Path) -> None:
    data = (folder / "truth.mp4").read_bytes()
    track = track_faces(data, dlib_finder())
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    moved = LandmarkTrack(0.8 * track.points @ turn.T + np.array([15.0, -7.0]), track.found)
    values = landmark_values(moved, track, 0.0)
    for key in ("f_lmd", "m_lmd_face", "m_lmd_mouth"):
        assert values[key].value == pytest.approx(0.0, abs=1e-9)
    shifted = LandmarkTrack(track.points + np.array([3.0, 4.0]), track.found)
    raw = landmark_values(shifted, track, 0.0)
    assert raw["f_lmd_raw"].value == pytest.approx(5.0)
    assert raw["m_lmd_raw"].value == pytest.approx(5.0)


def test_a_moved_picture_is_within_dlibs_pixel(folder: Path, measurer: Measurer) -> None:
    """The video itself scaled: alignment takes out what the landmarks of whole pixels let it."""
    row = measurer(task(folder, small="other.mp4")).rows[1]
    assert row.value("f_lmd").value < 1.5 < row.value("f_lmd_raw").value
    assert row.value("psnr").value < 40.0


def test_other_frame_rates_and_sizes_are_brought_to_one(folder: Path, measurer: Measurer) -> None:
    (folder / "fast.mp4").write_bytes(film(frames=48, fps=30))
    (folder / "large.mp4").write_bytes(film(side=384))
    fast, large = measurer(task(folder, fast="fast.mp4", large="large.mp4")).rows[1:]
    assert (fast.frames, large.frames) == (FRAMES, FRAMES)
    assert fast.value("f_lmd_raw").value < 1.0
    assert large.value("f_lmd_raw").value < 1.5
    assert large.value("psnr").value > 28.0


def test_what_cannot_be_measured_is_a_row(folder: Path, measurer: Measurer) -> None:
    from dimitra.media.mp4 import encode_mp4

    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes((folder / "other.mp4").read_bytes()[:5000])
    (folder / "short.mp4").write_bytes(film(frames=20))
    (folder / "wide.mp4").write_bytes(encode_mp4([picture()[:200]] * FRAMES))
    wall = np.full((256, 256, 3), 90, np.uint8)
    (folder / "wall.mp4").write_bytes(encode_mp4([wall] * FRAMES))
    names = ("empty", "cut", "short", "wide", "absent", "wall", "other")
    answer = measurer(task(folder, **{name: f"{name}.mp4" for name in names}))
    rows = {row.method: row for row in answer.rows}
    outcomes = {name: rows[name].outcome for name in names}
    assert outcomes == {
        "empty": "empty_file",
        "cut": "truncated",
        "short": "length_mismatch",
        "wide": "not_square",
        "absent": "missing_file",
        "wall": MEASURED,
        "other": MEASURED,
    }
    for name in names[:5]:
        assert f"{name}.mp4" in rows[name].message
        assert all(rows[name].value(metric.key).dropped for metric in COLUMNS)
    assert "20 frames and the reference 40" in rows["short"].message
    assert "--crop" in rows["wide"].message
    assert rows["wall"].missed == FRAMES
    assert "finds the face in no frame of the generated video" in rows["wall"].dropped
    assert rows["wall"].value("ssim").value is not None


def test_a_bad_reference_fails_every_method_of_its_clip(folder: Path, measurer: Measurer) -> None:
    bad = Task("bad", None, folder / "truth.flac", None, {"ours": folder / "other.mp4"})
    rows = measurer(bad).rows
    assert [row.method for row in rows] == [GROUND_TRUTH, "ours"]
    assert {row.outcome for row in rows} == {"no_video"}
    assert all(row.message.startswith("the reference: truth.flac") for row in rows)


def test_a_clip_without_sound_has_no_sync(folder: Path, measurer: Measurer) -> None:
    silent = Task("truth", None, folder / "truth.mp4", None, {"ours": folder / "other.mp4"})
    row = measurer(silent).rows[1]
    assert row.outcome == MEASURED
    assert row.value("f_lmd").value is not None
    assert row.value("sync_dist").reason.startswith("no_audio: ")
    assert row.value("sync_dist").dropped


def test_only_what_is_asked_for(folder: Path) -> None:
    row = Measurer(Settings(("psnr",)))(task(folder, ours="other.mp4")).rows[1]
    filled = [metric.key for metric in COLUMNS if row.value(metric.key).value is not None]
    assert filled == ["psnr"]
    assert (row.missed, row.dropped) == (None, None)


def test_films_are_cropped_as_the_stage_crops_them(tmp_path: Path) -> None:
    """A face in a wide film: cropped to a square, and found there."""
    import json

    from dimitra.media.mp4 import encode_mp4

    wide = [np.pad(picture(shift=0.5 * i), ((0, 0), (150, 100), (0, 0))) for i in range(26)]
    (tmp_path / "a.mp4").write_bytes(encode_mp4(wide))
    (tmp_path / "a.flac").write_bytes(noise(26))
    sections = load("conf/sample.yaml").model_dump(include={"crop", "limits"})
    measurer = Measurer(Settings(("lmd", "psnr"), crop=json.dumps(sections)))
    answer = measurer(
        Task("a", None, tmp_path / "a.mp4", tmp_path / "a.flac", {"same": tmp_path / "a.mp4"})
    )
    row = answer.rows[1]
    assert (row.outcome, row.message) == (MEASURED, "")
    assert row.value("f_lmd").value == pytest.approx(0.0, abs=1e-9)
    assert row.value("psnr").reason == OWN_CROPS
    assert not row.value("psnr").dropped


def test_a_film_has_the_frames_of_its_file(folder: Path) -> None:
    data = read_file(folder / "truth.mp4")
    none = LandmarkTrack(np.zeros((FRAMES, 68, 2)), np.zeros(FRAMES, bool))
    assert np.array_equal(np.stack(list(Film("t", data, none).frames())), read_video(data))


def test_psnr_is_that_of_all_frames_error() -> None:
    """Of three frames two are 16 and 8 levels off: the closed form of their mean squared error."""
    from dimitra.media.mp4 import encode_mp4
    from dimitra.media.video import read_video

    levels = ((100, 100), (100, 116), (100, 108))
    true, made = (
        encode_mp4([np.full((256, 256, 3), pair[side], np.uint8) for pair in levels], crf=0)
        for side in (0, 1)
    )
    none = LandmarkTrack(np.zeros((3, 68, 2)), np.zeros(3, bool))
    value = picture_values(Film("m", made, none), Film("t", true, none), ["psnr"])["psnr"].value
    apart = read_video(made).astype(float) - read_video(true)
    assert set(np.abs(apart).mean(axis=(1, 2, 3)).round()) == {0.0, 8.0, 16.0}
    assert value == pytest.approx(10 * np.log10(255**2 / np.square(apart).mean()), abs=1e-9)
