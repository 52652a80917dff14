from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.datasets import inventory as inventories
from dimitra.datasets.inventory import InventoryError, decode, digest, encode, of_manifest, with_sides
from tests.datasets.inventories import CLIPS, inventory, side


def test_it_comes_back_and_says_what_is_in_the_shards(tmp_path: Path) -> None:
    table = inventory(tmp_path)
    data = encode(table)
    assert decode(data, "x").equals(table)
    assert encode(decode(data, "x")) == data
    rows = {row["clip_id"]: row for row in table.to_pylist()}
    assert list(rows) == sorted(clip.clip_id for clip in CLIPS)
    for clip in CLIPS:
        row = rows[clip.clip_id]
        assert (row["sha256"].hex(), row["split"]) == (clip.sha256, side(clip))
        assert row["duration_s"] == 2.0
        assert len({row["motion"], row["speech"], row["text"], row["words"]}) == 4
    assert inventories.computed(table)


def test_the_digest_tells_content_and_not_packing(tmp_path: Path) -> None:
    first = digest(inventory(tmp_path / "a"))
    assert first == digest(inventory(tmp_path / "b", list(reversed(CLIPS)), shards=3))
    other = {"toy-003": {"speech.npz": b"another"}}
    assert first != digest(inventory(tmp_path / "c", changed=other))
    moved = [replace(CLIPS[0], source_video="elsewhere"), *CLIPS[1:]]
    assert first != digest(inventory(tmp_path / "d", moved))


def test_a_manifest_is_an_inventory_without_shards(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([asdict(clip) for clip in CLIPS], MANIFEST_SCHEMA)
    pq.write_table(table, tmp_path / "clips.parquet")
    found = inventories.read(tmp_path / "clips.parquet")
    assert found.equals(of_manifest(CLIPS, None))
    assert not inventories.computed(found)
    split = pa.table({"clip_id": ["toy-001", "toy-002"], "split": ["train", "test"]})
    pq.write_table(split, tmp_path / "split.parquet")
    sided = with_sides(found, (tmp_path / "split.parquet").read_bytes(), "split")
    assert sided.equals(of_manifest(CLIPS, {"toy-001": "train", "toy-002": "test"}))
    with pytest.raises(InventoryError, match="s is no split"):
        with_sides(found, (tmp_path / "clips.parquet").read_bytes(), "s")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no table")
    with pytest.raises(InventoryError, match="a is no Parquet file"):
        inventories.read(tmp_path / "a")
    pq.write_table(pa.table({"clip_id": ["x"]}), tmp_path / "b")
    with pytest.raises(InventoryError, match="neither an inventory nor a manifest: it lacks audio_"):
        inventories.read(tmp_path / "b")
    with pytest.raises(InventoryError, match=r"holds toy-007, which is not in the manifest"):
        inventories.of_shards(
            CLIPS[:7],
            [{"clip_id": "toy-007", "shard": "s.tar", "split": "train", "frames": 3}],
            pa.table({"clip_id": [""], "part": [""], "sha256": [""]}),
            25.0,
        )
