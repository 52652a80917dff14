import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dimitra.clips import ClipError, Reason
from dimitra.datasets.card import card
from dimitra.datasets.revisions import load
from dimitra.datasets.summary import Refused
from dimitra.shards import npz_bytes, read_npz, read_shard, read_sidecar, write_shard
from pipelines import shard
from pipelines.params import Params
from pipelines.runtime.quarantine import quarantine_row, write_quarantine
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.pipelines.balances import write_balance
from tests.pipelines.toy_shards import CLIPS, FRAMES, SPLIT, small_params, write_manifest


def write_inputs() -> None:
    write_manifest(CLIPS)
    rows = {
        "clip_id": list(SPLIT),
        "dataset": [clip.dataset for clip in CLIPS],
        "split": list(SPLIT.values()),
    }
    shard.SPLIT.parent.mkdir(parents=True)
    pq.write_table(pa.table(rows), shard.SPLIT)
    shard.SPLIT.with_suffix(".json").write_text(json.dumps({"digest": "5" * 64}))
    for number in (0, 1):
        motion, speech = {}, {}
        for clip in CLIPS:
            if clip.shard == number:
                parts = toy_parts(toy_clip(clip.clip_id, FRAMES, int(clip.identity[2:])))
                motion[clip.clip_id] = {"motion.npz": parts.pop("motion.npz")}
                speech[clip.clip_id] = parts | {"TextGrid": b"not wanted"}
        write_shard(shard.MOTION / f"{number:05d}.tar", motion)
        write_shard(shard.SPEECH / f"{number:05d}.tar", speech)
    for folder in (shard.MOTION, shard.SPEECH):
        write_quarantine(folder, [])
        write_balance(folder)


def small_corpus() -> Params:
    """Parameters that know the two datasets of the toy clips."""
    sets = {n: {"layout": "folder", "path": n, "split": f"{n}/v1"} for n in ("aaa", "bbb")}
    return small_params(datasets={"sets": sets})


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_the_stage_merges_by_split_and_dataset() -> None:
    small_corpus()
    write_inputs()
    write_quarantine(Path("data/crops"), [quarantine_row(CLIPS[0], "crop", Reason.NO_FACE, "dark")])
    shard.main()
    names = sorted(path.name for path in shard.OUTPUT.glob("*.tar"))
    assert names == [
        "test-aaa-00000.tar",
        "test-bbb-00001.tar",
        "train-aaa-00000.tar",
        "train-aaa-00001.tar",
    ]
    merged = read_shard(shard.OUTPUT / "train-aaa-00001.tar")
    assert sorted(merged) == ["aaa-001", "aaa-003", "aaa-005"]
    assert sorted(merged["aaa-001"]) == ["json", "motion.npz", "speech.npz", "text.npz"]
    assert json.loads(merged["aaa-001"]["json"]) == {
        "clip_id": "aaa-001",
        "dataset": "aaa",
        "identity": "id001",
        "source_video": "v001",
        "split": "train",
        "frames": FRAMES,
        "face_model": "open_head",
    }
    index = pq.read_table(shard.OUTPUT / "index.parquet").to_pylist()
    assert sorted(row["clip_id"] for row in index) == sorted(SPLIT)
    for row in index:
        assert row["split"] == SPLIT[row["clip_id"]]
        assert row["shard_sha256"] == read_sidecar(shard.OUTPUT / row["shard"]).sha256
    stats = json.loads((shard.OUTPUT / "stats.json").read_text())
    poses = [
        read_npz(parts["motion.npz"])["pose"]
        for path in sorted(shard.OUTPUT.glob("train-*.tar"))
        for parts in read_shard(path).values()
    ]
    assert (stats["face_model"], stats["mouth"]) == ("open_head", list(range(13)))
    assert {row["face_model"] for row in index} == {"open_head"}
    assert (stats["clips"], stats["frames"]) == (5, 5 * FRAMES)
    np.testing.assert_allclose(stats["pose"]["mean"], np.concatenate(poses).mean(0), atol=1e-6)
    np.testing.assert_allclose(stats["pose"]["std"], np.concatenate(poses).std(0), rtol=1e-5)

    check_inventory()


def check_inventory() -> None:
    """What the stage writes about the dataset, against the shards and the manifest."""
    found = load("inventory")
    rows = {row["clip_id"]: row for row in found.inventory.to_pylist()}
    assert {clip_id: row["split"] for clip_id, row in rows.items()} == SPLIT
    assert all(rows[clip.clip_id]["sha256"].hex() == clip.sha256 for clip in CLIPS)
    assert {row["duration_s"] for row in rows.values()} == {FRAMES / 25}
    for path in shard.OUTPUT.glob("*.tar"):
        for clip_id, parts in read_shard(path).items():
            digest = hashlib.sha256(parts["speech.npz"]).digest()[:8]
            assert (rows[clip_id]["speech"], rows[clip_id]["shard"]) == (digest, path.name)
    assert found.summary is not None
    assert found.summary.quarantine == (Refused("crop", "aaa", "no_face", 1),)
    assert found.summary.description.split_digest == "5" * 64
    assert Path("inventory/README.md").read_text() == card(found.summary)
    assert "| `crop` | aaa | `no_face` | 1 |" in card(found.summary)


def test_the_face_model_is_recorded() -> None:
    write_inputs()
    worker = shard.make_worker({"split": shard.SPLIT.as_posix(), "face_model": "bfm"})
    made = worker(CLIPS[1], toy_parts(toy_clip("aaa-001", FRAMES, 0)))
    assert json.loads(made["json"])["face_model"] == "bfm"
    write_shard(shard.OUTPUT / "train-aaa-00000.tar", {"aaa-001": made})
    path = shard.OUTPUT / "train-aaa-00000.tar"
    assert [row["face_model"] for row in shard.index_rows([path])] == ["bfm"]
    recorded = shard.statistics([path], "bfm")
    assert recorded["face_model"] == "bfm"
    assert recorded["mouth"] == [0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14]
    assert shard.statistics([], "bfm") == {
        "face_model": "bfm",
        "mouth": recorded["mouth"],
        "clips": 0,
        "frames": 0,
    }


def test_one_pass_moments_equal_numpy_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(1e4, 1.0, size=(length, 3)) for length in (1, 50, 7)]
    result = shard.moments([array.astype(np.float64) for array in arrays])
    stacked = np.concatenate(arrays)
    np.testing.assert_allclose(result["mean"], stacked.mean(0))
    np.testing.assert_allclose(result["std"], stacked.std(0), rtol=1e-9)


def test_unequal_lengths_and_bad_numbers_go_to_quarantine() -> None:
    write_inputs()
    worker = shard.make_worker({"split": shard.SPLIT.as_posix(), "face_model": "open_head"})
    short = toy_parts(toy_clip("aaa-001", FRAMES - 1, 0))
    mixed = toy_parts(toy_clip("aaa-001", FRAMES, 0)) | {"motion.npz": short["motion.npz"]}
    with pytest.raises(ClipError, match="39 frames of motion but 40 of phonemes") as caught:
        worker(CLIPS[1], mixed)
    assert caught.value.reason is Reason.UNALIGNED
    spoiled = toy_parts(toy_clip("aaa-001", FRAMES, 0))
    motion = read_npz(spoiled["motion.npz"])
    motion["pose"][3, 1] = np.inf
    with pytest.raises(ClipError, match="pose holds values that are not finite"):
        worker(CLIPS[1], spoiled | {"motion.npz": npz_bytes(motion)})
