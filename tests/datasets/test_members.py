import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dimitra.datasets.members import MEMBERS_SCHEMA, Member, encode, members_table, read_member
from dimitra.shards import iterate_shard
from tests.datasets.inventories import CLIPS, write_shards


def test_every_part_is_found_by_its_place(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, CLIPS)
    (tmp_path / "m.parquet").write_bytes(encode(members_table(shards)))
    rows = pq.read_table(tmp_path / "m.parquet").to_pylist()
    found = {(row["clip_id"], row["part"]): read_member(tmp_path, Member(**row)) for row in rows}
    expected = {
        (clip_id, part): data
        for shard in shards
        for clip_id, parts in iterate_shard(shard)
        for part, data in parts.items()
    }
    assert found == expected
    for row in rows:
        data = found[row["clip_id"], row["part"]]
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert members_table([]).schema == MEMBERS_SCHEMA


def test_a_changed_byte_is_told(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, CLIPS, shards=1)
    before = members_table([shard]).to_pylist()
    row = before[5]
    data = bytearray(shard.read_bytes())
    data[row["offset"]] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=rf"are not {row['clip_id']}\.{row['part']} as the table"):
        read_member(tmp_path, Member(**row))
    after = members_table([shard]).to_pylist()
    assert [number for number, row in enumerate(before) if row != after[number]] == [5]
