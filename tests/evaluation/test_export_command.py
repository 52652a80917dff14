"""Exported files hold what the shards hold, and the command evaluate finds them."""

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from PIL import Image
from scipy.io import loadmat
from typer.testing import CliRunner

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.evaluation.matching import list_videos, read_table
from dimitra.media.audio import decode_flac, read_audio
from dimitra.media.video import read_video
from dimitra.shards import npz_bytes, write_shard, write_sidecar
from dimitra.speech.phonemes import PHONES, Interval, frame_phonemes
from dimitra.speech.textgrid import textgrid_bytes
from pipelines.commands.export import app
from pipelines.runtime.quarantine import Balance
from tests.evaluation.films import film, noise
from tests.evaluation.inputs.motions import FRAMES, motion
from tests.pipelines.test_evaluate_stage import CLIP

ROOT = Path(__file__).parents[2]


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


def add_basel_parts(encoder: str = "wav2vec2_xlsr53_english") -> None:
    """What `fit` and `speech` leave in a run with the Basel model; of chorus-c only speech."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["fit"] |= {
        "face_model": "bfm", "method": "precomputed", "face_model_weights": None,
        "encoder_weights": None, "coefficients": "coefficients", "photometric": False,
        "landmarks": "dlib",
    }  # fmt: skip
    values["render"] |= {"renderer": "pirender", "weights": "pirender_256"}
    values["speech"] |= {"encoder": encoder, "encoder_weights": encoder}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    shard = Path("data/crops/00004.tar")
    parts = {"mp4": film(8), "flac": noise(8)}
    write_sidecar(shard, write_shard(shard, {"chorus-c": parts}))
    phones = [Interval(0.0, 0.5, "HH"), Interval(0.5, 1.2, "AY")]
    features = np.random.default_rng(0).normal(size=(99, 1024)).astype(np.float16)
    speech = {
        "speech.npz": npz_bytes(
            {
                "phonemes": frame_phonemes(phones, FRAMES),
                "features": features,
                "rate_hz": np.array(50.0, np.float32),
            }
        ),
        "TextGrid": textgrid_bytes({"words": [Interval(0.0, 1.2, "hi")], "phones": phones}, 2.0),
    }
    for folder, members in (
        ("motion", {"chorus-a": {"motion.npz": npz_bytes(motion())}}),
        ("speech", {"chorus-a": speech, "chorus-c": speech}),
    ):
        shard = Path("data", folder, "00003.tar")
        write_sidecar(shard, write_shard(shard, members))
        balance = Balance(folder, 2, len(members), 2 - len(members), {}, 0.0)
        Path("data", folder, "balance.json").write_text(json.dumps(asdict(balance)))


def files_in(folder: str) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*.*"))


def test_a_run_with_the_basel_model_feeds_the_other_methods(run: Path) -> None:
    add_basel_parts()
    options = ["--format", "styletalk", "--format", "sadtalker", "--format", "dreamtalk"]
    result = CliRunner().invoke(app, ["--to", "out", *options])
    assert result.exit_code == 1  # chorus-c has no coefficients
    told = " ".join(result.output.split())
    assert "out/styletalk/commands.sh runs it on 1 clips" in told
    assert "out/sadtalker/commands.sh runs it on 2 clips" in told
    assert "styletalk: 1 clips lack a part: out/styletalk/parts.csv" in told
    assert files_in("out/styletalk") == [
        "commands.sh", "parts.csv", "phonemes/chorus-a_seq.json", "phonemes/chorus-c_seq.json",
        "pose/chorus-a.mat", "style/chorus-a.mat",
    ]  # fmt: skip
    assert files_in("out/sadtalker") == ["coefficients/chorus-a.mat", "commands.sh", "parts.csv"]
    assert files_in("out/dreamtalk") == [
        "commands.sh", "parts.csv", "pose/chorus-a.mat", "style/chorus-a.mat",
        "wav2vec/chorus-a.npy", "wav2vec/chorus-c.npy",
    ]  # fmt: skip
    ids = json.loads(Path("out/styletalk/phonemes/chorus-a_seq.json").read_text())
    named = [PHONES[one] for one in ids]
    assert named == ["HH"] * 15 + ["AY"] * 21 + ["SIL"] * 24
    # Enough pose for the speech, as their code asks for: 60 frames of ids, 99 // 2 of features.
    assert len(loadmat("out/styletalk/pose/chorus-a.mat")["coeff"]) >= len(ids)
    assert len(loadmat("out/dreamtalk/pose/chorus-a.mat")["coeff"]) >= 99 // 2
    assert len(loadmat("out/styletalk/style/chorus-a.mat")["coeff"]) == 1
    features = np.load("out/dreamtalk/wav2vec/chorus-a.npy", allow_pickle=False)
    assert (features.shape, features.dtype) == ((99, 1024), np.float32)
    rows = list(csv.DictReader(Path("out/styletalk/parts.csv").read_text().splitlines()))
    lost = {row["part"] for row in rows if row["clip"] == "chorus-c" and row["reason"]}
    assert lost == {"style", "pose"}
    assert "data/motion/quarantine.parquet" in rows[-1]["reason"]
    assert "chorus-c" not in Path("out/styletalk/commands.sh").read_text()
    before = {path: Path("out", path).read_bytes() for path in files_in("out")}
    CliRunner().invoke(app, ["--to", "out", *options])
    assert {path: Path("out", path).read_bytes() for path in files_in("out")} == before
    CliRunner().invoke(app, ["--to", "clip", *options, "--motion", "clip"])
    assert len(loadmat("clip/styletalk/style/chorus-a.mat")["coeff"]) == 60
    assert len(loadmat("clip/sadtalker/coefficients/chorus-a.mat")["coeff_3dmm"]) == FRAMES


def test_the_open_heads_coefficients_are_refused_by_name(run: Path) -> None:
    add_basel_parts()
    shutil.copy(ROOT / "conf/sample.yaml", "params.yaml")
    result = CliRunner().invoke(app, ["--to", "out", "--format", "dreamtalk"])
    told = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "dreamtalk, no style, pose: fit.face_model is open_head" in told
    assert "fit.method: deng" in told
    assert "dreamtalk, no wav2vec: speech.encoder is moonshine_base" in told
    assert files_in("out/dreamtalk") == ["parts.csv"]
    result = CliRunner().invoke(app, ["--to", "out", "--format", "sadtalker"])
    assert result.exit_code == 0  # it measures its own
    assert "runs it on 2 clips" in result.output


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("fit", "face_model", "open_head"), "data/ was made with open_head"),
        (("speech", "encoder", "wavlm_large"), "data/ was made with wavlm_large"),
    ],
)
def test_parameters_edited_after_the_run_are_refused(run: Path, edit, message: str) -> None:
    add_basel_parts()
    stage, key, value = edit
    lock = {"stages": {stage: {"params": {"params.yaml": {stage: {key: value}}}}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    result = CliRunner().invoke(app, ["--to", "out", "--format", "styletalk"])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "wav2lip"], "there are plain, styletalk"),
        (["--format", "styletalk"], "speech"),
    ],
)
def test_what_cannot_be_exported_is_said(run: Path, options, message: str) -> None:
    result = CliRunner().invoke(app, ["--to", "out", *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
