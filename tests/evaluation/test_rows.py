"""The table says why a cell is empty, and every file is counted once."""

import csv
import io

import pytest

from dimitra.evaluation.definitions import COLUMNS, GROUPS
from dimitra.evaluation.rows import (
    MEASURED,
    NO_GENERATED,
    NO_REFERENCE,
    Row,
    UnbalancedError,
    balance,
    csv_text,
    table_rows,
)
from dimitra.metrics.summary import ClipValue


def test_every_column_belongs_to_one_group() -> None:
    grouped = [key for keys in GROUPS.values() for key in keys]
    assert sorted(grouped) == sorted(metric.key for metric in COLUMNS)


def test_cells_are_rounded_and_reasons_told() -> None:
    values = {"f_lmd": ClipValue(1.23456), "psnr": ClipValue(None, "not asked for")}
    values |= {"sync_dist": ClipValue(None, "too short", dropped=True)}
    rest = {m.key: ClipValue(None, "not asked for") for m in COLUMNS if m.key not in values}
    row = Row("a", "ours", None, MEASURED, values={**values, **rest})
    [cells] = table_rows([row])
    assert (cells["f_lmd"], cells["psnr"], cells["dropped"]) == (1.2346, None, "too short")
    [read] = csv.DictReader(io.StringIO(csv_text([row])))
    assert (read["f_lmd"], read["psnr"], read["identity"]) == ("1.2346", "", "")


def test_a_row_without_values_is_dropped_everywhere() -> None:
    row = Row("a", "ours", None, "truncated", "a.mp4 is cut off")
    assert row.value("ssim") == ClipValue(None, "a.mp4 is cut off", dropped=True)
    assert row.dropped == "a.mp4 is cut off"


ROWS = [
    Row("a", "ours", None, MEASURED),
    Row("b", "ours", None, "truncated"),
    Row("c", "ours", None, NO_GENERATED),
    Row("x", "ours", None, NO_REFERENCE),
]


def test_counts_add_up() -> None:
    assert balance(ROWS, 3, {"ours": 3})["ours"] == {
        "references": 3, "videos": 3, "pairs": 2, "measured": 1,
        "truncated": 1, NO_GENERATED: 1, NO_REFERENCE: 1,
    }  # fmt: skip


@pytest.mark.parametrize(("references", "videos"), [(4, 3), (3, 2)])
def test_a_lost_file_is_found_out(references: int, videos: int) -> None:
    with pytest.raises(UnbalancedError, match="do not make up"):
        balance(ROWS, references, {"ours": videos})
