"""Training curves of the models."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from pipelines.report.charts import Chart, line_chart

_SMOOTHED = 25


def running_mean(values: Sequence[float], count: int) -> list[float]:
    """Mean of the values at most ``count // 2`` places away from each one."""
    means = []
    for index in range(len(values)):
        window = values[max(0, index - count // 2) : index + count // 2 + 1]
        means.append(math.fsum(window) / len(window))
    return means


def read_curve(path: Path, title: str) -> Chart:
    """Chart of the loss in a training curve, with its running mean.

    Raises:
        ValueError: the file has no row.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} holds no training step")
    loss = [float(row["loss"]) for row in rows]
    series = {"loss": loss, f"mean of {_SMOOTHED} steps": running_mean(loss, _SMOOTHED)}
    return line_chart(title, "step", [float(row["step"]) for row in rows], series)
