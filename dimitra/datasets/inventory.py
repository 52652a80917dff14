"""Inventory of a dataset: one row a clip, small enough to be committed, from which versions follow.

A row holds what makes a clip *this* clip (bytes, interval and words of the original; who speaks;
the recording; its side of the split) and digests of what the shards hold of it. An inventory made
of a manifest alone, before anything was computed, lacks the latter.

The digests of parts are the first 8 bytes of a sha256: enough to see that a part has changed,
short enough for git. The digest of the whole is a full one.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dimitra.clips import MANIFEST_SCHEMA, Clip
from dimitra.datasets.split import SPLIT_SCHEMA

PARTS = ("motion", "speech", "text")
"""What the shards hold of a clip: ``motion.npz``, ``speech.npz``, ``text.npz``."""
_SHORT = 8
"""Bytes kept of the sha256 of a part."""

INVENTORY_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("source_video", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("sha256", pa.binary(32), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64()),
        pa.field("words", pa.binary(_SHORT)),
        pa.field("duration_s", pa.float64(), nullable=False),
        *(pa.field(part, pa.binary(_SHORT)) for part in PARTS),
        pa.field("shard", pa.string()),
    ]
)
"""``sha256``: of the original file (``dimitra.clips.Clip``). ``words``: of the dataset's own text,
null without one. ``split``: null where neither list names the identity. ``duration_s``: what the
shards hold, or what the manifest says. ``motion`` to ``shard``: null before there are shards."""

_PACKING = "shard"
_LINES = 10_000
"""Held in memory at a time."""


class InventoryError(ValueError):
    """A file is no inventory and no manifest."""


def _short(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_SHORT]


def _row(clip: Clip, side: str | None) -> dict[str, Any]:
    return {
        "clip_id": clip.clip_id,
        "dataset": clip.dataset,
        "identity": clip.identity,
        "source_video": clip.source_video,
        "split": side,
        "sha256": bytes.fromhex(clip.sha256),
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "words": None if clip.transcript is None else _short(clip.transcript.encode()),
        "duration_s": clip.duration_s,
    }


def _table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: str(row["clip_id"]))
    return pa.Table.from_pylist([dict(row) for row in ordered], schema=INVENTORY_SCHEMA)


def of_manifest(clips: Sequence[Clip], sides: Mapping[str, str] | None) -> pa.Table:
    """Inventory of a manifest: nothing is known of any shard.

    Args:
        clips: the manifest.
        sides: side of each clip that the split has; None where it is not known, and then all clips
            are taken, otherwise those of the split.
    """
    if sides is None:
        return _table(_row(clip, None) for clip in clips)
    return _table(_row(c, sides[c.clip_id]) for c in clips if c.clip_id in sides)


def of_shards(
    clips: Iterable[Clip], index: Sequence[Mapping[str, Any]], members: pa.Table, fps: float
) -> pa.Table:
    """Inventory of finished shards: the clips in them.

    Args:
        clips: the manifest.
        index: rows of ``index.parquet``.
        members: ``MEMBERS_SCHEMA`` of the same shards.
        fps: frames a second of what the shards hold.

    Raises:
        InventoryError: the shards hold a clip that the manifest lacks.
    """
    digests: dict[str, dict[str, bytes]] = {}
    for batch in members.select(["clip_id", "part", "sha256"]).to_batches(max_chunksize=_LINES):
        for row in batch.to_pylist():
            name = row["part"].removesuffix(".npz")
            if name in PARTS:
                digest_of = bytes.fromhex(row["sha256"])[:_SHORT]
                digests.setdefault(row["clip_id"], {})[name] = digest_of
    known = {clip.clip_id: clip for clip in clips}
    rows = []
    for entry in index:
        clip = known.get(entry["clip_id"])
        if clip is None:
            raise InventoryError(
                f"{entry['shard']} holds {entry['clip_id']}, which is not in the manifest; run "
                "`dvc repro shard`"
            )
        rows.append(
            _row(clip, entry["split"])
            | {"duration_s": entry["frames"] / fps, "shard": entry["shard"]}
            | digests.get(clip.clip_id, {})
        )
    return _table(rows)


def digest(table: pa.Table) -> str:
    """Sha256 of an inventory's content, whatever shards it is packed in.

    Of one line a clip: its values but for the shard, as JSON, bytes in hexadecimal.
    """
    running = hashlib.sha256()
    for batch in table.drop_columns([_PACKING]).to_batches(max_chunksize=_LINES):
        for row in batch.to_pylist():
            values = [value.hex() if isinstance(value, bytes) else value for value in row.values()]
            running.update(json.dumps(values, separators=(",", ":")).encode() + b"\n")
    return running.hexdigest()


def encode(table: pa.Table) -> bytes:
    """Parquet; the same rows give the same bytes. Sorted ids are stored as differences."""
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=["dataset", "identity", "source_video", "split", "shard"],
        column_encoding={"clip_id": "DELTA_BYTE_ARRAY"},
    )
    return buffer.getvalue()


def decode(data: bytes, name: str) -> pa.Table:
    """Read ``encode``'s bytes, or those of a manifest.

    Args:
        data: a Parquet file.
        name: of the file, for messages.

    Raises:
        InventoryError: it is neither.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
    except pa.ArrowInvalid as error:
        raise InventoryError(f"{name} is no Parquet file: {error}") from None
    names = set(table.column_names)
    if names >= set(INVENTORY_SCHEMA.names):
        return table.select(INVENTORY_SCHEMA.names).cast(INVENTORY_SCHEMA)
    if names >= set(MANIFEST_SCHEMA.names):
        clips = [Clip(**row) for row in table.select(MANIFEST_SCHEMA.names).to_pylist()]
        return of_manifest(clips, None)
    missing = sorted(set(MANIFEST_SCHEMA.names) - names)
    raise InventoryError(
        f"{name} is neither an inventory nor a manifest: it lacks {', '.join(missing)}"
    )


def with_sides(table: pa.Table, split: bytes, name: str) -> pa.Table:
    """Put the sides of a ``split.parquet`` into an inventory; clips outside of it are left out.

    Raises:
        InventoryError: the bytes are no such table.
    """
    try:
        sides = pq.read_table(io.BytesIO(split))
    except pa.ArrowInvalid as error:
        raise InventoryError(f"{name} is no Parquet file: {error}") from None
    if not set(sides.column_names) >= {"clip_id", "split"}:
        raise InventoryError(f"{name} is no split: its columns are not {SPLIT_SCHEMA.names}")
    known = dict(zip(sides["clip_id"].to_pylist(), sides["split"].to_pylist(), strict=True))
    return _table(
        row | {"split": known[row["clip_id"]]}
        for row in table.to_pylist()
        if row["clip_id"] in known
    )


def computed(table: pa.Table) -> bool:
    """Whether the inventory knows what the shards hold."""
    return bool(table.num_rows) and all(table[part].null_count == 0 for part in PARTS)


def read(path: Path) -> pa.Table:
    """Read an inventory or a manifest.

    Raises:
        FileNotFoundError: it is not there.
        InventoryError: it is neither.
    """
    return decode(path.read_bytes(), path.as_posix())
