"""Means carry n, dropped and both intervals; tests are on the clips that two methods share."""

import numpy as np
import pytest

from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import MEASURED, NO_REFERENCE, Row
from dimitra.evaluation.summary import UNKNOWN, numbers
from dimitra.metrics.summary import ClipValue
from dimitra.statistics.intervals import mean_interval


def rows_of(method: str, values, people=None) -> list[Row]:
    people = people or [f"p{i // 2}" for i in range(len(values))]
    return [
        Row(f"c{i}", method, who, MEASURED, values={"f_lmd": ClipValue(float(value))})
        for i, (value, who) in enumerate(zip(values, people, strict=True))
    ]


def test_mean_n_dropped_and_intervals() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 8).round(4)
    rows = rows_of("ours", values)
    rows.append(Row("c8", "ours", "p4", "truncated", "cut off"))
    rows.append(Row("x", "ours", None, NO_REFERENCE, "no reference"))
    cell = numbers(rows, ["ours"], 1)["methods"]["ours"]["f_lmd"]
    assert cell["value"] == pytest.approx(values.mean(), abs=5e-5)
    assert (cell["n"], cell["dropped"], cell["reason"]) == (8, 1, None)
    clips = mean_interval(values, seed=1)
    assert cell["interval_clips"]["low"] == round(clips.low, 4)
    assert (cell["interval_clips"]["groups"], cell["interval_identities"]["groups"]) == (8, 4)


def test_no_value_says_why() -> None:
    rows = [Row("a", "ours", None, "truncated", "cut off")]
    cell = numbers(rows, ["ours"], 0)["methods"]["ours"]["f_lmd"]
    assert (cell["value"], cell["n"], cell["dropped"], cell["reason"]) == (None, 0, 1, "cut off")
    assert cell["interval_clips"]["low"] is None


def test_one_unknown_person_takes_the_interval_over_people() -> None:
    rows = rows_of("ours", [1.0, 2.0, 3.0], ["a", "b", None])
    cell = numbers(rows, ["ours"], 0)["methods"]["ours"]["f_lmd"]
    assert cell["interval_identities"]["reason"] == UNKNOWN


def test_methods_are_compared_clip_by_clip_with_holms_correction() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(5.0, 3.0, 20)
    rows = rows_of("a", base) + rows_of("b", base + rng.normal(0.4, 0.3, 20))
    rows += rows_of("c", base[:5]) + rows_of(GROUND_TRUTH, base)
    tests = numbers(rows, ["a", "b", "c"], 0)["comparisons"]
    assert [(one["first"], one["second"], one["n"]) for one in tests] == [
        ("a", "b", 20), ("a", "c", 5), ("b", "c", 5),
    ]  # fmt: skip
    # Far apart in the same clips, though the clips' spread is seven times the difference.
    assert tests[0]["permutation_p"] < 0.001
    assert tests[0]["interval_clips"]["high"] < 0.0
    assert tests[1]["difference"] == 0.0
    assert tests[1]["permutation_p"] == 1.0
    assert tests[1]["wilcoxon_p"] is None
    assert tests[0]["permutation_p_holm"] == pytest.approx(3 * tests[0]["permutation_p"], abs=2e-6)
