"""Paired tests against scipy's and against what can be counted by hand."""

import numpy as np
import pytest
import scipy.stats

from dimitra.statistics import paired
from dimitra.statistics.paired import compare, holm, sign_flip_p


def test_all_differences_of_one_sign_have_the_least_p() -> None:
    assert sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == 2 / 2**5


def test_symmetric_differences_have_p_of_one() -> None:
    assert sign_flip_p(np.array([1.0, -1.0, 0.3, -0.3])) == 1.0


@pytest.mark.parametrize("count", [12, 40])
def test_permutation_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).normal(0.35, 1.0, count)
    theirs = scipy.stats.permutation_test(
        (values, np.zeros(count)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(9),
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(theirs, abs=1e-12 if count == 12 else 0.015)


def test_false_alarms_come_as_often_as_stated() -> None:
    rng = np.random.default_rng(7)
    alarms = [sign_flip_p(rng.standard_t(5, 12)) <= 0.05 for _ in range(600)]
    assert 0.03 <= np.mean(alarms) <= 0.07


def test_compare_counts_what_both_have() -> None:
    found = compare([1.0, None, 3.0, 4.0], [2.0, 2.0, 5.0, None], ["a", "a", "b", "b"])
    assert (found.n, found.dropped, found.difference) == (2, 2, -1.5)
    assert (found.permutation_p, found.identity_p) == (0.5, 0.5)


def test_wilcoxon_and_interval_follow_the_differences() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0.0, 1.0, 30)
    second = first + rng.normal(0.5, 0.4, 30)
    found = compare(list(first), list(second), [i // 3 for i in range(30)])
    assert found.wilcoxon_p == scipy.stats.wilcoxon(first, second).pvalue
    assert found.interval.low < found.difference < found.interval.high < 0.0
    assert found.identity_interval.groups == 10
    assert found.identity_p < 0.01


def test_equal_methods_and_no_clip() -> None:
    same = compare([1.0, 2.0], [1.0, 2.0])
    assert (same.difference, same.permutation_p, same.wilcoxon_p) == (0.0, 1.0, None)
    assert same.identity_interval.reason == "identities are not known"
    none = compare([None], [1.0])
    assert (none.n, none.dropped, none.difference, none.permutation_p) == (0, 1, None, None)


def test_holm_is_the_textbook_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_many_clips_are_flipped_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).normal(0.3, 1.0, 40)
    whole = sign_flip_p(values)
    monkeypatch.setattr(paired, "_BLOCK", 50_000)
    assert sign_flip_p(values) == pytest.approx(whole, abs=0.01)
