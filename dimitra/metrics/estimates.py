"""The numbers of a table with their intervals, and the tests between its rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dimitra.metrics.definitions import METHODS, METRICS, OF_ALL_CLIPS, Method, Metric
from dimitra.metrics.records import ClipRecord, as_kept, tabulate
from dimitra.metrics.summary import Summary, rounded
from dimitra.statistics.intervals import mean_interval
from dimitra.statistics.paired import PairedTest, compare, holm

P_DIGITS = 4
"""Significant digits of a probability."""


@dataclass(frozen=True)
class Estimate:
    """One number of a table, and how sure it is.

    Attributes:
        value: mean over clips, None where no clip has a value.
        n: clips in the mean.
        dropped: clips that the protocol ignored.
        reason: why the value is None, else None.
        low: lower bound of the 95 % BCa bootstrap interval over clips; None below two clips, and
            for numbers that are no mean over clips.
        high: upper bound.
        identities: people among the clips in the mean.
        identities_low: lower bound where people are drawn in place of clips; None below two.
        identities_high: upper bound.
    """

    value: float | None
    n: int
    dropped: int
    reason: str | None
    low: float | None
    high: float | None
    identities: int
    identities_low: float | None
    identities_high: float | None


def _column(
    records: Sequence[ClipRecord], method: str, metric: str
) -> tuple[list[float], list[str]]:
    """Values and who speaks, of the clips that have a value."""
    values, people = [], []
    for record in records:
        value = record.values[method][metric].value
        if value is not None:
            values.append(value)
            people.append(record.identity)
    return values, people


def _estimate(
    summary: Summary, values: Sequence[float], people: Sequence[str], seed: int
) -> Estimate:
    clips = mean_interval(values, seed=seed)
    persons = mean_interval(values, people, seed=seed)
    return Estimate(
        **asdict(summary),
        low=rounded(clips.low),
        high=rounded(clips.high),
        identities=len(set(people)),
        identities_low=rounded(persons.low),
        identities_high=rounded(persons.high),
    )


def no_interval(summary: Summary, identities: int) -> Estimate:
    """A number that is no mean over clips."""
    return Estimate(
        **asdict(summary),
        low=None,
        high=None,
        identities=identities,
        identities_low=None,
        identities_high=None,
    )


def estimate(
    records: Sequence[ClipRecord],
    whole: Mapping[str, Mapping[str, Estimate]],
    seed: int,
    metrics: Sequence[Metric] = METRICS,
) -> dict[str, dict[str, Estimate]]:
    """Numbers of a data set with intervals, for each method and metric, in table order.

    Args:
        records: of the data set.
        whole: method to metric to the numbers that are not made of the clips' numbers.
        seed: of the bootstrap.
        metrics: columns.

    Raises:
        ValueError: a clip id comes twice, which would count it twice.
    """
    kept = [as_kept(record) for record in records]
    table: dict[str, dict[str, Estimate]] = {}
    for method, row in tabulate(records, metrics).items():
        table[method] = {}
        for metric, summary in row.items():
            values, people = _column(kept, method, OF_ALL_CLIPS.get(metric, metric))
            if metric in whole.get(method, {}):
                table[method][metric] = whole[method][metric]
            elif metric in OF_ALL_CLIPS:
                table[method][metric] = no_interval(summary, len(set(people)))
            else:
                table[method][metric] = _estimate(summary, values, people, seed)
    return table


def _entry(first: str, second: str, test: PairedTest) -> dict[str, Any]:
    interval, people = test.interval, test.identity_interval
    return {
        "first": first,
        "second": second,
        "n": test.n,
        "dropped": test.dropped,
        "difference": rounded(test.difference),
        "low": rounded(interval.low),
        "high": rounded(interval.high),
        "identities": people.groups,
        "identities_low": rounded(people.low),
        "identities_high": rounded(people.high),
        "permutation_p": _p(test.permutation_p),
        "permutation_p_identities": _p(test.identity_p),
        "wilcoxon_p": _p(test.wilcoxon_p),
    }


def _p(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{P_DIGITS}g}")


def pairs(methods: Sequence[Method] = METHODS) -> list[tuple[str, str]]:
    """Which methods are tested against each other: every two, but for two baselines."""
    return [
        (first.key, second.key)
        for first, second in itertools.combinations(methods, 2)
        if not (first.baseline and second.baseline)
    ]


def paired_tests(
    records: Sequence[ClipRecord], seed: int, metrics: Sequence[Metric] = METRICS
) -> dict[str, list[dict[str, Any]]]:
    """Metric to the paired tests between methods, on the clips that both have a value for.

    ``difference`` is the first's mean less the second's; ``permutation_p_holm`` is the p-value of
    the sign flips after Holm's correction over the tests of the metric.

    Args:
        records: of a data set.
        seed: of bootstrap and permutations.
        metrics: those that have no number of a clip have no test.
    """
    kept = [as_kept(record) for record in records]
    people = [record.identity for record in kept]
    found: dict[str, list[dict[str, Any]]] = {}
    for metric in metrics:
        columns = {
            method.key: [record.values[method.key][metric.key].value for record in kept]
            for method in METHODS
        }
        tests = []
        for first, second in pairs():
            test = compare(columns[first], columns[second], people, seed=seed)
            if test.n:
                tests.append(_entry(first, second, test))
        adjusted = holm([test["permutation_p"] for test in tests])
        found[metric.key] = [
            {**test, "permutation_p_holm": _p(p)} for test, p in zip(tests, adjusted, strict=True)
        ]
    return found
