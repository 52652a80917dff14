"""Numbers and intervals as they are printed."""

from __future__ import annotations

from typing import Any

import pytest

from dimitra.metrics.definitions import METHODS, METRICS, PAPER_METRICS
from pipelines.report.tables import GROUPS, ResultTable, interval, number, result_table


def table_with(hp: float, no_hp: float, **more: Any) -> ResultTable:
    item = {"value": 1.0, "n": 3, "dropped": 1, "reason": None}
    row = {metric.key: item for metric in METRICS}
    table = {method.key: row for method in METHODS}
    table["dimitra_hp"] = {**row, "f_lmd": {**item, "value": hp, **more}}
    table["dimitra_no_hp"] = {**row, "f_lmd": {**item, "value": no_hp}}
    return result_table("chorus", "voxceleb2", table)


def test_the_better_variant_is_marked_where_the_shown_values_differ() -> None:
    def best(table: ResultTable) -> list[str]:
        return [row.label for row in table.rows if row.cells[0].best]

    assert best(table_with(2.0, 3.0)) == ["Dimitra (HP)"]
    assert best(table_with(3.0, 2.0)) == ["Dimitra (no HP)"]
    assert best(table_with(2.001, 2.002)) == []
    assert table_with(2.0, 3.0).rows[1].cells[0].detail == "n = 3, 1 dropped"
    assert table_with(2.0, 3.0).clips == 4


def test_intervals_over_clips_and_identities() -> None:
    bounds = {"low": 1.904, "high": 2.106, "identities": 2}
    table = table_with(2.0, 3.0, **bounds, identities_low=1.5, identities_high=2.5)
    hp = next(row for row in table.rows if row.label == "Dimitra (HP)").cells[0]
    assert (hp.clips, hp.identities, hp.identity_detail) == (
        "1.90–2.11",
        "1.50–2.50",
        "2 identities",
    )
    assert table.intervals
    assert not table_with(2.0, 3.0).intervals
    one = table_with(2.0, 3.0, **bounds, identities_low=None, identities_high=None)
    hp = next(row for row in one.rows if row.label == "Dimitra (HP)").cells[0]
    assert (hp.clips, hp.identities) == ("1.90–2.11", "")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.5, 0.25, "−0.50 to 0.25"), (0.0, 1.0, "0.00–1.00"), (None, 1.0, ""), (1.0, None, "")],
)
def test_intervals_read_well(low: float | None, high: float | None, text: str) -> None:
    assert interval(low, high, 2) == text


def test_numbers() -> None:
    assert [number(value, 2) for value in (1.005e3, -0.126, None)] == ["1005.00", "−0.13", "–"]


def test_every_metric_stands_in_one_table() -> None:
    grouped = [metric.key for metrics in GROUPS.values() for metric in metrics]
    keys = [metric.key for metric in PAPER_METRICS] + grouped
    assert sorted(keys) == sorted(metric.key for metric in METRICS)


def test_a_group_without_a_value_is_told_not_drawn() -> None:
    item = {"value": 1.0, "n": 3, "dropped": 0, "reason": None}
    absent = {"value": None, "n": 0, "dropped": 0, "reason": "no model to measure with"}
    last = list(GROUPS)[-1]
    keys = {metric.key for metric in GROUPS[last]}
    row = {m.key: absent if m.key in keys else item for m in METRICS}
    table = result_table("chorus", "voxceleb2", {method.key: row for method in METHODS})
    assert last not in [group.title for group in table.groups]
    assert table.missing["no model to measure with"] == tuple(m.label for m in GROUPS[last])
