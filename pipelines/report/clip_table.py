"""Every clip's numbers, for the page's table that one can sort and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dimitra.metrics.definitions import METHODS, METRICS, Metric
from pipelines.report.embedded import cut

RANKED_BY = ("m_lmd", "mouth_mae_fit")
"""What makes a clip the worst: the first of these that the data set has."""
RANKED = "dimitra_hp"
MOST_VALUES = 120_000
"""Numbers in the page, about 7 bytes each."""
_LONGEST_TEXT = 500

Rows = list[dict[str, Any]]


def read_rows(root: Path, dataset: str) -> Rows:
    """Rows of ``metrics/clips/<dataset>.parquet``: one for each clip and method."""
    path = root / "metrics" / "clips" / f"{dataset}.parquet"
    rows: Rows = pq.read_table(path).to_pylist()
    return rows


def ranking(rows: Rows) -> tuple[Metric | None, list[str]]:
    """Clip ids of a data set, worst first, and the metric that says so.

    Clips without a value come last; equals, and all where nothing has a value, by name.
    """
    own = [row for row in rows if row["method"] == RANKED]
    by_key = {metric.key: metric for metric in METRICS}
    for key in RANKED_BY:
        if any(row.get(key) is not None for row in own):
            order = sorted(
                own, key=lambda row: (row[key] is None, -(row[key] or 0), row["clip_id"])
            )
            return by_key[key], [row["clip_id"] for row in order]
    return None, sorted(row["clip_id"] for row in own)


def spread(ranked: Sequence[str], count: int) -> list[str]:
    """At most ``count`` clips at even distances from the worst to the best, both among them."""
    if count >= len(ranked):
        return list(ranked)
    if count == 1:
        return [ranked[0]]
    last = len(ranked) - 1
    return [ranked[(2 * place * last + count - 1) // (2 * (count - 1))] for place in range(count)]


def _metrics(tables: Sequence[Rows]) -> list[Metric]:
    """Metrics that some clip has a value of."""
    return [
        metric
        for metric in METRICS
        if any(row.get(metric.key) is not None for rows in tables for row in rows)
    ]


def clip_table(tables: Mapping[str, Rows], texts: Mapping[str, str]) -> dict[str, Any]:
    """The clips for the page's script, worst first.

    Where they are more than fit (``MOST_VALUES`` numbers), every data set keeps its worst.

    Args:
        tables: data set to the rows of its per-clip table.
        texts: clip id to what is said, where that is known.

    Returns:
        ``metrics``; ``methods``; ``datasets``: name to ``clips`` (id, identity, text), ``total``,
        and ``values``: method to metric to one number a clip, null for none.
    """
    metrics = _metrics(list(tables.values()))
    methods = [
        method
        for method in METHODS
        if any(
            row.get(metric.key) is not None
            for rows in tables.values()
            for row in rows
            if row["method"] == method.key
            for metric in metrics
        )
    ]
    share = MOST_VALUES // max(1, len(tables) * len(metrics) * len(methods))
    datasets = {}
    for dataset, rows in tables.items():
        by_place = {(row["clip_id"], row["method"]): row for row in rows}
        _, ranked = ranking(rows)
        kept = ranked[:share]
        values: dict[str, dict[str, list[float | None]]] = {}
        for method in methods:
            own = [by_place.get((clip_id, method.key), {}) for clip_id in kept]
            columns = {metric.key: [row.get(metric.key) for row in own] for metric in metrics}
            values[method.key] = {
                key: column
                for key, column in columns.items()
                if any(value is not None for value in column)
            }
        datasets[dataset] = {
            "clips": [
                {
                    "id": clip_id,
                    "identity": by_place[clip_id, RANKED]["identity"],
                    "text": cut(texts.get(clip_id, ""), _LONGEST_TEXT),
                    "dropped": by_place[clip_id, RANKED]["dropped"] or "",
                }
                for clip_id in kept
            ],
            "total": len(ranked),
            "values": values,
        }
    return {
        "metrics": [
            {
                "key": metric.key,
                "label": metric.label,
                "arrow": metric.arrow,
                "better": metric.better,
                "decimals": metric.decimals,
                "about": metric.description,
            }
            for metric in metrics
        ],
        "methods": [{"key": method.key, "label": method.label} for method in methods],
        "datasets": datasets,
    }
