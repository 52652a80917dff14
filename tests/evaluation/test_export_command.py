"""Exported files hold what the shards hold, and the command evaluate finds them."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.evaluation.matching import list_videos, read_table
from dimitra.media.audio import decode_flac, read_audio
from dimitra.media.video import read_video
from dimitra.shards import write_shard, write_sidecar
from pipelines.export_command import app
from pipelines.quarantine import Balance
from tests.evaluation.films import film, noise
from tests.pipelines.test_evaluate_stage import CLIP


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with one clip to train on, one to test on, and one to test on without a crop."""
    shutil.copy("conf/sample.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    ids = ("chorus-a", "chorus-b", "chorus-c")
    for folder in ("manifest", "split", "crops"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    clips = [asdict(replace(CLIP, clip_id=one, source_video=one)) for one in ids]
    pq.write_table(pa.Table.from_pylist(clips, MANIFEST_SCHEMA), "data/manifest/clips.parquet")
    rows = [{"clip_id": one, "split": "train" if one == ids[1] else "test"} for one in ids]
    pq.write_table(pa.Table.from_pylist(rows), "data/split/split.parquet")
    shard = Path("data/crops/00003.tar")
    parts = {"mp4": film(8), "flac": noise(8)}
    write_sidecar(shard, write_shard(shard, dict.fromkeys(ids[:2], parts)))
    for folder in ("manifest", "crops"):
        balance = Balance(folder, 3, 3, 0, {}, 0.0)
        Path("data", folder, "balance.json").write_text(json.dumps(asdict(balance)))
    return tmp_path


def test_the_test_split_as_files(run: Path) -> None:
    result = CliRunner().invoke(app, ["--to", "out"])
    assert result.exit_code == 0, result.output
    assert "1 test clips of 1 people; 1 have no face crop: chorus-c" in result.output
    assert sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.*")) == [
        "crops/chorus-a.flac",
        "crops/chorus-a.mp4",
        "first_frame/chorus-a.png",
        "match.csv",
        "wav/chorus-a.wav",
    ]
    assert Path("out/crops/chorus-a.mp4").read_bytes() == film(8)
    samples, rate = soundfile.read("out/wav/chorus-a.wav", dtype="float32")
    assert rate == 16_000
    assert np.array_equal(samples, decode_flac(noise(8))[0])
    picture = np.asarray(Image.open("out/first_frame/chorus-a.png"))
    assert np.array_equal(picture, read_video(film(8))[0])
    videos = list_videos(Path("out/crops"))
    table = read_table(Path("out/match.csv"), videos, {"ours": {}})
    assert table.identities == {"chorus-a": "chorus/id00013"}


def test_sound_beside_a_crop_is_read_to_the_bit() -> None:
    assert np.array_equal(read_audio(noise()), decode_flac(noise())[0])


def test_what_is_missing_is_named(run: Path) -> None:
    result = CliRunner().invoke(app, ["--to", "out", "--dataset", "lecture"])
    assert result.exit_code == 2
    assert "tests no clip of lecture" in " ".join(result.output.split())
    Path("data/split/split.parquet").unlink()
    result = CliRunner().invoke(app, ["--to", "out"])
    assert "run `python -m pipelines.split` first" in " ".join(result.output.split())
