"""Training through Ray Train: the same losses, and rounds that are lost."""

import csv
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from dimitra.shards import json_bytes, write_shard
from pipelines import train
from pipelines.closure import ROOT
from pipelines.errors import StageError
from pipelines.params import Params
from pipelines.shard import OUTPUT, statistics
from pipelines.training import group as train_group
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.pipelines.mlflow_runs import artifacts, stage_runs
from tests.pipelines.toy_shards import small_params, write_merged

STEPS = 24


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def params(workers: int, steps: int = STEPS, save_every: int = 5) -> Params:
    part = {
        "steps": steps,
        "learning_rate": 0.001,
        "first_pose_weight": 1.0,
        "velocity_weight": 2.0,
    }
    given = small_params(train={"workers": workers, "batch": 4, "pose": part})
    ray = given.ray.model_copy(update={"save_every": save_every})
    return given.model_copy(update={"ray": ray})


def losses() -> list[float]:
    with Path("models/pose/curve.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_one_and_two_processes_agree_also_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    write_merged()
    train.train_part(params(1), "pose")
    alone = losses()
    train.train_part(params(2), "pose")
    assert losses() == pytest.approx(alone, rel=1e-4)
    (run, *others) = stage_runs("train@pose")
    assert [other.data.params["workers"] for other in (run, *others)] == ["2", "1"]
    assert run.data.metrics["frames_per_s"] > 0
    assert f"motion/step-{STEPS:07d}.png" in artifacts(run, "motion")
    assert not list(Path("cache/training").rglob("*.safetensors"))

    killed: list[int] = []

    def kill() -> None:
        """A process of the round, once it has saved a state."""
        until = time.monotonic() + 600
        while time.monotonic() < until and not list(Path("cache/training").rglob("*.safetensors")):
            time.sleep(0.02)
        for child in psutil.Process().children(recursive=True):
            if "RayTrainWorker" in " ".join(child.cmdline()):
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    long = 4 * STEPS
    train.train_part(params(2, long), "pose")
    thread.join()
    assert killed
    broken = losses()
    (run, *_) = stage_runs("train@pose")
    resumed = int(run.data.tags["resumed_after_steps"])
    assert resumed % 5 == 0
    assert 0 < resumed < long
    train.train_part(params(1, long), "pose")
    assert len(broken) == long
    unbroken = losses()
    assert broken[: 2 * STEPS] == pytest.approx(unbroken[: 2 * STEPS], rel=1e-3)
    assert broken == pytest.approx(unbroken, rel=0.1)  # rounding has grown by then


def test_a_diverging_training_ends_at_once_and_names_the_clip() -> None:
    clips = [toy_clip(f"aaa-{number:03d}", 40, number) for number in range(4)]
    write_shard(OUTPUT / "train-aaa-00000.tar", {c.clip_id: toy_parts(c) for c in clips})
    shards = [OUTPUT / "train-aaa-00000.tar"]
    (OUTPUT / "stats.json").write_bytes(json_bytes(statistics(shards, "open_head")))
    clips[2].motion[:, 66] = float("nan")
    write_shard(shards[0], {c.clip_id: toy_parts(c) for c in clips})
    with pytest.raises(StageError, match=r"step 0: the loss is nan.* on the clips aaa-002;"):
        train.train_part(params(2), "pose")


def test_a_bad_clip_of_one_process_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_group, "ROUNDS", 1)
    write_merged()
    clip = toy_clip("zzz-001", 40, 0)
    clip.drive.phonemes[3] = 77
    write_shard(Path("data/shards/train-zzz-00001.tar"), {"zzz-001": toy_parts(clip)})
    with pytest.raises(StageError, match=r"training of pose: clip zzz-001: phoneme 77 at frame 3"):
        train.train_part(params(2), "pose")
