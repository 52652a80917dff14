"""Balances and quarantine rows of all stages, as the stages have left them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.report.embedded import cut

BALANCES = {
    "ingest": "data/manifest",
    "split": "data/split",
    "crop": "data/crops",
    "fit": "data/motion",
    "transcribe": "data/transcripts",
    "speech": "data/speech",
    "shard": "data/shards",
    "generate": "data/generated",
    "render": "data/videos",
    "evaluate": "data/evaluation",
}
"""Stages that touch clips, and where they leave their balance."""

MOST_ROWS = 500
_LONGEST_MESSAGE = 400


def read_balances(root: Path) -> list[dict[str, Any]]:
    """Balances of all stages that have written one, in pipeline order."""
    return [
        json.loads((root / folder / "balance.json").read_text())
        for folder in BALANCES.values()
        if (root / folder / "balance.json").is_file()
    ]


def read_quarantined(root: Path) -> list[dict[str, Any]]:
    """Quarantine rows of all stages, in pipeline order."""
    rows: list[dict[str, Any]] = []
    for folder in BALANCES.values():
        path = root / folder / "quarantine.parquet"
        if path.is_file():
            rows.extend(pq.read_table(path).to_pylist())
    return rows


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first ``MOST_ROWS``, their messages cut to what one reads."""
    return [{**row, "message": cut(row["message"], _LONGEST_MESSAGE)} for row in rows[:MOST_ROWS]]
