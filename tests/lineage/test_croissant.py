"""The Croissant description is valid under mlcroissant and loads the clip index."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dimitra.lineage.croissant import describe
from dimitra.shards import json_bytes, sha256_file, write_shard


def test_valid_and_loadable(tmp_path: Path) -> None:
    import mlcroissant

    sidecar = write_shard(
        tmp_path / "train-demo-00000.tar", {"a": {"x.txt": b"1"}, "b": {"x.txt": b"2"}}
    )
    table = pa.table({"clip_id": ["a", "b"], "frames": pa.array([10, 20], pa.int32())})
    pq.write_table(table, tmp_path / "index.parquet")
    metadata = describe(
        "demo",
        "A demonstration.",
        "CC0-1.0",
        sha256_file(tmp_path / "index.parquet"),
        [sidecar],
        {"clip_id": ("Clip id.", "sc:Text"), "frames": ("Frames.", "sc:Integer")},
        date_published="2026-11-22",
    )
    (tmp_path / "croissant.json").write_bytes(json_bytes(metadata))
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    records = list(dataset.records("clips"))
    assert [record["clips/clip_id"] for record in records] == [b"a", b"b"]
    assert [int(record["clips/frames"]) for record in records] == [10, 20]
