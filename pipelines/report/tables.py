"""The numbers of a data set as tables: the paper's columns first, then all others by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dimitra.metrics.definitions import (
    COEFFICIENT_METRICS,
    EXPRESSION_METRICS,
    HEAD_METRICS,
    LANDMARK_METRICS,
    METHODS,
    METRICS,
    MOUTH_METRICS,
    PAPER_METRICS,
    Method,
    Metric,
)
from dimitra.metrics.published import BY_LAYOUT, PublishedTable

_NAMED = {
    "Mouth coefficients": MOUTH_METRICS,
    "Other expression coefficients": EXPRESSION_METRICS,
    "Head pose": HEAD_METRICS,
}
_FURTHER = tuple(
    m for m in METRICS if m not in PAPER_METRICS + LANDMARK_METRICS + COEFFICIENT_METRICS
)
GROUPS = {
    "Landmark distances, read otherwise": LANDMARK_METRICS,
    **({"Further metrics of the video": _FURTHER} if _FURTHER else {}),
    **_NAMED,
}
"""Title to the metrics beside the paper's."""

_RANKED = ("dimitra_hp", "dimitra_no_hp")
GENERATED = (*_RANKED, "dimitra_mean")
"""Methods whose motion the checkpoints made."""
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One number of a table, ready to print.

    Attributes:
        text: the value, or an en dash.
        detail: n and dropped clips, or the reason why there is no value.
        audit: anchor of its audit card; empty where there is none.
        clips: its 95 % interval over clips, empty for none.
        identities: its 95 % interval over identities, empty for none.
        identity_detail: how many identities that is of, empty for none.
        best: the best generated method of its column.
    """

    text: str
    detail: str
    audit: str = ""
    clips: str = ""
    identities: str = ""
    identity_detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table: label, note and one cell a column."""

    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """Metrics that are shown together, and the methods that have some of them."""

    title: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ResultTable:
    """The numbers of one dataset, the paper's beside them.

    Attributes:
        dataset: dataset name.
        published: the paper's table of that kind of data; None where the paper has none.
        rows: measured here, columns ``PAPER_METRICS``.
        published_rows: as printed in the paper.
        groups: all other metrics that have a value.
        missing: reason why values are absent, to the columns it concerns.
        clips: evaluated clips.
        intervals: some number has an interval.
    """

    dataset: str
    published: PublishedTable | None
    rows: tuple[Row, ...]
    published_rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    missing: Mapping[str, tuple[str, ...]]
    clips: int
    intervals: bool

    @property
    def audited(self) -> set[str]:
        """Anchors of the cards that its cells link to."""
        rows = [*self.rows, *(row for group in self.groups for row in group.rows)]
        return {cell.audit for row in rows for cell in row.cells}


def anchor(dataset: str, method: str, metric: str) -> str:
    """Name of the audit card of a number."""
    return f"audit-{dataset}-{method}-{metric}"


def number(value: float | None, decimals: int) -> str:
    """A value as it is printed; a true minus sign, an en dash for none."""
    return DASH if value is None else f"{value:.{decimals}f}".replace("-", "−")


def interval(low: float | None, high: float | None, decimals: int) -> str:
    """An interval as it is printed, empty for none."""
    if low is None or high is None:
        return ""
    joint = " to " if low < 0 else "–"
    return f"{number(low, decimals)}{joint}{number(high, decimals)}"


def detail(item: Mapping[str, Any]) -> str:
    """How many clips a number is of, or why there is none."""
    if item["value"] is None:
        return str(item["reason"])
    dropped = f", {item['dropped']} dropped" if item["dropped"] else ""
    return f"n = {item['n']}{dropped}"


def _best(table: Mapping[str, Any], metric: Metric) -> str | None:
    """The method of ``_RANKED`` with the better shown value, None where there is no choice."""
    if metric.better == "truth":
        return None
    values = {
        method: round(table[method][metric.key]["value"], metric.decimals)
        for method in _RANKED
        if table[method][metric.key]["value"] is not None
    }
    if len(set(values.values())) < 2:
        return None
    choose = min if metric.better == "lower" else max
    return choose(values, key=values.__getitem__)


def _cell(
    dataset: str, method: Method, metric: Metric, item: Mapping[str, Any], best: bool
) -> Cell:
    identities = item.get("identities")
    return Cell(
        text=number(item["value"], metric.decimals),
        detail=detail(item),
        audit=anchor(dataset, method.key, metric.key),
        clips=interval(item.get("low"), item.get("high"), metric.decimals),
        identities=interval(
            item.get("identities_low"), item.get("identities_high"), metric.decimals
        ),
        identity_detail=f"{identities} identities" if identities is not None else "",
        best=best,
    )


def _rows(
    dataset: str, table: Mapping[str, Any], methods: Sequence[Method], metrics: Sequence[Metric]
) -> tuple[Row, ...]:
    best = {metric.key: _best(table, metric) for metric in metrics}
    return tuple(
        Row(
            method.label,
            method.description,
            tuple(
                _cell(
                    dataset,
                    method,
                    metric,
                    table[method.key][metric.key],
                    best[metric.key] == method.key,
                )
                for metric in metrics
            ),
        )
        for method in methods
    )


def _has_value(table: Mapping[str, Any], method: Method, metrics: Sequence[Metric]) -> bool:
    return any(table[method.key][metric.key]["value"] is not None for metric in metrics)


def _missing(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Reasons of the dashes in the tables, each with the columns it concerns."""
    found: dict[str, dict[str, None]] = {}
    for method in METHODS:
        columns = (PAPER_METRICS if method.video else ()) + tuple(
            metric
            for metrics in GROUPS.values()
            if _has_value(table, method, metrics) or method.key == "dimitra_hp"
            for metric in metrics
        )
        for metric in columns:
            item = table[method.key][metric.key]
            if item["value"] is None:
                found.setdefault(item["reason"], {})[metric.label] = None
    return {reason: tuple(labels) for reason, labels in found.items()}


def _published_rows(published: PublishedTable) -> tuple[Row, ...]:
    source = f"paper, Table {published.number}, {published.dataset}"
    return tuple(
        Row(
            label,
            "",
            tuple(
                Cell(number(value, metric.decimals), source)
                for value, metric in zip(values, PAPER_METRICS, strict=True)
            ),
        )
        for label, values in published.rows.items()
    )


def result_table(dataset: str, layout: str, table: Mapping[str, Any]) -> ResultTable:
    """Lay out one dataset's metric file.

    Args:
        dataset: dataset name.
        layout: of the dataset, which chooses the paper's table; of others than the paper's, none.
        table: content of ``metrics/<dataset>.json``; intervals in it may be absent.
    """
    published = BY_LAYOUT.get(layout)
    groups = []
    for title, metrics in GROUPS.items():
        methods = [method for method in METHODS if _has_value(table, method, metrics)]
        if methods:
            groups.append(Group(title, metrics, _rows(dataset, table, methods, metrics)))
    items = [item for row in table.values() for item in row.values()]
    return ResultTable(
        dataset=dataset,
        published=published,
        rows=_rows(
            dataset,
            table,
            [m for m in METHODS if m.video or _has_value(table, m, PAPER_METRICS)],
            PAPER_METRICS,
        ),
        published_rows=_published_rows(published) if published else (),
        groups=tuple(groups),
        missing=_missing(table),
        clips=max(item["n"] + item["dropped"] for item in table["dimitra_hp"].values()),
        intervals=any(item.get("low") is not None for item in items),
    )
