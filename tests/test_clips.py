"""Clip ids, shard numbers and seeds."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.clips import ClipError, Reason, check_clip_id, shard_number
from dimitra.seeds import clip_seed


@pytest.mark.parametrize("bad", ["", "a.b", "A", "a/b", "-a", "a" * 129, "a b"])
def test_malformed_ids_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="clip id"):
        check_clip_id(bad)


@given(st.text(), st.text(), st.integers(1, 5000))
def test_shard_number_is_stable_and_in_range(dataset: str, video: str, count: int) -> None:
    number = shard_number(dataset, video, count)
    assert 0 <= number < count
    assert number == shard_number(dataset, video, count)


def test_shard_number_known_value() -> None:
    """A changed hash would move every clip of every user to another shard."""
    assert shard_number("chorus", "id00001/abc", 1000) == 454
    with pytest.raises(ValueError, match="at least one"):
        shard_number("a", "b", 0)


def test_shards_fill_evenly() -> None:
    counts = [0] * 8
    for index in range(4000):
        counts[shard_number("d", f"video{index}", 8)] += 1
    assert min(counts) > 400
    assert max(counts) < 600


def test_clip_error_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(ClipError(Reason.NO_FACE, "0 of 10 frames")))  # noqa: S301
    assert (error.reason, error.message) == (Reason.NO_FACE, "0 of 10 frames")


def test_seeds_differ_by_name() -> None:
    seeds = {clip_seed(1, "a", "b"), clip_seed(1, "ab"), clip_seed(1, "a"), clip_seed(2, "a", "b")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
