import hashlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import BadClipError
from dimitra.morphable.coefficients import MOUTH
from dimitra.shards import read_sidecar, write_shard
from pipelines import train
from pipelines.closure import code_digest
from pipelines.runtime.mainguard import StageError
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import Finished, WorkCache, package_version
from pipelines.training.share import build_model, local_corpus, local_shard, normalisation
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.pipelines.mlflow_runs import stage_runs
from tests.pipelines.toy_shards import SPLIT, small_params, write_merged


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_a_part_is_trained_saved_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    params = small_params()
    write_merged()
    train.train_part(params, "pose")
    trained = checkpoint.load(Path("models/pose"))
    assert trained.columns == tuple(range(64, 70))
    assert trained.model.config.speech_values == 3 * 8
    assert trained.model.scale.min() > 0
    assert not torch.equal(trained.model.scale, torch.ones(6))
    (run,) = stage_runs("train@pose")
    assert run.data.params["steps"] == "3"
    assert run.data.params["first_pose_weight"] == "1.0"
    for name, value in params.diffusion.model_dump().items():
        assert run.data.params[f"diffusion.{name}"] == str(value)
    shard = Path("data/shards/train-aaa-00000.tar")
    assert run.data.tags[f"input.{shard.name}"] == read_sidecar(shard).sha256
    assert not any("test-" in tag for tag in run.data.tags)
    assert run.data.metrics["loss"] > 0
    made_of = json.loads(Path("models/pose/config.json").read_text())["made_of"]
    assert run.data.tags["work_key"] == made_of["key"]
    assert (
        run.data.tags["code_digest"] == made_of["code"] == code_digest("pipelines.training.share")
    )
    assert run.info.status == "FINISHED"
    before = {path.name: path.read_bytes() for path in Path("models/pose").iterdir()}
    monkeypatch.setenv("DIMITRA_MLFLOW", "0")
    train.train_part(params, "pose")
    assert before == {path.name: path.read_bytes() for path in Path("models/pose").iterdir()}


