"""Intervals and tests of records against the statistics called by hand."""

import numpy as np
import pytest

from dimitra.metrics.definitions import METHODS, METRICS
from dimitra.metrics.estimates import estimate, no_interval, paired_tests, pairs
from dimitra.metrics.records import ClipRecord, tabulate
from dimitra.metrics.summary import ClipValue, Summary
from dimitra.statistics.intervals import mean_interval
from dimitra.statistics.paired import compare, holm

KEY = "f_lmd"
METRIC = tuple(metric for metric in METRICS if metric.key == KEY)
RNG = np.random.default_rng(4)
VALUES = np.round(RNG.normal(2.0, 0.5, (12, len(METHODS))) + np.arange(len(METHODS)) / 4, 4)


def records(dropped: int = 1) -> list[ClipRecord]:
    made = []
    for number, row in enumerate(VALUES):
        gone = number < dropped
        values = {
            method.key: {
                KEY: ClipValue(None, "missed", dropped=True)
                if gone and method.key == "dimitra_hp"
                else ClipValue(float(value))
            }
            for method, value in zip(METHODS, row, strict=True)
        }
        made.append(ClipRecord(f"c{number:02d}", "chorus", f"id{number % 4}", 9, {}, values))
    return made


def column(method: str) -> np.ndarray:
    return VALUES[:, [one.key for one in METHODS].index(method)]


def test_numbers_are_the_tables_and_intervals_those_of_the_statistics() -> None:
    found = estimate(records(), {}, 7, METRIC)
    table = tabulate(records(), METRIC)
    assert list(found) == [method.key for method in METHODS]
    for method, row in found.items():
        summary = table[method][KEY]
        assert (row[KEY].value, row[KEY].n) == (summary.value, summary.n)
        assert (row[KEY].dropped, row[KEY].reason) == (summary.dropped, summary.reason)
    hp = found["dimitra_hp"][KEY]
    values, people = column("dimitra_hp")[1:], [f"id{number % 4}" for number in range(1, 12)]
    clips = mean_interval(values, seed=7)
    persons = mean_interval(values, people, seed=7)
    assert (hp.n, hp.dropped, hp.identities) == (11, 1, 4)
    assert (hp.low, hp.high) == (round(clips.low, 4), round(clips.high, 4))
    assert hp.identities_low == round(persons.low, 4)
    assert hp.identities_high == round(persons.high, 4)
    assert hp.low < hp.value < hp.high


def test_one_clip_and_one_person_have_no_interval() -> None:
    one = estimate(records(0)[:1], {}, 0, METRIC)["dimitra_hp"][KEY]
    assert (one.n, one.identities, one.low, one.identities_high) == (1, 1, None, None)
    same = estimate([records(0)[0], records(0)[4]], {}, 0, METRIC)["dimitra_hp"][KEY]
    assert (same.n, same.identities, same.identities_low) == (2, 1, None)
    assert same.low is not None


def test_numbers_of_the_whole_set_stand_as_they_are() -> None:
    whole = {"dimitra_hp": {KEY: no_interval(Summary(0.25, 12, 0, None), 4)}}
    found = estimate(records(), whole, 0, METRIC)
    assert found["dimitra_hp"][KEY].value == 0.25
    assert found["dimitra_hp"][KEY].low is None
    assert found["frozen_first_frame"][KEY].low is not None


def test_tests_are_those_of_the_statistics_with_holms_correction() -> None:
    tests = paired_tests(records(), 3, METRIC)[KEY]
    assert [(test["first"], test["second"]) for test in tests] == pairs()
    by_pair = {(test["first"], test["second"]): test for test in tests}
    hp = by_pair["dimitra_hp", "frozen_first_frame"]
    people = [f"id{number % 4}" for number in range(12)]
    first = [None, *column("dimitra_hp")[1:].tolist()]
    theirs = compare(first, column("frozen_first_frame").tolist(), people, seed=3)
    assert (hp["n"], hp["dropped"], hp["identities"]) == (11, 1, 4)
    assert hp["difference"] == round(theirs.difference, 4)
    assert hp["permutation_p"] == pytest.approx(theirs.permutation_p, rel=1e-3)
    assert hp["wilcoxon_p"] == pytest.approx(theirs.wilcoxon_p, rel=1e-3)
    assert (hp["low"], hp["high"]) == (
        round(theirs.interval.low, 4), round(theirs.interval.high, 4)
    )  # fmt: skip
    expected = holm([test["permutation_p"] for test in tests])
    assert [test["permutation_p_holm"] for test in tests] == pytest.approx(expected, rel=1e-3)


def test_baselines_are_not_tested_against_each_other() -> None:
    found = pairs()
    assert ("dimitra_hp", "train_mean") in found
    assert ("ground_truth", "shuffled_audio") in found
    assert ("frozen_first_frame", "train_mean") not in found


def test_a_metric_without_values_has_no_tests() -> None:
    nothing = [ClipValue(None, "none")] * len(METHODS)
    values = {m.key: {KEY: value} for m, value in zip(METHODS, nothing, strict=True)}
    assert paired_tests([ClipRecord("a", "d", "i", 1, {}, values)], 0, METRIC) == {KEY: []}
