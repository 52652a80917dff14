"""The paired tests between methods, for the page's table that one can sort and filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dimitra.metrics.definitions import METHODS, METRICS
from pipelines.report.tables import interval, number

FILE = Path("metrics/paired.json")
SIGNIFICANT = 0.05
NO_VERDICT = "no difference shown"


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


def rows(tests: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows for the page's script, by data set, metric and methods in table order.

    Args:
        tests: content of ``metrics/paired.json``.
    """
    labels = {method.key: method.label for method in METHODS}
    return [
        {
            "dataset": dataset,
            "metric": metric.label,
            "first": labels[test["first"]],
            "second": labels[test["second"]],
            "n": test["n"],
            "dropped": test["dropped"],
            "difference": test["difference"],
            "shown": number(test["difference"], metric.decimals + 1),
            "clips": interval(test["low"], test["high"], metric.decimals + 1),
            "identities": interval(
                test["identities_low"], test["identities_high"], metric.decimals + 1
            ),
            "p": test["permutation_p_holm"],
            "p_identities": test["permutation_p_identities"],
            "verdict": _verdict(test, metric.better, labels),
        }
        for dataset, by_metric in tests.items()
        for metric in METRICS
        for test in by_metric.get(metric.key, ())
        if test["first"] in labels and test["second"] in labels
    ]