def test_the_saved_part_says_what_it_was_made_of() -> None:
    """Its key can be worked out again from what stands beside it, shard digests from the files."""
    params = small_params(train={"workers": 1})
    write_merged()
    train.train_part(params, "pose")
    made_of = json.loads(Path("models/pose/config.json").read_text())["made_of"]
    key, clips = made_of.pop("key"), made_of.pop("train_clips")
    text = json.dumps(made_of, sort_keys=True, ensure_ascii=False)
    assert key == hashlib.sha256(text.encode()).hexdigest()
    assert key == train.make_plan(params, "pose").key
    shards = sorted(Path("data/shards").glob("train-*.tar"))
    assert made_of["shards"] == [
        [path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in shards
    ]
    ids = sorted(clip_id for clip_id, split in SPLIT.items() if split == "train")
    assert clips == hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    assert made_of["diffusion"] == params.diffusion.model_dump()
    assert made_of["train"]["precision"] == "float32"
    assert (made_of["seed"], made_of["torch"]) == (params.seed, package_version("torch"))
    assert str(Path.cwd()) not in Path("models/pose/config.json").read_text()


def test_another_number_of_processes_is_another_training() -> None:
    write_merged()
    one, two = (small_params(train={"workers": workers}) for workers in (1, 2))
    assert train.make_plan(one, "pose").key != train.make_plan(two, "pose").key
    assert train.make_plan(one, "pose").key == train.make_plan(one, "pose").key


def test_a_part_saved_without_its_making_is_read() -> None:
    write_merged()
    train.train_part(small_params(), "pose")
    path = Path("models/pose/config.json")
    config = json.loads(path.read_text())
    del config["made_of"]
    path.write_text(json.dumps(config))
    assert checkpoint.load(Path("models/pose")).part == "pose"


def test_an_ablation_is_a_matter_of_parameters() -> None:
    """One joint model, fewer conditions, vanilla attention, another target, windows unheard."""
    params = small_params(
        model=small_params().model.model_dump(mode="json")
        | {"conditions": ["text", "speech"], "attention": "softmax"},
        diffusion={"target": "v", "null_probability": 0.5},
    )
    write_merged()
    train.train_part(params, "all")
    trained = checkpoint.load(Path("models/all"))
    assert trained.columns == tuple(range(70))
    assert trained.mouth == MOUTH["open_head"]
    assert trained.null_probability == 0.5
    config = trained.model.config
    assert set(trained.model.encoders) == {"speech", "text"}
    assert (config.attention, config.target) == ("softmax", "v")
    assert config.conditions == ("text", "speech")


def test_normalisation_has_a_floor_per_kind_of_value() -> None:
    stats = {
        "frames": 10,
        "expression": {"mean": [0.5] * 64, "std": [2.0] + [0.0] * 63},
        "pose": {"mean": [0.0] * 6, "std": [0.1, 0.1, 0.0, 5.0, 1.0, 0.0]},
    }
    _, lips = normalisation(stats, MOUTH["open_head"])
    torch.testing.assert_close(lips, torch.tensor([2.0] + [0.1] * 12))
    shift, pose = normalisation(stats, range(64, 70))
    torch.testing.assert_close(pose, torch.tensor([0.1, 0.1, 0.005, 5.0, 1.0, 0.25]))
    assert not shift.any()


def test_no_shards_say_what_to_run() -> None:
    with pytest.raises(StageError, match=r"python -m pipelines\.shard"):
        train.train_part(small_params(), "lips")


def test_train_shards_without_clips_are_told() -> None:
    write_merged()
    for shard in Path("data/shards").glob("train-*.tar"):
        write_shard(shard, {})
    with pytest.raises(StageError, match=r"the 2 train shards in data/shards hold no clip: .*"):
        train.train_part(small_params(), "lips")


def test_a_shard_of_other_bytes_than_its_sidecar_says_is_refused() -> None:
    write_merged()
    shard = Path("data/shards/train-aaa-00001.tar")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1  # of the same length, and still a tar of arrays
    shard.write_bytes(data)
    with pytest.raises(
        StageError, match=r"train-aaa-00001\.tar has sha256 .* train-aaa-00001\.json"
    ):
        train.train_part(small_params(), "lips")
    assert not Path("models").exists()


def test_a_bad_clip_ends_the_training_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    write_merged()
    clip = toy_clip("zzz-001", 40, 0)
    clip.drive.phonemes[3] = 77
    write_shard(Path("data/shards/train-zzz-00001.tar"), {"zzz-001": toy_parts(clip)})
    with pytest.raises(BadClipError, match="clip zzz-001: phoneme 77 at frame 3"):
        train.train_part(small_params(train={"batch": 8}), "lips")
    (run,) = stage_runs("train@lips")
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_an_interrupted_training_is_killed_in_mlflow_and_goes_on(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_merged()
    params = small_params()
    params = params.model_copy(update={"ray": params.ray.model_copy(update={"save_every": 1})})
    train.train_part(params, "pose")
    whole = {path.name: path.read_bytes() for path in Path("models/pose").iterdir()}

    def interrupted(*_: object) -> None:
        if how == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    with monkeypatch.context() as patch:
        patch.setattr(train, "draw", interrupted)  # after the state of step 1 is written
        with pytest.raises(KeyboardInterrupt):
            train.train_part(params, "pose")
    assert signal.getsignal(signal.SIGTERM) is handler
    (run,) = stage_runs("train@pose")
    assert run.info.status == "KILLED"
    train.train_part(params, "pose")
    (run, _) = stage_runs("train@pose")
    assert (run.info.status, run.data.tags["resumed_after_steps"]) == ("FINISHED", "1")
    assert whole == {path.name: path.read_bytes() for path in Path("models/pose").iterdir()}


def test_settings_of_the_training_reach_it_and_its_key() -> None:
    write_merged()
    changes: dict[str, dict[str, object]] = {
        "model": {"positions": "sinusoid"},
        "diffusion": {"weighting": "snr"},
        "train": {
            "pose": {
                "steps": 3,
                "learning_rate": 0.001,
                "first_pose_weight": 1.0,
                "velocity_weight": 7.0,
            }
        },
    }
    plain = small_params(
        model={"positions": "normal"},
        diffusion={"weighting": "uniform"},
        train={"pose": {"steps": 3, "learning_rate": 0.001, "first_pose_weight": 1.0}},
    )
    keys = {train.make_plan(plain, "pose").key}
    for name, change in changes.items():
        changed = small_params(
            **{
                "model": {"positions": "normal"},
                "diffusion": {"weighting": "uniform"},
                "train": {"pose": {"steps": 3, "learning_rate": 0.001, "first_pose_weight": 1.0}},
            }
            | {name: change}
        )
        keys.add(train.make_plan(changed, "pose").key)
    assert len(keys) == 1 + len(changes)
    plan = train.make_plan(small_params(**changes), "pose")
    assert plan.config.weighting == "snr"
    assert plan.config.loss_weights.velocity == 7.0
    model = build_model(plan, local_corpus(plan))
    assert model.config.positions == "sinusoid"
    torch.testing.assert_close(
        model.frame_embedding[:, 0], torch.arange(len(model.frame_embedding)).float().cos()
    )


def test_shards_elsewhere_are_fetched_once_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "node"))
    cache = WorkCache(Storage(str(tmp_path / "storage")))
    shard = tmp_path / "partial" / "00000.tar"
    sidecar = write_shard(shard, {"a": {"txt": b"one"}})
    cache.keep(shard, Finished(sidecar, ()), "0" * 64, "shard")
    asked: list[str] = []
    fetch = WorkCache.fetch_object

    def counted(self: WorkCache, sha256: str, target: Path) -> None:
        asked.append(sha256)
        fetch(self, sha256, target)

    monkeypatch.setattr(WorkCache, "fetch_object", counted)
    absent = tmp_path / "elsewhere" / "00000.tar"
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: local_shard(absent, sidecar.sha256, cache), range(8)))
    assert asked == [sidecar.sha256]
    (copy,) = found
    assert copy.is_relative_to(tmp_path / "node" / "fetched")
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == sidecar.sha256
    os.utime(copy, (1e9, 1e9))
    assert local_shard(absent, sidecar.sha256, cache) == copy
    assert copy.stat().st_mtime > 1.5e9  # used just now: `dimitra cache gc` leaves it
