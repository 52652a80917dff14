"""Records keep what they hold; what is none is refused by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.lineage.record import (
    LineageError,
    parse_record,
    read_records,
    record_bytes,
    record_path,
    write_record,
)
from tests.lineage.records import CROP


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    train = replace(CROP, stage="train@lips")
    for record in (CROP, train):
        write_record(record, tmp_path)
    assert (tmp_path / "lineage" / "train-lips.json").is_file()
    assert read_records(tmp_path) == {"crop": CROP, "train@lips": train}
    assert json.loads(record_bytes(CROP))["schema"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "no lineage record"),
        (b"[]", "no lineage record"),
        (b'{"schema": 1}', "no lineage record"),
        (record_bytes(CROP).replace(b'"schema": 1', b'"schema": 2'), "has layout 2"),
    ],
)
def test_what_is_no_record_is_named(data: bytes, message: str) -> None:
    with pytest.raises(LineageError, match=f"lineage/crop.json.*{message}"):
        parse_record(data, "lineage/crop.json")


def test_a_missing_folder_and_a_record_of_another_stage_are_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="holds no records: run `dvc repro`"):
        read_records(tmp_path)
    (tmp_path / "lineage").mkdir()
    (tmp_path / record_path("fit")).write_bytes(record_bytes(CROP))
    with pytest.raises(LineageError, match="fit.json is the record of crop"):
        read_records(tmp_path)
