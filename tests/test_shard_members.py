from pathlib import Path

import pytest

from dimitra.shard_members import places_of
from dimitra.shards import write_shard


def test_every_part_is_read_at_its_place(tmp_path: Path) -> None:
    shard = tmp_path / "00000.tar"
    parts = {"a": {"txt": b"one", "motion.npz": b"x" * 700}, "b": {"txt": b""}}
    write_shard(shard, parts)
    found = {(clip, part): place.read().tobytes() for clip, part, place in places_of(shard)}
    assert found == {(clip, name): data for clip, of in parts.items() for name, data in of.items()}


def test_a_shard_that_was_cut_short_is_named(tmp_path: Path) -> None:
    shard = tmp_path / "00000.tar"
    write_shard(shard, {"a": {"txt": b"x" * 700}})
    ((_, _, place),) = places_of(shard)
    shard.write_bytes(shard.read_bytes()[: place.offset + 300])
    with pytest.raises(OSError, match=r"00000\.tar ends 400 bytes before"):
        place.read()
