from pathlib import Path

import pytest

from dimitra.datasets.split import SplitError, SplitLists
from dimitra.datasets.split_difference import Change, compare_all, read_versions
from tests.datasets.test_revisions import checkout, commit

__all__ = ["checkout"]
SPLITS = Path("splits")


def write(folder: Path, train: str, test: str, clips: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"train.txt": train, "test.txt": test, "clips.txt": clips}
    for name, names in texts.items():
        if names is not None:
            (folder / name).write_text("# a remark\n" + "".join(f"{one}\n" for one in names.split()))


def test_added_removed_and_moved_between_revisions(checkout: Path) -> None:
    write(checkout / "splits/toy/v1", "a b c", "d e", "a/1.mp4 b/1.mp4")
    write(checkout / "splits/same/v1", "x", "y")
    commit(checkout, "one")
    write(checkout / "splits/toy/v1", "a d f", "b e", "a/1.mp4 f/1.mp4")
    commit(checkout, "two")
    write(checkout / "splits/late/v1", "m", "")
    before, after = (read_versions(name, SPLITS, checkout) for name in ("HEAD~1", "HEAD"))
    same, toy = compare_all(before, after)
    assert (same.version, same.same, same.before) == ("same/v1", True, same.after)
    assert toy.changes == (
        Change("b", "train", "test"),
        Change("c", "train", None),
        Change("d", "test", "train"),
        Change("f", None, "train"),
    )
    assert [change.kind for change in toy.changes] == ["moved", "removed", "moved", "added"]
    assert (toy.clips_added, toy.clips_removed) == (("f/1.mp4",), ("b/1.mp4",))
    assert toy.after == SplitLists("toy/v1", frozenset("adf"), frozenset("be")).digest
    late, *others = compare_all(after, read_versions("splits", SPLITS, checkout))
    assert (late.version, late.before, [one.kind for one in late.changes]) == ("late/v1", None, ["added"])
    assert all(one.same for one in others)


def test_two_versions_of_one_dataset(checkout: Path) -> None:
    write(checkout / "splits/toy/v1", "a b", "c")
    write(checkout / "splits/toy/v2", "a c", "b")
    one, other = (read_versions(f"splits/toy/{v}", SPLITS, checkout) for v in ("v1", "v2"))
    (found,) = compare_all(one, other)
    assert found.version == "toy/v1 to toy/v2"
    assert [(change.identity, change.kind) for change in found.changes] == [("b", "moved"), ("c", "moved")]
    with pytest.raises(SplitError, match="HEAD holds no train"):
        read_versions("HEAD", SPLITS, checkout)


def test_digests_tell_sides_apart() -> None:
    lists = SplitLists("toy/v1", frozenset("ab"), frozenset("c"))
    assert lists.digest == SplitLists("other", frozenset("ba"), frozenset("c")).digest
    assert lists.digest != SplitLists("toy/v1", frozenset("c"), frozenset("ab")).digest
