"""Inventories of toy shards that are written and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from dimitra.clips import Clip
from dimitra.datasets.inventory import encode, of_shards
from dimitra.datasets.members import members_table
from dimitra.datasets.summary import Description, Refused, summarise
from dimitra.shards import Members, iterate_shard, json_bytes, list_sidecars, write_shard
from tests.pipelines.runtime.test_jobs import clip

CLIPS = [replace(clip(number, 0), transcript=f"words {number}") for number in range(8)]
ABOUT = Description(
    name="dimitra-toy",
    version="1.0.0",
    licence="CC0-1.0",
    creator="somebody",
    published="2026-11-22",
    face_model="open_head",
    splits={"toy": "toy/v1"},
    split_digest="0" * 64,
)


def side(one: Clip) -> str:
    """The first six to train."""
    return "train" if one.identity < "id006" else "test"


def parts(one: Clip, **changed: bytes) -> Members:
    """Three parts of a few bytes, and the description."""
    made = {f"{name}.npz": f"{name} {one.clip_id}".encode() for name in ("motion", "speech", "text")}
    about = {"clip_id": one.clip_id, "split": side(one), "frames": 50}
    return made | {"json": json_bytes(about)} | {f"{k}.npz": v for k, v in changed.items()}


def write_shards(
    folder: Path, clips: Sequence[Clip], shards: int = 2, changed: Mapping[str, Members] | None = None
) -> list[Path]:
    """Write the clips into shards in turn; ``changed``: clip to parts that are other ones."""
    groups: dict[int, dict[str, Members]] = {}
    for number, one in enumerate(clips):
        made = parts(one) | dict((changed or {}).get(one.clip_id, {}))
        groups.setdefault(number % shards, {})[one.clip_id] = made
    for number, samples in groups.items():
        write_shard(folder / f"all-toy-{number:05d}.tar", samples)
    return sorted(folder.glob("*.tar"))


def inventory(
    folder: Path,
    clips: Sequence[Clip] = CLIPS,
    shards: int = 2,
    changed: Mapping[str, Members] | None = None,
    sides: Mapping[str, str] | None = None,
) -> pa.Table:
    """Inventory of shards that are written into ``folder`` first."""
    paths = write_shards(folder, clips, shards, changed)
    index = [
        json.loads(found["json"]) | {"shard": path.name}
        for path in paths
        for _, found in iterate_shard(path)
    ]
    for row in index:
        row["split"] = (sides or {}).get(row["clip_id"], row["split"])
    return of_shards(clips, index, members_table(paths), fps=25.0)


def commit_files(
    folder: Path, table: pa.Table, shards: Path, version: str = "1.0.0", *refused: Refused
) -> None:
    """Write ``inventory/`` below a folder, as the stage does."""
    sidecars = list(list_sidecars(shards).values())
    summary = summarise(replace(ABOUT, version=version), table, refused, sidecars)
    (folder / "inventory").mkdir(exist_ok=True)
    (folder / "inventory/clips.parquet").write_bytes(encode(table))
    (folder / "inventory/dataset.json").write_bytes(json_bytes(summary.to_json()))
