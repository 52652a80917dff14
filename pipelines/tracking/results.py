"""The metrics of a run as MLflow's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def read_results(files: Iterable[Path]) -> dict[str, float]:
    """``<dataset>/<method>/<metric>`` to the value; metrics without one are left out.

    Args:
        files: ``<dataset>.json``: method to metric to an object with ``value``.
    """
    return {
        _name(file.stem, method, metric): float(cell["value"])
        for file in files
        for method, row in json.loads(file.read_text()).items()
        for metric, cell in row.items()
        if cell["value"] is not None
    }


def _name(*parts: str) -> str:
    """Of letters that MLflow takes."""
    text = "/".join(parts)
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in text)
