"""Intervals against scipy's, against the closed form, and by how often they hold the truth."""

import numpy as np
import pytest
import scipy.stats

from dimitra.statistics import intervals
from dimitra.statistics.intervals import mean_interval


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_clip_interval_is_scipys(kind: str) -> None:
    rng = np.random.default_rng(3)
    values = getattr(rng, kind)(1.0, 0.8, 60)
    own = mean_interval(values, seed=8, draws=40_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(8)
    ).confidence_interval
    # Both draw the same clips of one seed, so that rounding is all that may differ.
    assert own.low == pytest.approx(theirs.low, rel=1e-12)
    assert own.high == pytest.approx(theirs.high, rel=1e-12)
    assert own.groups == 60


def test_large_samples_have_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 3000)
    error = values.std() / np.sqrt(len(values))
    found = mean_interval(values)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_identities_with_one_clip_each_are_clips() -> None:
    values = np.random.default_rng(1).normal(size=25)
    assert mean_interval(values, range(25)) == mean_interval(values)


def test_coverage_of_people_who_differ() -> None:
    """Clips of a person share an offset: drawing people covers the mean, drawing clips does not."""
    rng = np.random.default_rng(5)
    people, clips, trials = 40, 6, 300
    names = np.repeat(np.arange(people), clips).tolist()
    held = {"clips": 0, "people": 0}
    for trial in range(trials):
        values = np.repeat(rng.normal(2.0, 1.0, people), clips) + rng.normal(
            0.0, 0.5, people * clips
        )
        by_clip = mean_interval(values, seed=trial, draws=400)
        by_person = mean_interval(values, names, seed=trial, draws=400)
        held["clips"] += by_clip.low <= 2.0 <= by_clip.high
        held["people"] += by_person.low <= 2.0 <= by_person.high
    assert 0.91 <= held["people"] / trials <= 0.98
    # The clips' interval is 2.3 times too narrow: 1 - 2 Phi(-1.96 / 2.3) = 0.6.
    assert 0.5 <= held["clips"] / trials <= 0.72


def test_unequal_people_weigh_by_their_clips() -> None:
    values = [1.0] * 9 + [3.0, 2.0]
    names = ["a"] * 9 + ["b", "c"]
    found = mean_interval(values, names, draws=20_000)
    # Drawing b or c alone is possible, drawing nothing but a is: the bounds reach both ends.
    assert 1.0 <= found.low < np.mean(values) < found.high <= 3.0
    assert found.groups == 3


def test_same_seed_same_bounds_and_other_seed_others() -> None:
    values = np.random.default_rng(2).normal(size=30)
    assert mean_interval(values, seed=4) == mean_interval(values, seed=4)
    assert mean_interval(values, seed=4) != mean_interval(values, seed=5)


def test_too_few_and_constant() -> None:
    assert mean_interval([]).reason == "0 clip: an interval needs 2"
    one = mean_interval([1.0, 2.0], ["a", "a"])
    assert (one.low, one.reason) == (None, "1 identity: an interval needs 2")
    assert (mean_interval([2.0] * 4).low, mean_interval([2.0] * 4).high) == (2.0, 2.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="1 identities for 2 values"):
        mean_interval([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], confidence=95)


def test_groups_that_agree_while_their_values_differ() -> None:
    """No draw of whole groups changes the mean; it is not the first value."""
    found = mean_interval([1.0, 0.0, 0.0, 1.0], ["a", "a", "b", "b"])
    assert (found.low, found.high, found.groups) == (0.5, 0.5, 2)


def test_many_groups_are_drawn_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of them do not fit the bound on memory: the interval is nearly the same."""
    values = np.random.default_rng(2).normal(5.0, 2.0, 40)
    whole = mean_interval(values, seed=3)
    monkeypatch.setattr(intervals, "_BLOCK", 1000)
    blocks = mean_interval(values, seed=3)
    assert blocks.low == pytest.approx(whole.low, abs=0.03)
    assert blocks.high == pytest.approx(whole.high, abs=0.03)
