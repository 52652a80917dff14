"""From rows to numbers of a table: means with n and dropped, intervals, tests between methods."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dimitra.evaluation.definitions import COLUMNS, GROUND_TRUTH
from dimitra.evaluation.rows import NO_REFERENCE, Row
from dimitra.metrics.summary import rounded, summarise
from dimitra.statistics.intervals import CONFIDENCE, DRAWS, Interval, mean_interval
from dimitra.statistics.paired import compare, holm

_P_DECIMALS = 6
UNKNOWN = "who speaks is not known for every clip"


def _json(interval: Interval) -> dict[str, Any]:
    bounds = {"low": rounded(interval.low), "high": rounded(interval.high)}
    return {**asdict(interval), **bounds}


def _of(rows: Sequence[Row], method: str) -> list[Row]:
    """A method's rows that have a reference; the others are no clips of the evaluation."""
    return [row for row in rows if row.method == method and row.outcome != NO_REFERENCE]


def summarise_rows(rows: Sequence[Row], methods: Sequence[str], seed: int) -> dict[str, Any]:
    """Method to metric to mean, ``n``, ``dropped``, and the two intervals.

    Of values rounded as the tables hold them, so that the table gives the same numbers again.
    """
    table: dict[str, Any] = {}
    for method in methods:
        mine = _of(rows, method)
        table[method] = {}
        for metric in COLUMNS:
            found = [row.value(metric.key) for row in mine]
            kept = [
                (value, row.identity)
                for row in mine
                if (value := rounded(row.value(metric.key).value)) is not None
            ]
            values = [value for value, _ in kept]
            people = [person for _, person in kept]
            known = all(person is not None for person in people)
            table[method][metric.key] = {
                **asdict(summarise(found)),
                "interval_clips": _json(mean_interval(values, seed=seed)),
                "interval_identities": _json(
                    mean_interval(values, people, seed=seed)
                    if known
                    else Interval(None, None, 0, UNKNOWN)
                ),
            }
    return table


def compare_methods(rows: Sequence[Row], methods: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Paired tests of every two methods, metric by metric, on the clips that both have.

    p-values are Holm's within a metric.
    """
    found: list[dict[str, Any]] = []
    for metric in COLUMNS:
        tests = []
        for first, second in itertools.combinations(methods, 2):
            one = {row.clip: row for row in _of(rows, first)}
            other = {row.clip: row for row in _of(rows, second)}
            clips = [clip for clip in one if clip in other]
            people = [one[clip].identity for clip in clips]
            test = compare(
                [rounded(one[clip].value(metric.key).value) for clip in clips],
                [rounded(other[clip].value(metric.key).value) for clip in clips],
                None if None in people else people,
                seed=seed,
            )
            if test.n:
                tests.append((first, second, test))
        adjusted = holm(
            [test.permutation_p for *_, test in tests if test.permutation_p is not None]
        )
        for (first, second, test), p in zip(tests, adjusted, strict=True):
            found.append(
                {
                    "metric": metric.key,
                    "first": first,
                    "second": second,
                    "n": test.n,
                    "dropped": test.dropped,
                    "difference": rounded(test.difference),
                    "interval_clips": _json(test.interval),
                    "interval_identities": _json(test.identity_interval),
                    "permutation_p": _p(test.permutation_p),
                    "permutation_p_holm": _p(p),
                    "permutation_p_identities": _p(test.identity_p),
                    "wilcoxon_p": _p(test.wilcoxon_p),
                }
            )
    return found


def _p(value: float | None) -> float | None:
    return None if value is None else round(value, _P_DECIMALS)


def numbers(rows: Sequence[Row], methods: Sequence[str], seed: int) -> dict[str, Any]:
    """The statistics of ``summary.json``.

    Args:
        rows: of all methods and the ground truth.
        methods: in the table's order, without the ground truth.
        seed: of bootstrap and permutations.
    """
    return {
        "statistics": {
            "interval": "BCa bootstrap of the mean",
            "confidence": CONFIDENCE,
            "draws": DRAWS,
            "seed": seed,
            "tests": "paired; two-sided sign-flip permutation of the mean, Wilcoxon signed ranks",
        },
        "methods": summarise_rows(rows, (GROUND_TRUTH, *methods), seed),
        "comparisons": compare_methods(rows, methods, seed),
    }
