"""`fit.method: precomputed`: files of others through the stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from dimitra.clips import Clip, ClipError, Reason
from dimitra.fetching import pin
from dimitra.morphable import bfm
from dimitra.morphable.residual import distance_px, inner_landmarks
from dimitra.shards import npz_bytes, read_npz, read_shard
from pipelines import fit
from pipelines.fitters.precomputed import PrecomputedFitter, places
from pipelines.params import Params
from pipelines.runtime.jobs import keys_of
from pipelines.runtime.mainguard import StageError
from pipelines.runtime.quarantine import read_quarantine
from tests.morphable.bfm_file import bfm_contents
from tests.pipelines import bfm_clips
from tests.pipelines.bfm_clips import (
    BOX,
    CROP_FRAMES,
    FPS,
    FRAMES,
    OFFSET,
    SOURCE,
    alignment,
    bfm_params,
    write_clips,
)

ROOT = Path(__file__).parents[2]
FOLDER = Path("coefficients")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DIMITRA_WEIGHTS_FILE", str(tmp_path / "weights.yaml"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def _contents(clip: Clip, frames: int = FRAMES - OFFSET) -> dict[str, Any]:
    seed = int(clip.identity[2:])
    middle = (np.arange(FRAMES - frames, FRAMES) + 0.5) / FPS
    size = np.broadcast_to(SOURCE, (frames, 2))
    return {
        "coeff": bfm_clips.coefficients(middle, seed).astype(np.float32),
        "transform_params": np.concatenate([size, alignment(middle, seed)], axis=1),
    }


def _write(clip: Clip, contents: dict[str, Any] | None = None, *, by_id: bool = False) -> Path:
    path = list(places(FOLDER, clip))[1 if by_id else 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, _contents(clip) if contents is None else contents)
    return path


def _settings(**more: Any) -> Params:
    values = {
        "method": "precomputed",
        "face_model_weights": None,
        "coefficients": FOLDER.as_posix(),
        "coefficients_offset": OFFSET,
    }
    return bfm_params(**(values | more))


def _fit(clip: Clip, **more: Any) -> dict[str, np.ndarray]:
    worker = fit.make_worker(dict(fit.plan(_settings(**more)).params))
    assert isinstance(worker, PrecomputedFitter)
    parts = read_shard(Path(f"data/crops/{clip.shard:05d}.tar"))[clip.clip_id]
    return read_npz(worker(clip, parts)["motion.npz"])


def test_the_stage_on_ray_and_the_clip_without_a_file() -> None:
    clips = write_clips()
    _write(clips[0])
    _write(clips[2], by_id=True)
    _settings()
    fit.main()
    (row,) = read_quarantine(fit.OUTPUT)
    assert (row.clip_id, row.reason) == (clips[1].clip_id, "missing_file")
    assert "coefficients/toy/mp4/id1/v/00001.mat" in row.message
    assert "coefficients/toy-id1-v-00001.mat" in row.message
    shard = read_shard(fit.OUTPUT / "00000.tar")
    assert sorted(shard) == [clips[0].clip_id, clips[2].clip_id]

    motion = read_npz(shard[clips[0].clip_id]["motion.npz"])
    at = (np.arange(CROP_FRAMES) + 0.5) / 25
    truth = bfm_clips.coefficients(at, 0)
    inside = slice(3, -1)  # before, the first coefficients are held
    np.testing.assert_allclose(motion["expression"][inside], truth[inside, 80:144], atol=2e-3)
    np.testing.assert_allclose(motion["pose"][inside, :3], truth[inside, 224:227], atol=2e-3)
    np.testing.assert_allclose(motion["pose"][inside, 3:], truth[inside, 254:257], atol=2e-3)
    assert motion["explained"].tolist() == [False] * 2 + [True] * (CROP_FRAMES - 2)
    # The alignment in the crop, by hand: k (tx - x), 256 - k (H - ty - y), s / k.
    scale, x, y = alignment(at, 0).T
    k = 256 / BOX.side
    by_hand = np.stack([scale / k, k * (x - BOX.x), 256 - k * (SOURCE[1] - y - BOX.y)], axis=1)
    np.testing.assert_allclose(motion["crop"][inside], by_hand[inside], rtol=1e-3)
    # The landmarks of the crop were placed by the same alignment: they agree but for half a pixel.
    assert motion["alignment_px"][inside].max() < 1.0
    assert "residual_px" not in motion


def test_a_file_that_is_added_or_changed_touches_its_unit_alone() -> None:
    clips = write_clips()
    _write(clips[0])
    _write(clips[2])
    before = keys_of(fit.plan(_settings()))
    _write(clips[1])
    added = keys_of(fit.plan(_settings()))
    assert added["00000"] == before["00000"]
    assert added["00001"] != before["00001"]
    path = _write(clips[1])  # written anew, the same bytes but for the date in its header
    path.write_bytes(path.read_bytes()[:60] + b" " * 56 + path.read_bytes()[116:])
    changed = keys_of(fit.plan(_settings()))
    assert changed["00000"] == before["00000"]
    assert changed["00001"] not in (before["00001"], added["00001"])
    assert [unit.inputs for unit in fit.plan(_settings()).units] == [
        tuple(next(places(FOLDER, clips[number])) for number in (0, 2)),
        (next(places(FOLDER, clips[1])),),
    ]


def test_the_basel_model_checks_them_against_the_landmarks() -> None:
    clips = write_clips(1)
    savemat("bfm.mat", bfm_contents(300))
    pin("bfm.mat")
    _write(clips[0])
    weights = {"face_model_weights": "bfm.mat"}
    motion = _fit(clips[0], max_residual_px=1e4, **weights)
    track = read_npz(read_shard(Path("data/crops/00000.tar"))[clips[0].clip_id]["track.npz"])
    model = bfm.read(Path("bfm.mat"))
    points = inner_landmarks(
        model,
        *(torch.from_numpy(motion[name]) for name in ("identity", "expression", "pose", "crop")),
        # One row of the source's, and the half pixel between centres and edges.
        256 - 0.5 * (1 + 256 / BOX.side),
    )
    expected = distance_px(points, torch.from_numpy(track["landmarks"]))
    np.testing.assert_allclose(motion["residual_px"], expected, atol=0.2)
    with pytest.raises(ClipError, match=r"landmarks lie more than fit\.max_residual_px") as caught:
        _fit(clips[0], max_residual_px=5.0, **weights)
    assert caught.value.reason is Reason.FIT_RESIDUAL


def test_a_file_of_another_video_is_refused_by_where_its_face_is() -> None:
    clips = write_clips(1)
    contents = _contents(clips[0])
    contents["transform_params"][:, 3] += 30.0
    _write(clips[0], contents)
    with pytest.raises(ClipError, match="aligns the face more than") as caught:
        _fit(clips[0])
    assert caught.value.reason is Reason.FIT_RESIDUAL


@pytest.mark.parametrize(("frames", "offset"), [(27, 2), (29, 2), (28, 0), (30, 2)])
def test_a_file_one_frame_short_or_long_is_named_with_its_counts(frames: int, offset: int) -> None:
    clips = write_clips(1)
    path = _write(clips[0], _contents(clips[0], frames))
    message = f"{path} has {frames} frames and the video 30, a difference of {30 - frames}"
    with pytest.raises(ClipError, match=message) as caught:
        _fit(clips[0], coefficients_offset=offset)
    assert caught.value.reason is Reason.BAD_COEFFICIENTS


def test_two_files_for_one_clip_are_refused() -> None:
    clips = write_clips(1)
    paths = (_write(clips[0]), _write(clips[0], by_id=True))
    plan = fit.plan(_settings())
    assert plan.units[0].inputs == paths
    with pytest.raises(ClipError, match=f"two files of coefficients, {paths[0]} and {paths[1]}"):
        _fit(clips[0])


def test_a_piece_of_a_longer_video_goes_by_its_id() -> None:
    clip = replace(write_clips(1)[0], start_s=0.2, end_s=0.8)
    assert list(places(FOLDER, clip)) == [FOLDER / "toy-id0-v-00001.mat"]
    begin, end = 6, 24
    contents = {name: table[begin:end] for name, table in _contents(clip, FRAMES).items()}
    FOLDER.mkdir()
    savemat(FOLDER / f"{clip.clip_id}.mat", contents)
    worker = fit.make_worker(dict(fit.plan(_settings(coefficients_offset=0)).params))
    assert isinstance(worker, PrecomputedFitter)
    track = read_npz(read_shard(Path("data/crops/00000.tar"))[clip.clip_id]["track.npz"])
    piece = {
        name: value[5:20] if name in ("landmarks", "detected") else value
        for name, value in track.items()
    }
    motion = read_npz(worker(clip, {"track.npz": npz_bytes(piece)})["motion.npz"])
    truth = bfm_clips.coefficients(0.2 + (np.arange(15) + 0.5) / 25, 0)
    np.testing.assert_allclose(motion["expression"][1:-1], truth[1:-1, 80:144], atol=2e-3)


def test_a_video_that_changed_since_it_was_listed_is_refused() -> None:
    clips = write_clips(1)
    _write(clips[0])
    with pytest.raises(ClipError, match="run ingest again"):
        _fit(replace(clips[0], sha256="0" * 64))


def test_a_folder_that_is_not_there_is_said_at_the_start() -> None:
    write_clips(1)
    with pytest.raises(StageError, match=r"fit\.coefficients is 'coefficients', which is no fold"):
        fit.plan(_settings())
