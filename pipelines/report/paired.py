"""The paired tests between methods, for the page's table that one can sort and filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dimitra.metrics.definitions import METHODS, METRICS, Metric
from pipelines.report.tables import GENERATED, interval, number

FILE = Path("metrics/paired.json")
SIGNIFICANT = 0.05
NO_VERDICT = "no difference shown"
COLUMNS = (
    "dataset",
    "metric",
    "first",
    "second",
    "n",
    "dropped",
    "difference",
    "shown",
    "clips",
    "identities",
    "p",
    "p_identities",
    "verdict",
)


def read(root: Path) -> dict[str, Any]:
    """Data set to metric to tests; empty where the run has left none."""
    path = root / FILE
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _verdict(test: Mapping[str, Any], better: str, labels: Mapping[str, str]) -> str:
    """Which of two methods is better, where the corrected test tells them apart."""
    p, difference = test["permutation_p_holm"], test["difference"]
    if p is None or p >= SIGNIFICANT or not difference:
        return NO_VERDICT
    if better == "truth":
        return "they differ"
    first_wins = (difference < 0) == (better == "lower")
    return f"{labels[test['first'] if first_wins else test['second']]} better"


def _row(
    dataset: str, metric: Metric, test: Mapping[str, Any], labels: Mapping[str, str]
) -> list[Any]:
    decimals = metric.decimals + 1
    return [
        dataset,
        metric.label,
        labels[test["first"]],
        labels[test["second"]],
        test["n"],
        test["dropped"],
        test["difference"],
        number(test["difference"], decimals),
        interval(test["low"], test["high"], decimals),
        interval(test["identities_low"], test["identities_high"], decimals),
        test["permutation_p_holm"],
        test["permutation_p_identities"],
        _verdict(test, metric.better, labels),
    ]


def table(tests: Mapping[str, Any]) -> dict[str, Any]:
    """Tests for the page's script, by data set, metric and methods in table order.

    Those of generated motion: how two baselines differ is in the file alone.

    Args:
        tests: content of ``metrics/paired.json``.

    Returns:
        ``columns``, and ``rows`` of one value a column.
    """
    labels = {method.key: method.label for method in METHODS}
    rows = [
        _row(dataset, metric, test, labels)
        for dataset, by_metric in tests.items()
        for metric in METRICS
        for test in by_metric.get(metric.key, ())
        if {test["first"], test["second"]} & set(GENERATED)
    ]
    return {"columns": COLUMNS, "rows": rows}
