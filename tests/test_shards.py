"""Shards: round trip, determinism, atomicity, and that other readers understand them."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra import shards

clip_ids = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
samples = st.dictionaries(
    clip_ids,
    st.dictionaries(
        st.sampled_from(["a.npz", "mp4", "json"]), st.binary(max_size=2000), min_size=1
    ),
)


@given(samples)
def test_round_trip_and_order_independence(
    tmp_path_factory: pytest.TempPathFactory, content: dict
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    first = shards.write_shard(folder / "a.tar", content)
    backwards = {key: dict(reversed(content[key].items())) for key in reversed(content)}
    second = shards.write_shard(folder / "b.tar", backwards)
    assert shards.read_shard(folder / "a.tar") == content
    assert first.sha256 == second.sha256
    assert first.clips == len(content)


def test_sidecar_describes_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "00001.tar"
    written = shards.write_shard(path, {"x": {"mp4": b"abc"}})
    assert shards.read_sidecar(path) == written
    assert shards.sha256_file(path) == written.sha256
    assert path.stat().st_size == written.size_bytes
    assert shards.list_shards(tmp_path) == [path]
    shards.sidecar_path(path).unlink()
    assert shards.list_shards(tmp_path) == []


def test_webdataset_reads_a_shard(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    shards.write_shard(
        tmp_path / "0.tar",
        {"clip-1": {"motion.npz": shards.npz_bytes({"pose": array}), "json": b"{}"}},
    )
    (record,) = list(webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False))
    assert record["__key__"] == "clip-1"
    assert np.array_equal(shards.read_npz(record["motion.npz"])["pose"], array)


def test_npz_is_read_by_numpy_and_repeats(tmp_path: Path) -> None:
    arrays = {"b": np.full((2, 2), 3.5, np.float16), "a": np.asarray(7, np.int64)}
    data = shards.npz_bytes(arrays)
    assert data == shards.npz_bytes(dict(reversed(arrays.items())))
    with np.load(io.BytesIO(data)) as archive:
        assert archive["a"].shape == ()
        assert archive["b"].dtype == np.float16


def test_npz_refuses_pickled_objects() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, evil=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        shards.read_npz(buffer.getvalue())


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip id"):
        shards.write_shard(tmp_path / "a.tar", {"Bad.Id": {"mp4": b"x"}})
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_nan_and_is_canonical() -> None:
    assert shards.json_bytes({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        shards.json_bytes(float("nan"))


def test_clips_that_are_not_wanted_are_passed_over_without_being_held(tmp_path: Path) -> None:
    """The part is read in blocks of 10 kB: no peak near its 30 MB."""
    path = tmp_path / "00000.tar"
    parts = {"a": {"x": b"1"}, "b": {"x": bytes(30_000_000)}, "c": {"x": b"3"}}
    shards.write_shard(path, parts)
    tracemalloc.start()
    try:
        found = dict(shards.iterate_shard(path, {"a", "c"}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {"a": parts["a"], "c": parts["c"]}
    assert peak < 3_000_000
