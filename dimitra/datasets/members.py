"""Where each part of each clip lies in the shards: a table that finds it without reading the tar.

A part is the ``size_bytes`` bytes at ``offset`` of the shard's file. So a program that reads
Parquet and nothing else (``mlcroissant``) gets at single clips, and a part can be checked alone.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CLIP_PARTS = {
    "json": "clip, dataset, identity, recording, side of the split, frames",
    "motion.npz": "coefficients of a face model in every frame: expression, pose, crop",
    "speech.npz": "speech features at the encoder's own rate, and a phoneme of every frame",
    "text.npz": "features of the words, on a grid of seconds",
}
"""Parts of a clip in the finished shards, and what each holds."""

MEMBERS_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Member:
    """One part of one clip in a shard.

    Attributes:
        clip_id: whose.
        part: ``motion.npz``, ``json``, ...
        shard: file name of the tar.
        offset: of its first byte in the shard's file.
        size_bytes: how many bytes.
        sha256: of them.
    """

    clip_id: str
    part: str
    shard: str
    offset: int
    size_bytes: int
    sha256: str


def iterate_members(shard: Path) -> Iterator[Member]:
    """Members of a shard in the order of the tar, one in memory at a time.

    Raises:
        ValueError: a member is not a plain file of the form ``<clip_id>.<part>``.
    """
    with tarfile.open(shard, mode="r:") as archive:
        for info in archive:
            clip_id, _, part = info.name.partition(".")
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None or not part or "/" in info.name:
                raise ValueError(f"{shard}: member {info.name!r} is not <clip_id>.<part>")
            yield Member(
                clip_id=clip_id,
                part=part,
                shard=shard.name,
                offset=info.offset_data,
                size_bytes=info.size,
                sha256=hashlib.file_digest(stream, "sha256").hexdigest(),  # type: ignore[arg-type]
            )


def members_table(shards: Sequence[Path]) -> pa.Table:
    """``MEMBERS_SCHEMA`` of all shards, in the order given."""
    tables = [
        pa.Table.from_pylist([vars(member) for member in iterate_members(shard)], MEMBERS_SCHEMA)
        for shard in shards
    ]
    return pa.concat_tables(tables) if tables else MEMBERS_SCHEMA.empty_table()


def encode(table: pa.Table) -> bytes:
    """Parquet; the same rows give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_member(folder: Path, member: Member) -> bytes:
    """Bytes of one part, taken out of its shard.

    Args:
        folder: of the shards.
        member: which.

    Raises:
        FileNotFoundError: the shard is not in the folder.
        ValueError: the bytes are not those of the table.
    """
    with (folder / member.shard).open("rb") as file:
        file.seek(member.offset)
        data = file.read(member.size_bytes)
    if hashlib.sha256(data).hexdigest() != member.sha256:
        raise ValueError(
            f"{folder / member.shard}: the {member.size_bytes} bytes at {member.offset} are not "
            f"{member.clip_id}.{member.part} as the table has it; one of the two has changed"
        )
    return data
