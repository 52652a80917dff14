from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.datasets.split import SplitError, SplitLists, absent, assign, read_lists
from tests.pipelines.runtime.test_jobs import clip

CLIPS = [clip(number, 0) for number in range(4)]
LISTS = SplitLists("toy/v1", frozenset({"id000", "id001"}), frozenset({"id002", "id009"}))


def write(folder: Path, train: str, test: str) -> None:
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)


def test_lists_are_read_without_comments(tmp_path: Path) -> None:
    write(tmp_path / "toy/v1", "# who\nid000\n\nid001 # twice a week\n", "id002\nid009\n")
    assert read_lists(tmp_path, "toy/v1") == LISTS
    assert dict(assign(CLIPS, LISTS)) == {
        "toy-000": "train",
        "toy-001": "train",
        "toy-002": "test",
    }
    assert absent(CLIPS, LISTS) == {"train": [], "test": ["id009"]}


def test_a_shared_identity_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "toy/v1", "id000\nid001\n", "id001\n")
    with pytest.raises(SplitError, match=r"toy/v1: identity id001 is in train\.txt and in test"):
        read_lists(tmp_path, "toy/v1")


def test_ill_formed_lists_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "toy/v1", "id000\nid000\n", "id001\n")
    with pytest.raises(SplitError, match="id000 more than once"):
        read_lists(tmp_path, "toy/v1")
    with pytest.raises(SplitError, match=r"toy/v2/train\.txt does not exist"):
        read_lists(tmp_path, "toy/v2")


def test_a_shared_source_video_or_file_is_refused_by_name() -> None:
    clips = [*CLIPS[:2], replace(CLIPS[2], source_video="v001")]
    with pytest.raises(SplitError, match=r"v001: toy-001 \(train\), toy-002 \(test\)"):
        assign(clips, LISTS)
    clips = [*CLIPS[:2], replace(CLIPS[2], sha256=CLIPS[0].sha256)]
    with pytest.raises(SplitError, match=r"same bytes.*\n.*toy-000 \(train\), toy-002 \(test\)"):
        assign(clips, LISTS)
