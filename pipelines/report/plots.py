"""The paper's columns as rows of a CSV, which ``dvc plots show`` draws as bars."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from dimitra.metrics.definitions import METHODS, PAPER_METRICS


def plots_csv(metrics: Mapping[str, Any]) -> str:
    """One row for each data set and method that has a value.

    Args:
        metrics: data set to the content of ``metrics/<dataset>.json``.

    Returns:
        CSV with the columns ``method`` (``chorus: Dimitra (HP)``) and those of ``PAPER_METRICS``;
        a value that there is not is an empty cell.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["method", *(metric.key for metric in PAPER_METRICS)])
    for dataset, table in metrics.items():
        for method in METHODS:
            values = [table[method.key][metric.key]["value"] for metric in PAPER_METRICS]
            if any(value is not None for value in values):
                cells = ["" if value is None else value for value in values]
                writer.writerow([f"{dataset}: {method.label}", *cells])
    return file.getvalue()
