"""The stage that trains a renderer: from crops and motion to videos drawn with its output."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.datasets.split import SPLIT_SCHEMA
from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.render import renderer_checkpoint
from dimitra.render.pirender import PIRenderer
from dimitra.shards import npz_bytes, read_shard, sha256_file, write_atomic, write_shard
from pipelines import render, train_renderer
from pipelines.closure import ROOT
from pipelines.errors import StageError
from pipelines.params import Params, ParamsError, load, parse
from pipelines.params.dvc_yaml import rewrite
from pipelines.runtime.quarantine import write_table
from tests.pipelines.balances import write_balance
from tests.pipelines.mlflow_runs import artifacts, stage_runs
from tests.pipelines.test_render_stage import CLIP
from tests.render.test_renderer_training import clip as moving

SIDE = 64
CLIPS = [replace(CLIP, clip_id=f"lecture-{name}", shard=0) for name in ("ann", "bob", "eve")]
SIDES = {"lecture-ann": "train", "lecture-bob": "train", "lecture-eve": "test"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)


def write_corpus() -> None:
    crops, motions, generated = {}, {}, {}
    for one in CLIPS:
        made = moving(one.clip_id, 6)
        sound = 0.1 * np.sin(np.arange(6 * 640) / 20.0)
        fitted = {
            "identity": np.zeros(80, np.float32),
            "expression": made.motion[:, :64],
            "pose": made.motion[:, 64:],
            "crop": np.tile(made.crop[:1], (6, 1)),
        }
        crops[one.clip_id] = {
            "mp4": encode_mp4(list(made.frames)),
            "flac": encode_flac(sound.astype(np.float32)),
            "track.npz": npz_bytes({"landmarks": made.landmarks}),
        }
        motions[one.clip_id] = {"motion.npz": npz_bytes(fitted)}
        if SIDES[one.clip_id] == "test":
            generated[one.clip_id] = {"generated.npz": npz_bytes({"motion": made.motion})}
    for stage, samples in (("crops", crops), ("motion", motions), ("generated", generated)):
        write_shard(Path(f"data/{stage}/00000.tar"), samples)
        write_balance(Path(f"data/{stage}"))
    write_table(Path("data/manifest/clips.parquet"), [asdict(c) for c in CLIPS], MANIFEST_SCHEMA)
    write_balance(Path("data/manifest"), "ingest", len(CLIPS))
    rows = [
        {
            "clip_id": one.clip_id,
            "dataset": one.dataset,
            "identity": one.identity,
            "source_video": one.source_video,
            "split": SIDES[one.clip_id],
        }
        for one in CLIPS
    ]
    write_table(Path("data/split/split.parquet"), rows, SPLIT_SCHEMA)


def small(**changes: Any) -> Params:
    values = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())
    values["ray"] |= {"workers": 1, "mlflow": False, "save_every": 2}
    values["crop"]["size"] = SIDE
    widths = {"descriptor": 8, "widest": 16, "warp_width": 4, "edit_width": 4}
    steps = {"models": ["trained"], "pairs": 1, "steps": 4, "warp_steps": 2}
    values["train_renderer"] |= widths | steps | changes
    values["render"] |= {"renderer": "pirender", "weights": "trained", "size": SIDE}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return load()


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in train_renderer.OUTPUT.iterdir()}


def test_a_renderer_is_trained_on_the_train_clips_and_draws_the_test_clips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    write_corpus()
    params = small()
    params = params.model_copy(update={"ray": params.ray.model_copy(update={"mlflow": True})})
    train_renderer.train(params)
    made = renderer_checkpoint.load(train_renderer.OUTPUT)
    assert (made.face_model, made.size) == ("open_head", SIDE)
    assert made.network.settings.widest == 16
    (run,) = stage_runs("train_renderer")
    assert run.data.params["clips"] == "2"
    assert run.data.tags["input.crops/00000.tar"] == sha256_file(Path("data/crops/00000.tar"))
    assert run.data.metrics["final"] > 0.0
    shown = artifacts(run, "pictures")
    assert shown == ["pictures/step-0000002.png", "pictures/step-0000004.png"]
    kept = artifacts(run, "models/renderers/trained")
    assert [Path(one).name for one in kept] == ["config.json", "curve.csv", "model.safetensors"]
    monkeypatch.setenv("DIMITRA_MLFLOW", "0")

    first = files()
    train_renderer.train(params)
    assert files() == first
    render.main()
    videos = read_shard(Path("data/videos/00000.tar"))
    assert list(videos) == ["lecture-eve"]
    source = moving("lecture-eve", 6)
    photo = read_video(read_shard(Path("data/crops/00000.tar"))["lecture-eve"]["mp4"])[0]
    crop = np.tile(source.crop[:1], (6, 1))
    frames = PIRenderer(made.network).render(photo, source.motion, crop)
    expected = read_video(encode_mp4(frames, crf=18, preset="veryfast"))
    assert np.array_equal(read_video(videos["lecture-eve"]["hp.mp4"]), expected)


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_corpus()
    params = small()
    train_renderer.train(params)
    whole = files()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_renderer, "sheet", killed)  # after the state of step 2 is written
        with pytest.raises(KeyboardInterrupt):
            train_renderer.train(params)
    plan = train_renderer.make_plan(params)
    state = plan.states.latest()
    assert state is not None
    assert state.steps == 2
    train_renderer.train(params)
    assert files() == whole
    assert plan.states.latest() is None


def test_what_is_missing_is_told() -> None:
    params = small()
    with pytest.raises(StageError, match=r"python -m pipelines\.crop"):
        train_renderer.train(params)
    with pytest.raises(StageError, match="dvc repro train_renderer"):
        render.main()
    write_corpus()
    train_renderer.train(params)
    config = train_renderer.OUTPUT / renderer_checkpoint.CONFIG
    write_atomic(config, config.read_bytes().replace(b"open_head", b"bfm"))
    with pytest.raises(StageError, match=r"draws bfm at 64 px, but fit\.face_model is 'open_head'"):
        render.main()


def test_settings_that_do_not_fit_are_refused() -> None:
    values = small().model_dump(mode="json")

    def refused(section: str, changes: dict[str, Any], match: str) -> None:
        with pytest.raises(ParamsError, match=match):
            parse(values | {section: values[section] | changes})

    refused("train_renderer", {"models": []}, r"train_renderer\.models is empty")
    refused("train_renderer", {"size": 128}, r"render\.size is 64, but train_renderer\.size 128")
    refused("train_renderer", {"loss": "perceptual"}, r"perceptual needs VGG19's weights")
    refused("train_renderer", {"vgg_weights": "vgg19"}, r"pixel none \(null\)")
    refused("train_renderer", {"warp_steps": 9}, r"warp_steps is 9, more than steps 4")


def test_rendering_depends_on_the_trained_renderer_only_where_it_draws() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    own = "renderers/trained"

    def deps(params: Params) -> list[str]:
        found: list[str] = yaml.safe_load(rewrite(text, params=params))["stages"]["render"]["deps"]
        return found

    assert own in deps(small())
    assert own not in deps(load(ROOT / "conf" / "sample.yaml"))
    assert own not in deps(load(ROOT / "conf" / "paper.yaml"))
    again = rewrite(rewrite(text, params=small()), params=load(ROOT / "conf" / "sample.yaml"))
    assert again == rewrite(text, params=load(ROOT / "conf" / "sample.yaml"))
