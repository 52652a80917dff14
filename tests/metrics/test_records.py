import json

import pyarrow as pa
import pytest

from dimitra.metrics.definitions import METHODS, METRICS
from dimitra.metrics.records import CLIP_TABLE_SCHEMA, ClipRecord, clip_rows, tabulate
from dimitra.metrics.summary import ClipValue


def record(clip_id, value):
    item = ClipValue(value) if value is not None else ClipValue(None, "missed", dropped=True)
    values = {method.key: {metric.key: item for metric in METRICS} for method in METHODS}
    return ClipRecord(clip_id, "chorus", "id00001", 100, {"ground_truth": 3}, values)


def test_json_round_trip():
    before = record("a", 1.23456789)
    after = ClipRecord.from_json(json.loads(json.dumps(before.to_json())))
    assert after == record("a", 1.2346)


def test_means_over_clips():
    table = tabulate([record("a", 1.0), record("b", 2.0), record("c", None)])
    number = table["dimitra_hp"]["f_lmd"]
    assert (number.value, number.n, number.dropped) == (1.5, 2, 1)
    assert list(table) == [method.key for method in METHODS]


def test_a_clip_counts_once():
    with pytest.raises(ValueError, match="more than once: a"):
        tabulate([record("a", 1.0), record("a", 1.0)])


def test_rows_fit_the_schema_and_are_sorted():
    rows = clip_rows([record("b", None), record("a", 1.0)])
    table = pa.Table.from_pylist(rows, schema=CLIP_TABLE_SCHEMA)
    assert table.num_rows == 2 * len(METHODS)
    assert [row["clip_id"] for row in rows] == ["a"] * len(METHODS) + ["b"] * len(METHODS)
    assert rows[0]["missed"] == 3
    assert rows[0]["dropped"] is None
    assert rows[-1]["dropped"] == "missed"


def test_the_table_is_that_of_the_records_as_they_are_kept():
    """Kept are 0, 0 and 0.0001, whose mean is 0; the mean before rounding would be 0.0001."""
    records = [record("a", 0.00004), record("b", 0.00004), record("c", 0.00014)]
    kept = [ClipRecord.from_json(json.loads(json.dumps(one.to_json()))) for one in records]
    assert tabulate(records) == tabulate(kept)
    assert tabulate(records)["dimitra_hp"]["f_lmd"].value == 0.0
