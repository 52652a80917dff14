from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.clips import Clip
from dimitra.datasets.split_making import make
from dimitra.datasets.strata import StrataError, shares, strata
from tests.pipelines.runtime.test_jobs import clip

PEOPLE = 40


def corpus() -> list[Clip]:
    """Person n has 1 + n % 3 clips, which last n + 1 seconds together; every fourth is 128 wide."""
    return [
        replace(
            clip(number * 10 + index, 0),
            identity=f"id{number:03d}",
            source_video=f"v{number:03d}",
            duration_s=(number + 1) / (1 + number % 3),
            width=128 if number % 4 == 0 else 64,
            path=f"{'left' if number % 2 else 'right'}.mp4",
        )
        for number in range(PEOPLE)
        for index in range(1 + number % 3)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_part_of_the_lengths_gives_its_share(seed: int) -> None:
    test = make(corpus(), "toy/v1", 0.25, seed, ["seconds"], 4).test
    quarters = [{f"id{number:03d}" for number in range(10 * q, 10 * q + 10)} for q in range(4)]
    assert len(test) == 10
    assert all(len(test & quarter) in {2, 3} for quarter in quarters)


@pytest.mark.parametrize("seed", range(5))
def test_strata_of_columns_and_of_several(seed: int) -> None:
    wide = {f"id{number:03d}" for number in range(0, PEOPLE, 4)}
    test = make(corpus(), "toy/v1", 0.3, seed, ["width"]).test
    assert (len(test & wide), len(test - wide)) == (3, 9)
    few = {f"id{number:03d}" for number in range(0, PEOPLE, 3)}  # one clip each
    right = {f"id{number:03d}" for number in range(0, PEOPLE, 2)}
    test = make(corpus(), "toy/v1", 0.5, seed, ["clips", "path"], 3).test
    assert abs(len(test & few & right) - 3.5) <= 1
    assert abs(len(test & right) - 10) <= 3


def test_without_strata_it_is_the_choice_by_place_alone() -> None:
    from dimitra.datasets.choice import lowest

    names = [f"id{number:03d}" for number in range(PEOPLE)]
    assert make(corpus(), "toy/v1", 0.25, 7).test == frozenset(lowest(7, names, 10))


def test_equal_values_are_in_one_stratum() -> None:
    groups = {name: [clip(number, 0)] for number, name in enumerate("abcdef")}
    assert strata(groups, ["seconds"], 4) == {(0,): list("abcdef")}
    assert strata(groups, [], 4) == {(): list("abcdef")}
    with pytest.raises(StrataError, match="no column gender to make strata of; there are clips"):
        strata(groups, ["gender"], 4)
    with pytest.raises(StrataError, match="0 bins"):
        strata(groups, ["seconds"], 0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 100))
def test_shares_sum_up_and_are_at_most_one_off(sizes: list[int], percent: int) -> None:
    share = percent / 100
    counts = shares(sizes, share)
    assert sum(counts) == round(share * sum(sizes))
    assert all(abs(count - share * size) <= 1 for count, size in zip(counts, sizes, strict=True))
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
