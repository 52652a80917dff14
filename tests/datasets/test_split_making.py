from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.datasets.split import SplitError, assign, read_lists
from dimitra.datasets.split_making import list_text, make, together, write_lists
from tests.pipelines.runtime.test_jobs import clip

CLIPS = [clip(number, 0) for number in range(20)]


def test_identities_that_share_something_stay_together() -> None:
    clips = [
        *CLIPS[:6],
        replace(CLIPS[10], identity="id000", source_video="shared"),
        replace(CLIPS[11], identity="id003", source_video="shared"),
        replace(CLIPS[12], identity="id003", sha256=CLIPS[5].sha256),
    ]
    groups = together(clips)
    assert groups == (("id000", "id003", "id005"), ("id001",), ("id002",), ("id004",))
    for seed in range(30):
        lists = make(clips, "toy/v1", 0.3, seed)
        assert len(lists.test) in {2, 3, 4}
        assert not lists.train & lists.test
        assert len(assign(clips, lists)) == len(clips)  # refuses what is shared


def test_the_choice_rests_on_the_seed_and_moves_little_when_someone_joins() -> None:
    lists = make(CLIPS[:19], "toy/v1", 0.25, 3)
    assert lists == make(list(reversed(CLIPS[:19])), "toy/v1", 0.25, 3)
    assert lists != make(CLIPS[:19], "toy/v1", 0.25, 4)
    assert len(lists.test) == 5
    assert len(lists.test ^ make(CLIPS, "toy/v1", 0.25, 3).test) <= 2
    assert make(CLIPS, "toy/v1", 1.0, 3).train == frozenset()
    assert make(CLIPS, "toy/v1", 0.0, 3).test == frozenset()


def test_a_side_without_anyone_is_refused() -> None:
    with pytest.raises(SplitError, match=r"nobody is left for test: 2 identities"):
        make(CLIPS[:2], "toy/v1", 0.1, 0)
    with pytest.raises(SplitError, match=r"nobody is left for train: 1 identities in 1 groups"):
        make(CLIPS[:1], "toy/v1", 0.9, 0)
    with pytest.raises(SplitError, match="has no clip"):
        make([], "toy/v1", 0.5, 0)
    with pytest.raises(SplitError, match=r"test share is 1\.5"):
        make(CLIPS, "toy/v1", 1.5, 0)


def test_lists_come_back_as_they_were_written(tmp_path: Path) -> None:
    names = {"b c", "a#1", "id00012"}
    texts = {"train.txt": list_text(names, "who\nmade it"), "test.txt": list_text((), "nobody")}
    write_lists(tmp_path / "toy/v1", texts)
    lists = read_lists(tmp_path, "toy/v1")
    assert (lists.train, lists.test) == (names, frozenset())
    for name in (" a", "#a", "a #b", "a\nb"):
        with pytest.raises(SplitError, match="cannot stand in a list"):
            list_text([name], "")


def test_lists_that_say_something_else_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "toy/v1"
    write_lists(folder, {"test.txt": "a\n"})
    write_lists(folder, {"test.txt": "a\n"})
    with pytest.raises(SplitError, match=r"test\.txt is there and says something else.*--force"):
        write_lists(folder, {"test.txt": "b\n", "train.txt": "c\n"})
    assert not (folder / "train.txt").exists()
    write_lists(folder, {"test.txt": "b\n"}, force=True)
    assert (folder / "test.txt").read_text() == "b\n"
