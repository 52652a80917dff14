import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.datasets.choice import lowest, place, spread

GROUPS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(0, 7), min_size=1, max_size=8
).map(lambda sizes: {g: [f"{g}/{n}" for n in range(size)] for g, size in sizes.items()})


def test_the_place_is_the_hash_that_the_docs_name() -> None:
    digest = hashlib.sha256(b"7\x00id00017").hexdigest()
    assert place(7, "id00017") == int(digest[:16], 16)
    assert place(8, "id00017") != place(7, "id00017")


def test_the_lowest_do_not_depend_on_order_and_move_by_one_when_one_joins() -> None:
    names = [f"n{number}" for number in range(200)]
    chosen = lowest(1, names, 40)
    assert chosen == lowest(1, reversed(names), 40) == tuple(sorted(chosen))
    assert chosen != lowest(2, names, 40)
    for number in range(200, 260):
        assert len(set(chosen) ^ set(lowest(1, [*names, f"n{number}"], 40))) in {0, 2}
    with pytest.raises(ValueError, match="cannot choose 201 of 200"):
        lowest(1, names, 201)


@given(GROUPS, st.integers(0, 5), st.data())
def test_the_spread_is_as_even_as_the_sizes_allow(
    groups: dict[str, list[str]], seed: int, data: st.DataObject
) -> None:
    total = sum(map(len, groups.values()))
    count = data.draw(st.integers(0, total))
    chosen = spread(seed, groups, count)
    assert len(set(chosen)) == count
    given_by = {g: sum(name in members for name in chosen) for g, members in groups.items()}
    level = max(given_by.values(), default=0)
    # Whoever gives less than the fullest but one gives all it has.
    assert all(given_by[g] >= level - 1 or given_by[g] == len(groups[g]) for g in groups)


@given(GROUPS, st.integers(0, 5), st.data())
def test_a_member_that_joins_brings_at_most_one_in_and_puts_one_out(
    groups: dict[str, list[str]], seed: int, data: st.DataObject
) -> None:
    total = sum(map(len, groups.values()))
    count = data.draw(st.integers(0, total))
    group = data.draw(st.sampled_from(sorted(groups)))
    before = set(spread(seed, groups, count))
    after = set(spread(seed, {**groups, group: [*groups[group], f"{group}/new"]}, count))
    assert len(after - before) <= 1
    assert len(before - after) <= 1


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot choose 4 of 3"):
        spread(0, {"a": ["x", "y"], "b": ["z"]}, 4)
