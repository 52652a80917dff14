"""Changes against the full model: Student's interval, and the bootstrap of a gap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dimitra.metrics.motion import distribution_gap
from pipelines.ablations.change import Difference, compare, gap_change, paired
from tests.pipelines.ablations.numbers import ERRORS, entries


def test_the_interval_is_students() -> None:
    full, variant = [1.0, 2.0, 3.0, 4.0], [1.2, 2.3, 3.2, 4.4]
    found = paired(full, variant)
    assert found is not None
    interval = stats.ttest_rel(variant, full).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert (found.mean, found.n, found.verdict) == (0.275, 4, "worse")
    better = paired(variant, full)
    assert better is not None
    assert better.verdict == "better"
    assert paired([1.0], [2.0]) is None
    same = paired([1.0, 2.0], [1.0, 2.0])
    assert same == Difference(0.0, 0.0, 0.0, 2)
    assert same.verdict == "no difference"


def test_a_gap_is_compared_as_scipys_bootstrap_does() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(8.0, 1.0, 24)
    full, variant = truth + rng.normal(0.0, 1.0, 24), 1.3 * truth + rng.normal(0.0, 1.0, 24)
    found = gap_change(full, variant, truth)
    assert found is not None

    def change(
        one: np.ndarray[int, np.dtype[np.float64]],
        two: np.ndarray[int, np.dtype[np.float64]],
        aim: np.ndarray[int, np.dtype[np.float64]],
    ) -> float:
        gaps = distribution_gap(two, aim), distribution_gap(one, aim)
        assert gaps[0] is not None
        assert gaps[1] is not None
        return gaps[0] - gaps[1]

    reference = stats.bootstrap(
        (full, variant, truth),
        change,
        paired=True,
        vectorized=False,
        n_resamples=800,
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert found.mean == pytest.approx(change(full, variant, truth), abs=5e-5)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.03)
    assert found.verdict == "worse"
    assert gap_change(full, variant, truth) == found


def test_a_gap_needs_clips_and_a_truth_that_moves() -> None:
    assert gap_change([1.0], [2.0], [1.0]) is None
    assert gap_change([1.0, 2.0], [2.0, 1.0], [0.0, 0.0]) is None
    with pytest.raises(ValueError, match="shorter|longer"):
        gap_change([1.0, 2.0], [1.0], [1.0, 2.0])


def test_every_error_of_a_variant_is_compared() -> None:
    made = entries()
    change = made["joint"]["change"]["chorus"]
    assert set(change) == {
        *(
            f"{error}_{aim}"
            for error in ("mouth_mae", "expression_mae")
            for aim in ("fit", "truth")
        ),
        "head_speed_gap",
        "head_range_gap",
    }
    tables = [made[key]["metrics"]["chorus"] for key in ("full", "joint")]
    for metric, one in change.items():
        values = [table[metric]["value"] for table in tables]
        assert one["mean"] == pytest.approx(values[1] - values[0], abs=1.5e-4)
        assert one["n"] == 4
    assert compare({}, {}, "dimitra_hp") == {}
    assert ERRORS["joint"] < ERRORS["full"]
