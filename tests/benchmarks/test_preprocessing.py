from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from benchmarks import preprocess
from benchmarks.preprocessing import footage, stages
from benchmarks.preprocessing.floors import FrameByFrame, reencode
from benchmarks.preprocessing.runtime import copies
from benchmarks.stage_costs import job_of
from dimitra.faces.detector import DlibDetector
from dimitra.media.container import probe
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from pipelines.params import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A head that moves in a picture of 320x300, one second, with sound."""
    photo = data.astronaut()
    frames = [photo[4:304, 40 + x : 360 + x] for x in range(25)]
    hum = (0.2 * np.sin(np.arange(16_000) * 0.06)).astype(np.float32)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.mp4").write_bytes(encode_mp4(frames, audio=hum))
    return tmp_path / "raw"


def test_footage_has_the_size_and_length_asked_for(tmp_path: Path, raw: Path) -> None:
    for number, (side, seconds) in enumerate([(512, None), (256, 2.4), (320, 0.4)]):
        path = tmp_path / f"{number}.mp4"
        footage.write(path, raw / "a.mp4", side, seconds)
        info = probe(path)
        assert (info.width, info.height) == (side, side)
        assert len(read_video(path)) == round(25 * (seconds or 1.0))
        assert info.duration_s == pytest.approx(seconds or 1.0, abs=0.07)


def test_a_folder_without_videos_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make data"):
        footage.originals(tmp_path, 3)


def test_floors_make_the_video_that_they_stand_for(raw: Path) -> None:
    crop = load(ROOT / "params.yaml").crop
    plain = read_video(reencode(raw / "a.mp4", crop))
    usual = read_video(FrameByFrame()(raw / "a.mp4", crop))
    assert plain.shape == usual.shape == (25, 256, 256, 3)
    near, far = (DlibDetector().detect(video[12])[0].box for video in (usual, plain))
    assert near[2] - near[0] > far[2] - far[0]


def test_a_race_gives_each_its_row(raw: Path) -> None:
    rows = stages.race(raw, 1)
    assert sorted(rows) == ["crop", "frame by frame", "reencode"]
    for row in rows.values():
        assert (row["clips"], row["video_s"]) == (1, pytest.approx(1.0, abs=0.05))
        assert row["core_s"] > 0
        assert row["clips_per_core_hour"] == pytest.approx(3600 / row["core_s"])


def test_stages_hand_their_parts_on(tmp_path: Path, raw: Path) -> None:
    row = stages.measure("crop", raw, tmp_path / "parts", Path())
    assert (row["clips"], row["refused"]) == (1, 0)
    parts = tmp_path / "parts" / "crop" / f"{footage.DATASET}-someone-00000"
    assert sorted(path.name for path in parts.iterdir()) == ["flac", "mp4", "track.npz"]


@pytest.mark.parametrize("name", ["crop", "fit", "transcribe", "speech"])
def test_a_worker_is_given_all_that_its_stage_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(f"pipelines.{name}.read_manifest", list)
    monkeypatch.setattr(f"pipelines.{name}.units_of", lambda *_: ())
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "conf" / "sample.yaml", tmp_path / "params.yaml")
    given = job_of(name).params
    params = footage.worker_params(name, load(), tmp_path, tmp_path / "aligner")
    assert given.keys() <= params.keys()
    apart = {"roots", "listens", "aligner_folder"}
    assert {key: params[key] for key in given.keys() - apart} == {
        key: given[key] for key in given.keys() - apart
    }


def test_a_stage_without_a_worker_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage shard"):
        footage.worker_params("shard", load(ROOT / "params.yaml"), tmp_path, tmp_path)


def test_copies_are_clips_of_their_own_spread_over_shards(raw: Path) -> None:
    clips = copies(raw, 20, shards=4)
    assert len({clip.clip_id for clip in clips}) == 20
    assert [sum(clip.shard == shard for clip in clips) for shard in range(4)] == [5] * 4
    assert {clip.path for clip in clips} == {"a.mp4"}


def test_a_part_that_is_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(footage, "originals", lambda *_: [])
    arguments = ["--only", "memory", "--only", "gpu", "--aligner", str(tmp_path / "none")]
    monkeypatch.setattr("sys.argv", ["preprocess.py", *arguments])
    preprocess.main()
    told = capsys.readouterr().out
    assert "memory: not measured; it needs --memory" in told
    assert "gpu: not measured" in told
