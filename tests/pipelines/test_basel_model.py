"""Motion of the Basel model through the stages after the fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dimitra.cmdt import checkpoint
from dimitra.morphable.coefficients import BFM_MOUTH, PARTS
from dimitra.shards import read_npz
from pipelines import generate, train
from pipelines.runtime.mainguard import StageError
from tests.pipelines.params.test_params_fit import BFM
from tests.pipelines.toy_shards import CLIPS, FRAMES, small_params, write_merged


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_its_mouth_is_learned_from_its_shards_and_generated() -> None:
    params = small_params(fit=BFM, render={"renderer": "pirender", "weights": "pirender_256"})
    write_merged("bfm")
    stats = json.loads(Path("data/shards/stats.json").read_text())
    assert (stats["face_model"], tuple(stats["mouth"])) == ("bfm", BFM_MOUTH)
    for part in PARTS:
        train.train_part(params, part)
    assert checkpoint.load(Path("models/lips")).columns == BFM_MOUTH
    others = tuple(index for index in range(64) if index not in BFM_MOUTH)
    assert checkpoint.load(Path("models/expression")).columns == others
    worker = generate.make_worker(
        {"models": "separate", "samples": 1, "sampler": "ddim", "steps": 5, "seed": params.seed}
    )
    clip = next(clip for clip in CLIPS if clip.clip_id == "bbb-009")
    motion = read_npz(worker(clip, {})["generated.npz"])["motion"]
    assert motion.shape == (FRAMES, 70)
    assert np.isfinite(motion).all()


def test_shards_of_another_face_model_are_refused() -> None:
    write_merged("bfm")
    with pytest.raises(StageError, match="holds motion of 'bfm', but fit.face_model is 'open_he"):
        train.train_part(small_params(), "lips")
