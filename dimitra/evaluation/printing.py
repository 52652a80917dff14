"""The table in the paper's shape, with what the paper has published beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich.table import Table

from dimitra.evaluation.definitions import COLUMNS, GROUND_TRUTH
from dimitra.metrics.published import PublishedTable

Fit = Literal["face", "mouth"]

NONE = "–"
_BY_KEY = {metric.key: metric for metric in COLUMNS}


def shown(fit: Fit, filled: Iterable[str]) -> list[str]:
    """Columns of the table: the paper's four, then what else was asked for and belongs there."""
    paper = ["f_lmd", f"m_lmd_{fit}", "sync_dist", "sync_conf"]
    return paper + [key for key in ("psnr", "ssim") if key in filled]


def label(method: str) -> str:
    """A method as the paper's tables call it."""
    return "Ground truth" if method == GROUND_TRUTH else method


def _bounds(interval: Mapping[str, Any], decimals: int) -> str:
    if interval["low"] is None:
        return NONE
    return f"{interval['low']:.{decimals}f} to {interval['high']:.{decimals}f}"


def _cell(summary: Mapping[str, Any], decimals: int) -> str:
    if summary["value"] is None:
        return f"{NONE}\ndropped {summary['dropped']}" if summary["dropped"] else NONE
    text = f"{summary['value']:.{decimals}f}"
    bounds = _bounds(summary["interval_clips"], decimals)
    return f"{text}\n{bounds}\nn {summary['n']}, dropped {summary['dropped']}"


def measured_table(methods: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> Table:
    """What was measured: mean, 95 % interval over clips, n and dropped.

    Args:
        methods: of ``summary.json``.
        keys: columns.
    """
    table = Table(title="Measured: mean, 95 % interval over clips, clips", show_lines=True)
    table.add_column("method", no_wrap=True)
    for key in keys:
        metric = _BY_KEY[key]
        table.add_column(f"{metric.label} {metric.arrow}", justify="right", no_wrap=True)
    for method, row in methods.items():
        cells = (_cell(row[key], _BY_KEY[key].decimals) for key in keys)
        table.add_row(label(method), *cells)
    return table


def published_table(published: PublishedTable) -> Table:
    """The paper's figures, marked as what they are."""
    table = Table(
        title=f"Published: the paper's Table {published.number}, on {published.dataset}: other data"
    )
    table.add_column("method", no_wrap=True)
    for name in ("F-LMD ↓", "M-LMD ↓", "sync dist ↓", "sync conf ↑"):
        table.add_column(name, justify="right")
    for method, row in published.rows.items():
        table.add_row(method, *(NONE if value is None else f"{value:.2f}" for value in row))
    return table


def tests_table(comparisons: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Table | None:
    """Paired tests of the columns shown, None without any."""
    rows = [row for row in comparisons if row["metric"] in keys]
    if not rows:
        return None
    table = Table(title="Paired tests: first less second, on the clips that both have")
    for name in ("metric", "first", "second"):
        table.add_column(name, no_wrap=True)
    for name in ("difference", "95 % over clips", "over identities", "n", "p", "p (Holm)"):
        table.add_column(name, justify="right")
    for row in rows:
        decimals = _BY_KEY[row["metric"]].decimals
        bounds = (
            NONE
            if one["low"] is None
            else f"{one['low']:.{decimals}f} to {one['high']:.{decimals}f}"
            for one in (row["interval_clips"], row["interval_identities"])
        )
        table.add_row(
            _BY_KEY[row["metric"]].label,
            row["first"],
            row["second"],
            f"{row['difference']:.{decimals}f}",
            *bounds,
            str(row["n"]),
            f"{row['permutation_p']:.4f}",
            f"{row['permutation_p_holm']:.4f}",
        )
    return table
