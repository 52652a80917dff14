import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.shards import npz_bytes, read_sidecar, write_shard
from dimitra.sync import compact
from dimitra.sync.training import SyncTrainingError
from pipelines import train_sync
from pipelines.closure import code_digest
from pipelines.errors import StageError
from pipelines.training.states import TrainingStates
from tests.pipelines.balances import write_balance
from tests.pipelines.mlflow_runs import stage_runs
from tests.pipelines.speech_clips import CLIP

CLIPS = [replace(CLIP, clip_id=f"toy-{k}", source_video=f"v{k}", shard=k % 2) for k in range(4)]
PARAMS = Path(__file__).parents[2] / "conf" / "sample.yaml"


def crop(seed: int, frames: int) -> dict[str, bytes]:
    """A clip of noise with a face that holds still."""
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(frames)]
    landmarks = np.tile(random.uniform(20, 44, (1, 68, 2)), (frames, 1, 1)).astype(np.float32)
    sound = random.normal(0, 0.1, frames * 640).astype(np.float32)
    return {
        "mp4": encode_mp4(pictures),
        "flac": encode_flac(sound),
        "track.npz": npz_bytes({"landmarks": landmarks}),
    }


def write_corpus(place: Path, test_seed: int, frames: int = 20, **changed: object) -> None:
    """Two training clips (0 and 2, shard 0) and two test clips (1 and 3, shard 1)."""
    (place / "data/manifest").mkdir(parents=True)
    (place / "data/split").mkdir()
    table = pa.Table.from_pylist([vars(clip) for clip in CLIPS], schema=MANIFEST_SCHEMA)
    pq.write_table(table, place / "data/manifest/clips.parquet")
    write_balance(place / "data/manifest", "ingest", len(CLIPS))
    split = [
        {"clip_id": clip.clip_id, "split": "test" if clip.shard else "train"} for clip in CLIPS
    ]
    pq.write_table(pa.Table.from_pylist(split), place / "data/split/split.parquet")
    crops = place / "data/crops"
    for shard in (0, 1):
        ids = [clip.clip_id for clip in CLIPS if clip.shard == shard]
        parts = {k: crop(n + (test_seed if shard else 0), frames) for n, k in enumerate(ids)}
        write_shard(crops / f"{shard:05d}.tar", parts)
    write_balance(crops)
    values = yaml.safe_load(PARAMS.read_text())
    values["sync"].update(steps=2, width=4, windows=5, **changed)
    (place / "params.yaml").write_text(yaml.safe_dump(values))


def trained(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place.parent}/mlflow.db")
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(place.parent / "cache"))
    train_sync.main()
    return {path.name: path.read_bytes() for path in Path("evaluators/sync").iterdir()}


def test_only_training_clips_make_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path / "one", 10)
    write_corpus(tmp_path / "two", 90)
    first = trained(tmp_path / "one", monkeypatch)
    assert set(first) == {"model.safetensors", "config.json", "curve.csv"}
    assert trained(tmp_path / "two", monkeypatch) == first
    facts = json.loads(first["config.json"])
    shard = tmp_path / "one/data/crops/00000.tar"
    assert facts["shards"] == {"data/crops/00000.tar": read_sidecar(shard).sha256}
    assert facts["clips"] == 2
    assert facts["params"]["steps"] == 2
    assert len(first["curve.csv"].splitlines()) == 3
    assert compact.load(Path("evaluators/sync")).config.width == 4


def test_an_interrupted_training_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path / "one", 10)
    values = yaml.safe_load((tmp_path / "one/params.yaml").read_text())
    values["ray"]["save_every"] = 1
    (tmp_path / "one/params.yaml").write_text(yaml.safe_dump(values))
    whole = trained(tmp_path / "one", monkeypatch)
    write = TrainingStates.write

    def killed(states: TrainingStates[Any], state: Any) -> None:
        write(states, state)
        raise KeyboardInterrupt

    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStates, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "one", monkeypatch)
    monkeypatch.chdir(tmp_path / "one")
    (run,) = stage_runs("train_sync")
    assert run.info.status == "KILLED"
    assert list((tmp_path / "cache/training").rglob("*.safetensors"))
    assert trained(tmp_path / "one", monkeypatch) == whole
    (run, _) = stage_runs("train_sync")
    assert run.data.tags["resumed_after_steps"] == "1"
    assert run.data.tags["code_digest"] == code_digest("pipelines.train_sync")
    assert not list((tmp_path / "cache/training").rglob("*.safetensors"))


def test_the_published_network_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"network": "published", "weights": "syncnet_v2", "region": "frame"}
    write_corpus(tmp_path / "one", 10, **chosen)
    assert set(trained(tmp_path / "one", monkeypatch)) == {"not_trained.json"}


def test_too_short_clips_and_no_clips_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path / "one", 10, frames=12)
    with pytest.raises(SyncTrainingError, match="none of 2 training clips has 10 windows"):
        trained(tmp_path / "one", monkeypatch)
    split = [{"clip_id": clip.clip_id, "split": "test"} for clip in CLIPS]
    pq.write_table(pa.Table.from_pylist(split), "data/split/split.parquet")
    with pytest.raises(StageError, match="names no training clip that has a crop"):
        train_sync.main()
