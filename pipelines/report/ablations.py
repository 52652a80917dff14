"""The ablations' part of the report: a table, a chart and what they say, for each data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dimitra.metrics.definitions import COEFFICIENT_METRICS, Metric
from pipelines.ablations.change import COMPARED
from pipelines.ablations.findings import aim_of, findings, relative
from pipelines.ablations.variants import SHARED_CHANGES, VARIANTS
from pipelines.report.audit import ablation_anchor
from pipelines.report.charts import BarChart, bar_chart
from pipelines.report.tables import DASH, Cell, detail, number

_SHOWN = (
    "mouth_mae_fit",
    "mouth_mae_truth",
    "opening_corr_truth",
    "expression_mae_fit",
    "expression_mae_truth",
    "head_speed_gap",
    "head_range_gap",
)
METRICS = tuple(metric for metric in COEFFICIENT_METRICS if metric.key in _SHOWN)
"""Columns of the table."""
_SERIES = {"mouth_mae": "lips' error", "expression_mae": "expression's error"}


@dataclass(frozen=True)
class AblationRow:
    """One variant.

    Attributes:
        label: as printed.
        params: what differs from the full model.
        cells: one for each of ``METRICS``.
        experiment: name of the DVC experiment.
        commit: baseline of the experiment.
    """

    label: str
    params: str
    cells: tuple[Cell, ...]
    experiment: str
    commit: str


@dataclass(frozen=True)
class AblationTable:
    """All variants on one data set.

    Attributes:
        dataset: name.
        rows: variants that have run.
        chart: changes against the full model; None where only that has run.
        findings: a sentence for each comparison.
    """

    dataset: str
    rows: tuple[AblationRow, ...]
    chart: BarChart | None
    findings: tuple[str, ...]


def _cell(row: Mapping[str, Any], metric: Metric, audit: str) -> Cell:
    item = row.get(metric.key)
    if item is None:
        return Cell(DASH, "not measured", audit)
    return Cell(number(item["value"], metric.decimals), detail(item), audit)


def _chart(entries: Mapping[str, Any], dataset: str) -> BarChart | None:
    groups: dict[str, dict[str, float | None]] = {}
    for variant in VARIANTS[1:]:
        change = entries.get(variant.key, {}).get("change", {}).get(dataset, {})
        named = {error: aim_of(change, error) for error in COMPARED}
        found = {
            _SERIES[error]: relative(entries, variant.key, dataset, metric)
            for error, metric in named.items()
            if metric is not None
        }
        if any(value is not None for value in found.values()):
            groups[variant.label] = found
    return bar_chart(f"errors against the full model, {dataset}", groups) if groups else None


def ablation_tables(entries: Mapping[str, Any]) -> tuple[AblationTable, ...]:
    """Lay out the content of ``metrics/ablations.json``.

    Args:
        entries: variant to its entry.
    """
    datasets = sorted({name for one in entries.values() for name in one["metrics"]})
    tables = []
    for dataset in datasets:
        rows = []
        for variant in VARIANTS:
            one = entries.get(variant.key)
            if one is None or dataset not in one["metrics"]:
                continue
            lineage = one["lineage"]
            differs = (
                f"{key}: {value}"
                for key, value in lineage["params"].items()
                if key not in SHARED_CHANGES
            )
            audit = ablation_anchor(variant.key)
            cells = tuple(_cell(one["metrics"][dataset], metric, audit) for metric in METRICS)
            commit = lineage["baseline_commit"][:10]
            rows.append(
                AblationRow(
                    label=variant.label,
                    params="; ".join(differs),
                    cells=cells,
                    experiment=lineage["experiment"],
                    commit=commit,
                )
            )
        said = tuple(findings(entries, dataset))
        tables.append(AblationTable(dataset, tuple(rows), _chart(entries, dataset), said))
    return tuple(tables)
