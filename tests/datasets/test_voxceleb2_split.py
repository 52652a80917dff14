from pathlib import Path

import pytest

from dimitra.datasets.split import SplitError, read_lists
from dimitra.datasets.voxceleb2_meta import Speaker
from dimitra.datasets.voxceleb2_split import (
    OFFICIAL_TEST,
    SEED,
    choose_clips,
    choose_test,
    split_of,
    voxceleb2_texts,
)

SPLITS = Path(__file__).parents[2] / "splits"
SPEAKERS = {
    name: Speaker(name, name.replace("id", "n0"), "m", subset)
    for subset, names in (
        ("test", OFFICIAL_TEST),
        ("dev", tuple(f"id1{number:04d}" for number in range(60))),
    )
    for name in names
}


def test_the_official_test_set_has_118_identities() -> None:
    assert len(set(OFFICIAL_TEST)) == len(OFFICIAL_TEST) == 118
    assert list(OFFICIAL_TEST) == sorted(OFFICIAL_TEST)
    # Those of the last tenth of the released table, read off it apart from the list.
    last = "id08149 id08374 id08392 id08456 id08548 id08552 id08696 id08701 id08911 id09017"
    assert [name for name in OFFICIAL_TEST if name >= "id08108"] == last.split()


def test_the_committed_list_is_what_the_rule_makes() -> None:
    chosen = choose_test()
    assert len(chosen) == 39
    assert set(chosen) < set(OFFICIAL_TEST)
    texts = voxceleb2_texts(None, None, SEED, 39)
    assert list(texts) == ["test.txt"]
    assert (SPLITS / "voxceleb2/v1/test.txt").read_text() == texts["test.txt"]


def test_lists_of_a_table_train_on_dev_alone(tmp_path: Path) -> None:
    sides = split_of(SPEAKERS)
    assert (len(sides.train), len(sides.test)) == (60, 39)
    for name, text in voxceleb2_texts(sides, None, SEED, 39).items():
        (tmp_path / name).write_text(text)
    lists = read_lists(tmp_path.parent, tmp_path.name)
    assert lists.train == set(sides.train)
    assert lists.test == set(choose_test())
    with pytest.raises(SplitError, match=r"117 test identities.*differ in id09017"):
        split_of({name: one for name, one in SPEAKERS.items() if name != "id09017"})


def test_the_subset_is_spread_over_identities_and_ignores_the_rest_of_the_test_set() -> None:
    sides = split_of(SPEAKERS)
    paths = [
        f"mp4/{name}/video{video}/{clip:05d}.mp4"
        for name in SPEAKERS
        for video in range(3)
        for clip in range(1 + len(name) % 3)
    ]
    chosen = choose_clips(reversed(paths), sides, count=100, test_count=50)
    assert chosen == choose_clips(paths, sides, count=100, test_count=50)
    names = [path.split("/")[1] for path in chosen]
    assert sum(name in sides.test for name in names) == 50
    assert sum(name in sides.train for name in names) == 50
    assert {names.count(name) for name in sides.test} == {1, 2}
    # 50 of 60 identities, which have more than one clip each.
    assert {names.count(name) for name in sides.train} == {0, 1}
    with pytest.raises(SplitError, match=r"wanted of test, but its 39 identities have \d+"):
        choose_clips(paths, sides, count=5000, test_count=4990)
