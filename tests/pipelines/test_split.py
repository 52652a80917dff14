import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.errors import StageError
from pipelines.params import DatasetParams, DatasetsParams
from pipelines.runtime.quarantine import read_quarantine
from pipelines.split import split
from tests.pipelines.runtime.test_jobs import clip

CLIPS = [clip(number, 0) for number in range(5)]
DATASETS = DatasetsParams(
    sets={"toy": DatasetParams(layout="voxceleb2", path="toy", split="toy/v1")}
)


def lists(root: Path, train: str, test: str) -> Path:
    folder = root / "splits" / "toy" / "v1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(train)
    (folder / "test.txt").write_text(test)
    return root / "splits"


def test_table_digest_and_rows_for_clips_that_no_list_names(tmp_path: Path) -> None:
    folder = lists(tmp_path, "id000\nid001\n", "id003\nid077\n")
    split(CLIPS, DATASETS, folder, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "split.parquet").to_pylist()
    assert [(row["clip_id"], row["split"]) for row in rows] == [
        ("toy-000", "train"),
        ("toy-001", "train"),
        ("toy-003", "test"),
    ]
    outside = read_quarantine(tmp_path / "out")
    assert [(row.clip_id, row.reason) for row in outside] == [
        ("toy-002", "not_in_split"),
        ("toy-004", "not_in_split"),
    ]
    report = json.loads((tmp_path / "out" / "split.json").read_text())
    assert report["datasets"]["toy"]["listed_but_absent"] == {"train": [], "test": ["id077"]}
    assert report["datasets"]["toy"]["sides"]["train"]["clips"] == 2

    moved = lists(tmp_path, "id000\n", "id001\nid003\n")
    split(CLIPS, DATASETS, moved, tmp_path / "other")
    other = json.loads((tmp_path / "other" / "split.json").read_text())
    assert other["digest"] != report["digest"]


def test_a_split_for_other_data_is_refused(tmp_path: Path) -> None:
    folder = lists(tmp_path, "nobody\n", "noone\n")
    with pytest.raises(StageError, match="names none of the 5 identities of dataset toy"):
        split([replace(c) for c in CLIPS], DATASETS, folder, tmp_path / "out")


def test_a_split_that_fails_leaves_no_table_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    split(CLIPS, DATASETS, lists(tmp_path, "id000\n", "id003\n"), out)
    with pytest.raises(StageError):
        split(CLIPS, DATASETS, lists(tmp_path, "nobody\n", "noone\n"), out)
    assert not (out / "split.parquet").exists()
    assert not (out / "balance.json").exists()
